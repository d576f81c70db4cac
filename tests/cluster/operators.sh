#!/usr/bin/env bash
# One of two operators is lost, the one that leads: requests go on, the other one feeds gateways and takes over statuses.
# Then both are restarted. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."

leader() { kubectl get lease turnpike-operator -n turnpike-system -o jsonpath='{.spec.holderIdentity}'; }
accepted() {
    kubectl wait -n shop httproute/moved --timeout=0 \
        --for=jsonpath='{.status.parents[0].conditions[?(@.type=="Accepted")].observedGeneration}'="$(kubectl get \
            httproute moved -n shop -o jsonpath='{.metadata.generation}')" >/dev/null 2>&1
}

until_true 60 "two operators" kubectl wait -n turnpike-system deployment/turnpike-operator \
    --for=jsonpath='{.status.readyReplicas}'=2 --timeout=0
"${ask[@]}" "http://shop.example.com:8080/orders/[1-1000]" --rate 50/s >"$work/answers" &
move one.example.com
until_true 10 "a new route is served" moved one.example.com
until_true 10 "its status is written" accepted

lost=$(leader)
say "killing $lost, which leads"
begun=$SECONDS
kubectl delete pod -n turnpike-system "$lost" --grace-period=0 --force >/dev/null 2>&1
move two.example.com
until_true 10 "the change is served without a leader" moved two.example.com
say "the other one feeds after $((SECONDS - begun)) s"
until_true 40 "its status is written by the other one" accepted
[ "$(leader)" != "$lost" ] || fail "$lost is gone and still leads"
say "$(leader) leads after $((SECONDS - begun)) s"

say "replacing both"
kubectl rollout restart -n turnpike-system deployment/turnpike-operator >/dev/null
kubectl rollout status -n turnpike-system deployment/turnpike-operator --timeout=120s >/dev/null
move three.example.com
until_true 15 "a change is served" moved three.example.com
until_true 15 "its status is written" accepted
until_true 15 "the Gateway is programmed" programmed "served by 1 of 1 gateways"
kubectl delete httproute moved -n shop >/dev/null
wait

none_failed "$work/answers"
say "$sent requests meanwhile: 0 failed"
