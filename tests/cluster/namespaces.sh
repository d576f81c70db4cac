#!/usr/bin/env bash
# An upgrade of the chart confines the operator to one namespace: it may read no Secret of another and serves nothing there.
# The former release, which a rollback brings back, does. Requests go on meanwhile. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."
finish() {
    jobs -p | xargs -r kill 2>/dev/null || true
    kubectl delete namespace elsewhere --ignore-not-found --wait=false >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

# may VERB KIND NAMESPACE: whether the operator may.
may() { kubectl auth can-i "$1" "$2" -n "$3" --as system:serviceaccount:turnpike-system:turnpike-operator >/dev/null; }
accepted() { kubectl wait -n "$1" "gateway/$2" --for=condition=Accepted --timeout=0 >/dev/null 2>&1; }

# A few at a time, at most 300 s long.
load() {
    local end=$((SECONDS + 300))
    while [ ! -e "$work/stop" ] && [ "$SECONDS" -lt "$end" ]; do
        "${ask[@]}" "http://shop.example.com:8080/orders/[1-50]" --rate 50/s || true
    done
}
load >"$work/answers" &
say "confining the operator to namespace shop"
helm upgrade turnpike charts/turnpike -n turnpike-system --reuse-values --set 'operator.watchNamespaces={shop}' \
    --wait --timeout 120s >/dev/null
kubectl create namespace elsewhere >/dev/null
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other, namespace: elsewhere}
spec: {gatewayClassName: turnpike, listeners: [{name: http, port: 8081, protocol: HTTP}]}
YAML
may list secrets shop || fail "the operator may not read the Secrets of shop"
for verb in get list create delete; do
    if may "$verb" secrets elsewhere; then fail "the operator may $verb Secrets elsewhere"; fi
done
kubectl annotate gateway web -n shop --overwrite "turnpike.dev/touched=$(date +%s)" >/dev/null
until_true 30 "the Gateway of shop is programmed" programmed "served by 1 of 1 gateways"
if accepted elsewhere other; then fail "a Gateway elsewhere was taken"; fi
kubectl get pods -n elsewhere -o name | grep -q . && fail "there are Pods elsewhere"

say "rolling back"
helm rollback turnpike -n turnpike-system --wait --timeout 120s >/dev/null
may list secrets elsewhere || fail "the operator may not read Secrets elsewhere"
until_true 30 "the Gateway elsewhere is taken" accepted elsewhere other
until_true 30 "the Gateway of shop is programmed" programmed "served by 1 of 1 gateways"
touch "$work/stop"
wait
none_failed "$work/answers"
[ "$sent" -ge 100 ] || fail "only $sent requests were sent"
say "$sent requests meanwhile: 0 failed"
