#!/usr/bin/env bash
# Gateways of two namespaces share one fleet at one address: each keeps its hostnames, what both claim is the older one's,
# and one that goes takes nothing from the other. Then each gets a fleet of its own, and nothing is left of the shared one.
# Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
trap 'kubectl delete namespace tenant-a tenant-b --ignore-not-found --wait=false >/dev/null
    kubectl delete gatewayclass shared --ignore-not-found >/dev/null
    kubectl delete namespace edge --ignore-not-found --wait=false >/dev/null' EXIT

kubectl apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Namespace
metadata: {name: edge}
---
apiVersion: v1
kind: Namespace
metadata: {name: tenant-a}
---
apiVersion: v1
kind: Namespace
metadata: {name: tenant-b}
---
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: shared, namespace: edge}
spec: {mergeGateways: true, replicas: 2, timeouts: {drain: 2s}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: shared}
spec:
  controllerName: turnpike.dev/gateway-controller
  parametersRef: {group: turnpike.dev, kind: GatewayFleet, name: shared, namespace: edge}
YAML
# tenant LETTER HOSTNAME...: a Gateway with a listener for each hostname, and a route that tells whose it is.
tenant() {
    local letter=$1 listeners='' host
    shift
    for host in "$@"; do listeners+="{name: ${host%%.*}, port: 80, protocol: HTTP, hostname: $host}, "; done
    kubectl apply -f - >/dev/null <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: tenant-$letter}
spec: {gatewayClassName: shared, listeners: [${listeners%, }]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all, namespace: tenant-$letter}
spec:
  parentRefs: [{name: web}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: $letter.example.org}}]}]
YAML
}
programmed() { [ "$(kubectl get gateway web -n "tenant-$1" -o jsonpath='{.status.conditions[?(@.type=="Programmed")].message}')" = "$2" ]; }
address() { kubectl get gateway web -n "tenant-$1" -o jsonpath='{.status.addresses[0].value}'; }
# Where a request for the host is sent to at the address, or its status.
asked() {
    curl -s --noproxy '*' --max-time 5 --resolve "$2:80:$1" -o /dev/null -w '%{redirect_url} %{http_code}' "http://$2/" |
        sed -E 's|^http://([^/:]*)[^ ]* .*|\1|; s|^ ||'
}
answers() { [ "$(asked "$1" "$2")" = "$3" ]; }
count() { kubectl get "$1" -n "$2" -l app.kubernetes.io/managed-by=turnpike -o name | wc -l; }

tenant a a.example.com both.example.com
until_true 60 "tenant a" programmed a "served by 2 of 2 gateways"
tenant b b.example.com both.example.com
until_true 60 "tenant b" programmed b "served by 2 of 2 gateways"
shared=$(address a)
[ "$(address b)" = "$shared" ] || fail "two Gateways of one fleet have two addresses"
for each in "a.example.com a" "b.example.com b" "both.example.com a"; do
    read -r host whose <<<"$each"
    until_true 10 "$host" answers "$shared" "$host" "$whose.example.org"
done
conflict=$(kubectl get gateway web -n tenant-b \
    -o jsonpath='{.status.listeners[?(@.name=="both")].conditions[?(@.type=="Conflicted")].message}')
[[ "$conflict" == *"tenant-a/web/both serves both.example.com on port 80 already"* ]] || fail "no conflict is told: $conflict"
[ "$(count deployments edge) $(count deployments tenant-a) $(count deployments tenant-b)" = "1 0 0" ] ||
    fail "not one fleet for both"
say "two Gateways, one fleet at $shared; $conflict"

kubectl delete gateway web -n tenant-a >/dev/null
until_true 20 "what was claimed by both is the other's" answers "$shared" both.example.com b.example.org
until_true 20 "the deleted Gateway serves no more" answers "$shared" a.example.com 404
tenant a a.example.com
until_true 20 "it is back" answers "$shared" a.example.com a.example.org

kubectl patch gatewayfleet shared -n edge --type=merge -p '{"spec":{"mergeGateways":false,"replicas":1}}' >/dev/null
for each in a b; do until_true 60 "a fleet of tenant $each" programmed "$each" "served by 1 of 1 gateways"; done
[ "$(address a)" != "$(address b)" ] || fail "two fleets have one address"
until_true 20 "its own fleet" answers "$(address b)" both.example.com b.example.org
none_left() { [ "$(count deployments,services,secrets,serviceaccounts,poddisruptionbudgets,networkpolicies edge)" = 0 ]; }
until_true 30 "nothing is left of the shared fleet" none_left
apart="a at $(address a), b at $(address b)"
kubectl delete gateway web -n tenant-b >/dev/null
gone() { [ "$(count deployments,services,secrets,serviceaccounts,poddisruptionbudgets,networkpolicies tenant-b)" = 0 ]; }
until_true 30 "nothing is left of a deleted Gateway" gone
say "apart again: $apart, nothing left of the shared fleet"
