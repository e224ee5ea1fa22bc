// Command etcd is the control plane's store: the server that etcd's own command runs, built from this module's versions.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
