#!/usr/bin/env bash
# A second node: the fleet and the operators spread over both, and a drain of the second one under load moves what is there
# without a failed request. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
. "$here/node.sh"
cd "$here/../.."

if [ ! -e "$run/node-2" ]; then
    network 2
    run_node 2
    say "node-2 is ready"
fi
kubectl uncordon node-2 >/dev/null
ctr() { "$state/bin/ctr" --address "$run/$1/containerd.sock" -n k8s.io images "${@:2}" 2>/dev/null; }
mapfile -t images < <(ctr node list -q | grep ^localhost/turnpike/ | grep -v pause)
ctr node export "$work/images.tar" "${images[@]}"
ctr node-2 import --local "$work/images.tar" >/dev/null

on() { kubectl get pods -A -o name --field-selector "spec.nodeName=$1,status.phase=Running" | grep -c "$2" || true; }
fleet 2
for deployment in shop/web-turnpike shop/echo turnpike-system/turnpike-operator; do
    kubectl rollout restart -n "${deployment%/*}" "deployment/${deployment#*/}" >/dev/null
    kubectl rollout status -n "${deployment%/*}" "deployment/${deployment#*/}" --timeout=120s >/dev/null
done
until_true 60 "two gateways" programmed "served by 2 of 2 gateways"
spread() { [ "$(on node-2 web-turnpike) $(on node-2 turnpike-operator)" = "1 1" ]; }
until_true 30 "a gateway and an operator on node-2" spread

begun=$(now)
for caller in 1 2; do
    while [ ! -e "$work/stop" ]; do "${ask[@]}" "http://shop.example.com:8080/orders/[1-100]" --rate 50/s || true; done >"$work/answers.$caller" &
done
say "draining node-2: a gateway, an operator and $(on node-2 echo) of 2 upstreams are there"
kubectl drain node-2 --ignore-daemonsets --delete-emptydir-data --timeout=180s >/dev/null 2>&1
until_true 60 "both gateways on the other node" programmed "served by 2 of 2 gateways"
[ "$(on node-2 web-turnpike)" = 0 ] || fail "a gateway is still on node-2"
say "and back"
kubectl uncordon node-2 >/dev/null
kubectl rollout restart -n shop deployment/web-turnpike >/dev/null
kubectl rollout status -n shop deployment/web-turnpike --timeout=120s >/dev/null
until_true 60 "two gateways" programmed "served by 2 of 2 gateways"
[ "$(on node-2 web-turnpike)" = 1 ] || fail "no gateway has come back to node-2"
touch "$work/stop"
wait
none_failed "$work"/answers.*
until_true 90 "usage of $sent requests" reported "$begun"
# What follows has one node again, and one gateway.
fleet 1
kubectl drain node-2 --ignore-daemonsets --delete-emptydir-data --timeout=180s >/dev/null 2>&1
until_true 60 "one gateway" programmed "served by 1 of 1 gateways"
say "$sent requests while a node was drained: 0 failed, $sent in the report"
