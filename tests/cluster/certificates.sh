#!/usr/bin/env bash
# Keys, certificates and kubeconfigs of the node, in the folder that is given.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$1"

openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 30 -subj /CN=turnpike-test-cluster -out ca.crt
openssl genrsa -out service-accounts.key 2048 2>/dev/null
openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null

# issue FILE SUBJECT [NAMES]
issue() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    printf 'extendedKeyUsage=clientAuth,serverAuth\n%s' "${3:+subjectAltName=$3}" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
}
issue apiserver /CN=kube-apiserver \
    "IP:$node_ip,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
issue kubelet-client /O=system:masters/CN=kubelet-client
issue front-proxy /CN=front-proxy
issue admin /O=system:masters/CN=admin
issue controller-manager /CN=system:kube-controller-manager
issue scheduler /CN=system:kube-scheduler
for each in 1 2; do
    (at $each && issue "$node" "/O=system:nodes/CN=system:node:$node" "IP:$node_ip,DNS:$node")
done
issue proxy /CN=system:kube-proxy
issue dns /O=system:masters/CN=dns

for name in admin controller-manager scheduler node node-2 proxy dns; do
    cat >"$name.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: turnpike
clusters: [{name: turnpike, cluster: {server: "https://$node_ip:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
contexts: [{name: turnpike, context: {cluster: turnpike, user: $name}}]
users: [{name: $name, user: {client-certificate-data: $(base64 -w0 $name.crt), client-key-data: $(base64 -w0 $name.key)}}]
YAML
done
