# One certificate authority for the whole cluster, and a kubeconfig for everyone who talks to the API server.
# shellcheck shell=bash

readonly CERTIFICATE_DAYS=30

create_credentials() {
  mkdir -p "$CREDENTIALS"
  chmod 700 "$CREDENTIALS"
  create_key ca
  openssl req -x509 -new -key "$CREDENTIALS/ca.key" -subj /CN=carillon-test-cluster -days "$CERTIFICATE_DAYS" \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature -out "$CREDENTIALS/ca.crt"
  openssl genrsa -out "$CREDENTIALS/service-accounts.key" 2048 2>/dev/null
  openssl rsa -in "$CREDENTIALS/service-accounts.key" -pubout -out "$CREDENTIALS/service-accounts.pub" 2>/dev/null

  local names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  create_certificate kube-apiserver /CN=kube-apiserver "$names,IP:127.0.0.1,IP:$CONTROL_PLANE_ADDRESS,IP:$API_SERVICE_ADDRESS"
  create_certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  create_certificate front-proxy-client /CN=front-proxy-client
  create_certificate kube-controller-manager /CN=system:kube-controller-manager
  create_certificate kube-scheduler /CN=system:kube-scheduler
  create_certificate kube-proxy /CN=system:kube-proxy
  create_certificate admin /O=system:masters/CN=kubernetes-admin
  local client
  for client in kube-controller-manager kube-scheduler kube-proxy admin; do create_kubeconfig "$client"; done
}

create_node_credentials() {
  local number=$1
  [ ! -e "$CREDENTIALS/node$number.kubeconfig" ] || return 0
  create_certificate "node$number" "/O=system:nodes/CN=system:node:node$number" "DNS:node$number,IP:$(node_address "$number")"
  create_kubeconfig "node$number"
}

# Elliptic curves: RSA keys would take most of a cluster's start.
create_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$CREDENTIALS/$1.key"; }

create_certificate() { # NAME SUBJECT [SUBJECT_ALTERNATIVE_NAMES]
  local name=$1 subject=$2 alternative_names=${3:-}
  create_key "$name"
  openssl req -new -key "$CREDENTIALS/$name.key" -subj "$subject" |
    openssl x509 -req -CA "$CREDENTIALS/ca.crt" -CAkey "$CREDENTIALS/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
      -days "$CERTIFICATE_DAYS" -out "$CREDENTIALS/$name.crt" 2>/dev/null -extfile <(
        echo extendedKeyUsage=serverAuth,clientAuth
        echo keyUsage=digitalSignature
        [ -z "$alternative_names" ] || echo "subjectAltName=$alternative_names"
      )
}

# Everything is inside the file, so that it can be copied anywhere.
create_kubeconfig() {
  local name=$1
  cat >"$CREDENTIALS/$name.kubeconfig" <<KUBECONFIG
apiVersion: v1
kind: Config
clusters: [{name: carillon-test, cluster: {server: "$API_SERVER", certificate-authority-data: $(base64 -w0 "$CREDENTIALS/ca.crt")}}]
users: [{name: $name, user: {client-certificate-data: $(base64 -w0 "$CREDENTIALS/$name.crt"), client-key-data: $(base64 -w0 "$CREDENTIALS/$name.key")}}]
contexts: [{name: carillon-test, context: {cluster: carillon-test, user: $name}}]
current-context: carillon-test
KUBECONFIG
}
