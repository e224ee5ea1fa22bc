# The role of the control plane: etcd, the API server and the controllers, as kubeadm would start them.
# shellcheck shell=bash

binaries=$1

keep_running etcd "$binaries/etcd" \
  --name=control-plane --data-dir="$DATA/etcd" --log-level=warn \
  --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
  --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
  --initial-cluster=control-plane=http://127.0.0.1:2380 \
  --unsafe-no-fsync # the data need not outlive the machine, and a busy disk must not slow down tests

keep_running kube-apiserver "$binaries/kube-apiserver" --v=1 \
  --etcd-servers=http://127.0.0.1:2379 \
  --advertise-address="$CONTROL_PLANE_ADDRESS" --bind-address=0.0.0.0 --secure-port=6443 \
  --service-cluster-ip-range="$SERVICE_NETWORK" --allow-privileged=true \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --default-not-ready-toleration-seconds="$EVICTION_SECONDS" --default-unreachable-toleration-seconds="$EVICTION_SECONDS" \
  --client-ca-file="$CREDENTIALS/ca.crt" \
  --tls-cert-file="$CREDENTIALS/kube-apiserver.crt" --tls-private-key-file="$CREDENTIALS/kube-apiserver.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$CREDENTIALS/service-accounts.pub" --service-account-signing-key-file="$CREDENTIALS/service-accounts.key" \
  --kubelet-certificate-authority="$CREDENTIALS/ca.crt" --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate="$CREDENTIALS/kubelet-client.crt" --kubelet-client-key="$CREDENTIALS/kubelet-client.key" \
  --requestheader-client-ca-file="$CREDENTIALS/ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$CREDENTIALS/front-proxy-client.crt" --proxy-client-key-file="$CREDENTIALS/front-proxy-client.key"

await api_server_is_ready

keep_running kube-controller-manager "$binaries/kube-controller-manager" --v=1 \
  --kubeconfig="$CREDENTIALS/kube-controller-manager.kubeconfig" \
  --authentication-kubeconfig="$CREDENTIALS/kube-controller-manager.kubeconfig" \
  --authorization-kubeconfig="$CREDENTIALS/kube-controller-manager.kubeconfig" \
  --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
  --service-account-private-key-file="$CREDENTIALS/service-accounts.key" --root-ca-file="$CREDENTIALS/ca.crt" \
  --cluster-signing-cert-file="$CREDENTIALS/ca.crt" --cluster-signing-key-file="$CREDENTIALS/ca.key" \
  --cluster-cidr="$POD_NETWORK" --allocate-node-cidrs=false \
  --node-monitor-period=2s --node-monitor-grace-period="${NODE_GRACE_SECONDS}s"

keep_running kube-scheduler "$binaries/kube-scheduler" --v=1 \
  --kubeconfig="$CREDENTIALS/kube-scheduler.kubeconfig" \
  --authentication-kubeconfig="$CREDENTIALS/kube-scheduler.kubeconfig" \
  --authorization-kubeconfig="$CREDENTIALS/kube-scheduler.kubeconfig" \
  --bind-address=127.0.0.1 --leader-elect=false

# For the API server's own calls to Services, and for 'cluster run'.
keep_running kube-proxy "$binaries/kube-proxy" --v=1 --config="$DATA/control-plane/kube-proxy.yaml"
