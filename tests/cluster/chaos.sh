#!/usr/bin/env bash
# Processes of the shop example are killed at random moments under load, Pods deleted, and their network cut: gateways,
# analytics, the engine, operators. Every answer that was received in full has its record, a hard quota admits no more than
# its number, statuses come true again, and no object is left without an owner. Runs after change.sh.
#
#   tests/cluster/chaos.sh [FAULTS [SEED]]      12 faults; the seed, which is printed, decides which; another one for each
#                                               run on a node, whose consumer it names
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."
faults=${1:-12} seed=${2:-20261127}
RANDOM=$seed
trap 'inside nft delete table inet chaos 2>/dev/null || true; jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
# Of a consumer of its own.
key=tk_$(openssl rand -hex 32)
hash=$(printf %s "$key" | sha256sum | cut -d' ' -f1)
quota=400

# Two gateways, and a consumer whose quota runs out meanwhile.
fleet 2
kubectl apply -f - >/dev/null <<YAML
apiVersion: turnpike.dev/v1alpha1
kind: Plan
metadata: {name: small, namespace: shop}
spec: {quotas: [{name: all, unit: Requests, quantity: $quota, period: Year, zone: UTC, mode: Hard}]}
---
apiVersion: turnpike.dev/v1alpha1
kind: ApiProduct
metadata: {name: chaos, namespace: shop}
spec:
  displayName: Chaos
  stage: Published
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: chaos}]
  plans: [{name: small}]
---
apiVersion: turnpike.dev/v1alpha1
kind: Consumer
metadata: {name: chaos-$seed, namespace: shop}
spec: {credentials: {apiKeys: [{name: key, sha256: $hash}]}}
---
apiVersion: turnpike.dev/v1alpha1
kind: Subscription
metadata: {name: chaos-$seed, namespace: shop}
spec: {consumerRef: {name: chaos-$seed}, productRef: {name: chaos}, planRef: {name: small}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chaos, namespace: shop}
spec:
  parentRefs: [{name: web}]
  hostnames: [chaos.example.com]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
YAML
until_true 60 "two gateways" programmed "served by 2 of 2 gateways"
# Those of an earlier test hand over their records first: that needs analytics and its store.
gone() { [ "$(kubectl get pods -n shop -l gateway.networking.k8s.io/gateway-name=web -o name | wc -l)" = 2 ]; }
until_true 60 "no gateway ends" gone
# That a Gateway is programmed says nothing about its routes: every Pod is asked for the new one, without the key.
routed() {
    local ips
    ips=$(kubectl get pods -n shop -l gateway.networking.k8s.io/gateway-name=web -o jsonpath='{.items[*].status.podIP}')
    for ip in $ips; do
        [ "$(curl -s --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' -H 'host: chaos.example.com' "http://$ip:8080/")" = 401 ] || return 1
    done
}
until_true 30 "the route at both gateways" routed

# Status and request id of each answer that was received in full.
sent() {
    while [ ! -e "$work/stop" ]; do
        curl -s --noproxy '*' --max-time 10 --resolve "chaos.example.com:8080:$address" -o /dev/null \
            -w '%{exitcode} %{http_code} %header{x-request-id}\n' -H "x-api-key: $key" http://chaos.example.com:8080/ || true
        sleep 0.02
    done >"$work/answers.$1"
}
for caller in 1 2 3; do sent "$caller" & done

# any NAMESPACE LABEL: sets `pod` to one that runs.
any() {
    local pods
    mapfile -t pods < <(kubectl get pods -n "$1" -l "$2" --field-selector status.phase=Running -o name)
    [ "${#pods[@]}" -gt 0 ] && pod=${pods[RANDOM % ${#pods[@]}]}
}
# kill_one NAMESPACE LABEL CONTAINER: kill -9 of the first process of one Pod's container.
kill_one() {
    local pod pid
    any "$1" "$2" || return 1
    pid=$(process "$1" "$pod" "$3")
    # It may just be starting again.
    [ -n "$pid" ] && kill -9 "$pid" && say "killed $3 of $pod"
}
# delete_one NAMESPACE LABEL: a Pod ends in its own time.
delete_one() {
    local pod
    any "$1" "$2" && kubectl delete -n "$1" "$pod" --wait=false >/dev/null && say "deleted $pod"
}
# cut_one NAMESPACE LABEL: nothing passes between a Pod and others for some seconds. The load comes from the host, and its
# upstream is no longer reached by a gateway that is cut off.
cut_one() {
    local pod ip seconds=$((2 + RANDOM % 5))
    any "$1" "$2" && ip=$(kubectl get -n "$1" "$pod" -o jsonpath='{.status.podIP}') && [ -n "$ip" ] || return 1
    inside nft -f - <<NFT
table inet chaos {
    chain forward {
        type filter hook forward priority -10
        ip saddr $pods ip daddr $ip drop
        ip saddr $ip ip daddr $pods drop
    }
}
NFT
    say "cut off $pod for $seconds s"
    sleep "$seconds"
    inside nft delete table inet chaos
}
gateways=gateway.networking.k8s.io/gateway-name=web
analytics=app.kubernetes.io/name=turnpike-analytics
operators=app.kubernetes.io/name=turnpike-operator
fault() {
    case $((RANDOM % 10)) in
        0 | 1) kill_one shop $gateways gateway ;;
        2) kill_one turnpike-system $analytics analytics ;;
        3) kill_one turnpike-system $analytics engine ;;
        4) kill_one turnpike-system $operators operator ;;
        5) delete_one shop $gateways ;;
        6) delete_one turnpike-system $([ $((RANDOM % 2)) = 0 ] && echo $analytics || echo $operators) ;;
        7) cut_one shop $gateways ;;
        8) cut_one turnpike-system $analytics ;;
        9) cut_one turnpike-system $operators ;;
    esac
}
say "SEED=$seed, $faults faults"
for _ in $(seq "$faults"); do
    until fault; do sleep 1; done
    sleep "$((1 + RANDOM % 3))"
done
ready() {
    gone && kubectl wait pods -n shop -l $gateways --for=condition=Ready --timeout=1s &&
        kubectl wait pods --field-selector=status.phase!=Succeeded -n turnpike-system --for=condition=Ready --timeout=1s
}
until_true 180 "all Pods again" ready
# At once, but for a leader that was lost last: its lease runs for 15 s.
begun=$SECONDS
until_true 30 "true statuses" programmed "served by 2 of 2 gateways"
statuses=$((SECONDS - begun))
# owned: whether whatever the operator has made belongs to a Gateway or GatewayFleet that there is.
owned() {
    local kinds=deployments,statefulsets,services,secrets,serviceaccounts,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers
    kubectl get gateways,gatewayfleets -A -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}' | sort >"$work/owners"
    kubectl get "$kinds" -A -l app.kubernetes.io/managed-by=turnpike,turnpike.dev/fleet \
        -o jsonpath='{range .items[*]}{.metadata.ownerReferences[0].uid}{"\n"}{end}' | sort -u >"$work/owned"
    [ -s "$work/owned" ] && [ -z "$(comm -13 "$work/owners" "$work/owned")" ]
}
until_true 30 "an owner of each object" owned
# Whatever is left of the quota is used.
sleep 5
touch "$work/stop"
wait

awk '$1 == 0 && $2 != "000" {print $2, $3}' "$work"/answers.* | sort -u >"$work/received"
awk '{print $1}' "$work/received" | sort | uniq -c | awk '{printf "%s answers with %s\n", $1, $2}' >&2
odd=$(awk '$1 !~ /^(200|401|429|502|503|504)$/' "$work/received" | wc -l)
[ "$odd" = 0 ] || fail "$odd answers with a status that nobody expects"
admitted=$(grep -c '^200 ' "$work/received")
[ "$admitted" -le "$quota" ] || fail "$admitted requests were served, the quota is $quota"
recorded() { while read -r status id; do api "/v1/records/$id" | grep -q "\"status\": *$status" || return 1; done <"$work/sample"; }
# Each of a few hundred, spread over the whole time.
shuf -n 300 --random-source=<(yes "$seed") "$work/received" >"$work/sample"
until_true 120 "a record of every answer" recorded
used() { api "/v1/quotas?consumer=shop%2Fchaos-$seed" | tr -d ' \n' | sed -n 's/.*"used":\([0-9]*\).*/\1/p'; }
counted() { [ "$(used)" -ge "$admitted" ] && [ "$(used)" -le "$quota" ]; }
until_true 60 "the quota counts what was admitted" counted
say "$faults faults: $admitted of $quota admitted, $(used) counted, $(wc -l <"$work/sample") answers looked up, each has its record;" \
    "statuses true after $statuses s"
