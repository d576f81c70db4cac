#!/usr/bin/env bash
# Starts a real Kubernetes node in a network namespace without a way out: etcd, API server, controllers, scheduler, kubelet,
# kube-proxy, containerd, DNS and addresses for load balancers. What an earlier run left is removed first.
#
#   tests/cluster/up.sh      prints the path of a kubeconfig; with NODES=2 there is a second node
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/node.sh"

packages=()
need() { [ -e "$1" ] || packages+=("$2"); }
need /usr/sbin/runc runc
need /usr/lib/cni/ptp containernetworking-plugins
need /usr/sbin/nft nftables
need /usr/sbin/conntrack conntrack
need /sbin/ip iproute2
if [ "${#packages[@]}" -gt 0 ]; then
    say "installing ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
command -v kubectl >/dev/null || fail "kubectl is missing: install Kubernetes' command line tool"
parts=("$("$here/../partners/build.sh" kubernetes)" "$("$here/../partners/build.sh" containerd)"
    "$("$here/../partners/build.sh" coredns)")

"$here/down.sh"
begun=$SECONDS
mkdir -p "$state"/{bin,log,pid} "$run"
for part in "${parts[@]}"; do ln -s "$part"/* "$state/bin/"; done
export PATH=$state/bin:$PATH
"$here/certificates.sh" "$state"

ip link add "$bridge" type bridge
ip addr add "$host_ip/24" dev "$bridge"
ip link set "$bridge" up
for route in $services $balancers; do ip route add "$route" via "$node_ip"; done
if [ -n "$node_ip6" ]; then
    ip addr add "$host_ip6/64" dev "$bridge" nodad
    ip route add "$services6" via "$node_ip6"
fi
network 1
start etcd "$state/bin/kubernetes" etcd --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn
start apiserver "$state/bin/kubernetes" kube-apiserver --etcd-servers http://127.0.0.1:2379 \
    --advertise-address "$node_ip" --bind-address 0.0.0.0 --secure-port 6443 --allow-privileged \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --enable-aggregator-routing \
    --service-cluster-ip-range "$services${node_ip6:+,$services6}" --client-ca-file "$state/ca.crt" \
    --tls-cert-file "$state/apiserver.crt" --tls-private-key-file "$state/apiserver.key" \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$state/service-accounts.pub" \
    --service-account-signing-key-file "$state/service-accounts.key" \
    --kubelet-preferred-address-types InternalIP --kubelet-certificate-authority "$state/ca.crt" --kubelet-client-certificate "$state/kubelet-client.crt" \
    --kubelet-client-key "$state/kubelet-client.key" --requestheader-client-ca-file "$state/ca.crt" \
    --requestheader-allowed-names front-proxy --requestheader-extra-headers-prefix X-Remote-Extra- \
    --requestheader-group-headers X-Remote-Group --requestheader-username-headers X-Remote-User \
    --proxy-client-cert-file "$state/front-proxy.crt" --proxy-client-key-file "$state/front-proxy.key"
until_true 60 "API server" kubectl get --raw /readyz
start controller-manager "$state/bin/kubernetes" kube-controller-manager --kubeconfig "$state/controller-manager.kubeconfig" \
    --leader-elect=false --use-service-account-credentials --root-ca-file "$state/ca.crt" \
    --service-account-private-key-file "$state/service-accounts.key" --cluster-signing-cert-file "$state/ca.crt" \
    --cluster-signing-key-file "$state/ca.key" --horizontal-pod-autoscaler-sync-period 5s \
    --horizontal-pod-autoscaler-downscale-stabilization 15s
start scheduler "$state/bin/kubernetes" kube-scheduler --kubeconfig "$state/scheduler.kubeconfig" --leader-elect=false
start balancer "$here/balancer.sh"
run_node 1
start dns "$state/bin/coredns" -conf "$state/Corefile"
until_true 30 "default ServiceAccount" kubectl get serviceaccount default
# Where analytics keeps its records, as a cluster with a default StorageClass gives it.
mkdir -p "$state/volumes/analytics"
kubectl apply -f - >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: analytics}
spec:
  capacity: {storage: 100Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  local: {path: $state/volumes/analytics}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node]}]}]}}
YAML
if [ "${NODES:-1}" = 2 ]; then network 2 && run_node 2; fi
say "Kubernetes is ready after $((SECONDS - begun)) s"
say "export KUBECONFIG=$KUBECONFIG"
echo "$KUBECONFIG"
