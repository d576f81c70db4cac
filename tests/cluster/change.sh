#!/usr/bin/env bash
# The fleet of the shop example changes under load: new processes for old ones, one to three and back. No request fails,
# and every one of them is in the report. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."
deployment=$(kubectl get deployments -n shop -l gateway.networking.k8s.io/gateway-name=web -o name)

begun=$(now)
# Two callers, each with one connection at a time, 50 requests a second.
for caller in 1 2; do
    "${ask[@]}" "http://shop.example.com:8080/orders/[1-1500]" --rate 50/s >"$work/answers.$caller" &
done

say "replacing every process"
kubectl rollout restart -n shop "$deployment" >/dev/null
kubectl rollout status -n shop "$deployment" --timeout=60s >/dev/null
say "from one to three"
fleet 3
until_true 60 "three gateways" programmed "served by 3 of 3 gateways"
say "and back to one"
fleet 1
until_true 60 "one gateway" programmed "served by 1 of 1 gateways"
wait

none_failed "$work"/answers.*
until_true 90 "usage of $sent requests" reported "$begun"
say "$sent requests while the fleet changed: 0 failed, $sent in the report"
