#!/usr/bin/env bash
# IPv4 and IPv6: callers reach a fleet by both, it reaches upstreams by both, and tells them who asks. Runs after
# demo.sh, where the machine has IPv6.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
if [ -z "$node_ip6" ]; then
    printf '\033[31mNOT RUN: this machine has no IPv6\033[0m\n' >&2
    exit 0
fi
trap 'kubectl delete service,httproute -n shop -l test=families --wait=false >/dev/null; rm -rf "$work"' EXIT

# Upstreams of one family each, by the same Pods.
for family in IPv4 IPv6; do
    name=$(tr '[:upper:]' '[:lower:]' <<<"$family")
    kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: $name, namespace: shop, labels: {test: families}}
spec: {ipFamilyPolicy: SingleStack, ipFamilies: [$family], selector: {app: echo}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: $name, namespace: shop, labels: {test: families}}
spec:
  parentRefs: [{name: web}]
  hostnames: [$name.example.com]
  rules: [{backendRefs: [{name: $name, port: 80}]}]
YAML
done
mapfile -t addresses < <(kubectl get service -n shop -l gateway.networking.k8s.io/gateway-name=web \
    -o jsonpath='{range .items[0].spec.clusterIPs[*]}{@}{"\n"}{end}')
[ "${#addresses[@]}" = 2 ] || fail "the fleet has not two addresses: ${addresses[*]}"
# asked ADDRESS FAMILY: the status.
asked() {
    local host=$2.example.com
    curl -s --noproxy '*' --max-time 5 --resolve "$host:8080:$1" -o "$work/answer" -w '%{http_code}' -H "x-api-key: $key" "http://$host:8080/"
}
works() { [ "$(asked "$@")" = 200 ]; }
for address in "${addresses[@]}"; do
    for family in ipv4 ipv6; do
        until_true 20 "an upstream by $family for callers at $address" works "$address" "$family"
        # Whose request it is, as the upstream is told: kube-proxy has put the node in the host's place, of the same family.
        [[ "$address" == *:* ]] && from='[0-9a-f:]+' || from='[0-9.]+'
        grep -qE "\"x-forwarded-for\":\"$from\"" "$work/answer" || { cat "$work/answer" >&2; fail "not from $address"; }
    done
done
say "callers at ${addresses[*]}, upstreams by IPv4 and IPv6"
