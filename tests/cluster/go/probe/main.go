// Command probe is the self-test's program: an HTTP server that looks at the cluster from inside a pod, and the same
// looks as one-off commands (probe lookup NAME, probe pods) for kubectl exec.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	listenAddress  = ":8080"
	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"
)

func main() {
	if len(os.Args) == 1 {
		serve()
		return
	}
	answer, err := look(os.Args[1], strings.Join(os.Args[2:], ""))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(answer)
}

func serve() {
	name, _ := os.Hostname()
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("/name", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("asked for its name by %s\n", r.RemoteAddr)
		fmt.Fprintln(w, name)
	})
	http.HandleFunc("/look/{what}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := look(r.PathValue("what"), r.URL.Query().Get("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, answer)
	})
	fmt.Printf("%s listens on %s\n", name, listenAddress)
	panic(http.ListenAndServe(listenAddress, nil))
}

func look(what, name string) (string, error) {
	switch what {
	case "lookup":
		addresses, err := net.LookupHost(name)
		return strings.Join(addresses, " "), err
	case "fetch":
		return fetch(http.DefaultClient, name, "")
	case "pods":
		return listPods()
	default:
		return "", fmt.Errorf("unknown look %q: lookup, fetch or pods", what)
	}
}

// listPods asks the API server as any in-cluster client does: with the mounted token, at the address in the environment.
func listPods() (string, error) {
	token, err := os.ReadFile(serviceAccount + "token")
	if err != nil {
		return "", err
	}
	authority, err := os.ReadFile(serviceAccount + "ca.crt")
	if err != nil {
		return "", err
	}
	namespace, err := os.ReadFile(serviceAccount + "namespace")
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	body, err := fetch(client, fmt.Sprintf("https://%s/api/v1/namespaces/%s/pods", server, namespace), string(token))
	if err != nil {
		return "", err
	}
	var pods struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(body), &pods); err != nil {
		return "", err
	}
	var names []string
	for _, pod := range pods.Items {
		names = append(names, pod.Metadata.Name)
	}
	return strings.Join(names, " "), nil
}

func fetch(client *http.Client, url, token string) (string, error) {
	client.Timeout = 5 * time.Second
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", url, response.Status, body)
	}
	return strings.TrimSpace(string(body)), nil
}
