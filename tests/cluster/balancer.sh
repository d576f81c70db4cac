#!/usr/bin/env bash
# Gives addresses to Services of type LoadBalancer: the one that a Service asks for, if it is ours to give, else the next.
# Addresses are handed out in turn, so that a freed one is not met again with connections that are on their way out.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

next=0
declare -A given

assign() {
    local service=$1 wanted=$2 address=
    if [[ $wanted =~ ^172\.30\.0\.(12[89]|1[3-9][0-9]|2[0-4][0-9]|25[0-4])$ ]]; then
        address=$wanted
    elif [ -z "$wanted" ]; then
        # The last ones are for those who ask.
        for _ in $(seq 100); do
            address=172.30.0.$((128 + next++ % 100))
            [ -n "${given[$address]:-}" ] || break
        done
    fi
    [ -n "$address" ] || return 0
    given[$address]=$service
    kubectl patch service -n "${service%/*}" "${service#*/}" --subresource=status --type=merge \
        -p '{"status":{"loadBalancer":{"ingress":[{"ip":"'"$address"'","ipMode":"VIP"}]}}}' || true
}

columns='{.metadata.namespace}/{.metadata.name}|{.spec.type}|{.spec.loadBalancerIP}|{.status.loadBalancer.ingress[0].ip}{"\n"}'
while true; do
    while IFS='|' read -r service type wanted has; do
        if [ "$type" != LoadBalancer ]; then continue; fi
        if [ -z "$has" ]; then
            assign "$service" "$wanted"
        elif [ -n "$wanted" ] && [ "$wanted" != "$has" ]; then
            assign "$service" "$wanted"
        else
            given[$has]=$service
        fi
    done < <(kubectl get services --all-namespaces --watch -o jsonpath="$columns" 2>/dev/null)
    sleep 0.2
done
