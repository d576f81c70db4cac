#!/usr/bin/env bash
# The fleet of the shop example changes under load: new processes for old ones, one to three and back. No request fails,
# and every one of them is in the report. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$here/../.."
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
address=$(kubectl get gateway web -n shop -o jsonpath='{.status.addresses[0].value}')
key=$(sed -n 's|.*"consumer": "shop/carol", "key": "\([^"]*\)".*|\1|p' examples/shop-traffic.json | head -1)
service=$(kubectl get service turnpike-analytics -n turnpike-system -o jsonpath='{.spec.clusterIP}')
token=$(kubectl get secret turnpike-analytics -n turnpike-system -o jsonpath='{.data.token}' | base64 -d)
deployment=$(kubectl get deployments -n shop -l gateway.networking.k8s.io/gateway-name=web -o name)

begun=$(date -u +%Y-%m-%dT%H:%M:%SZ)
# Two callers, each with one connection at a time, 50 requests a second.
for caller in 1 2; do
    curl -s --noproxy '*' --rate 50/s --resolve "shop.example.com:8080:$address" -o /dev/null -w '%{http_code}\n' \
        -H "x-api-key: $key" "http://shop.example.com:8080/orders/[1-1500]" >"$work/answers.$caller" &
done

say "replacing every process"
kubectl rollout restart -n shop "$deployment" >/dev/null
kubectl rollout status -n shop "$deployment" --timeout=60s >/dev/null
say "from one to three"
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: web, namespace: shop}
spec: {replicas: 3, timeouts: {drain: 5s}}
YAML
kubectl patch gateway web -n shop --type=merge -p \
    '{"spec":{"infrastructure":{"parametersRef":{"group":"turnpike.dev","kind":"GatewayFleet","name":"web"}}}}' >/dev/null
programmed() {
    [ "$(kubectl get gateway web -n shop -o jsonpath='{.status.conditions[?(@.type=="Programmed")].message}')" = "$1" ]
}
until_true 60 "three gateways" programmed "served by 3 of 3 gateways"
say "and back to one"
kubectl patch gatewayfleet web -n shop --type=merge -p '{"spec":{"replicas":1}}' >/dev/null
until_true 60 "one gateway" programmed "served by 1 of 1 gateways"
wait

sent=$(cat "$work"/answers.* | wc -l)
good=$(cat "$work"/answers.* | grep -c '^200$' || true)
[ "$sent" = "$good" ] || { sort "$work"/answers.* | uniq -c >&2; fail "$((sent - good)) of $sent requests failed"; }
reported() {
    [ "$(curl -sf --noproxy '*' -H "authorization: Bearer $token" \
        "http://$service:9090/v1/usage?by=consumer&from=$begun&consumer=shop%2Fcarol&format=csv" |
        tail -1 | cut -d, -f2)" = "$sent" ]
}
until_true 90 "usage of $sent requests" reported
say "$sent requests while the fleet changed: 0 failed, $sent in the report"
