#!/usr/bin/env bash
# How long a change takes on a real Kubernetes node: from `apply` of an HTTPRoute until every gateway of a fleet serves it,
# beside many other routes. Writes a table to standard output.
#
#   tests/bench/propagation.sh [ROUTES [CHANGES]]     by default 5000 and 400; PROFILE: the cargo profile of the images
#
# The node must run (make cluster). Answers are redirects that the gateways give by themselves, asked for every
# 4 ms over one kept connection to each of two gateways. No answer in between may be anything but the one before or after.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib.sh"
cd "$here/../.."
routes=${1:-5000} changes=${2:-400} profile=${PROFILE:-dist}
work=$(mktemp -d)
finish() {
    kubectl delete namespace bench --ignore-not-found --wait=false >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

tests/cluster/install.sh "$work/images" "$profile" --set operator.replicas=1,operator.resources.requests.cpu=500m
kubectl set env -n turnpike-system deployment/turnpike-operator TURNPIKE_LOG=info,operator_controller=debug >/dev/null
kubectl rollout status -n turnpike-system deployment/turnpike-operator --timeout=120s >/dev/null
# That of a run before may still be on its way out.
kubectl delete namespace bench --ignore-not-found >/dev/null
kubectl create namespace bench >/dev/null
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: two, namespace: bench}
spec: {replicas: 2, resources: {requests: {cpu: 250m}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: bench}
spec:
  gatewayClassName: turnpike
  listeners: [{name: http, port: 8080, protocol: HTTP}]
  infrastructure: {parametersRef: {group: turnpike.dev, kind: GatewayFleet, name: two}}
YAML
programmed() {
    kubectl get gateway gw -n bench -o jsonpath='{.status.conditions[?(@.type=="Programmed")].message}' |
        grep -qx 'served by 2 of 2 gateways'
}
until_true 120 "two gateways" programmed
mapfile -t addresses < <(kubectl get endpointslices -n bench -l kubernetes.io/service-name=gw-turnpike \
    -o jsonpath='{range .items[?(@.addressType=="IPv4")].endpoints[*]}{.addresses[0]}{"\n"}{end}')
kubectl config view --raw -o json >"$work/config.json"

# Resident memory of the processes of ours in the node that have this word on their command line, MiB.
memory() {
    local word=$1 pid
    for pid in $(grep -lzx -e "$word" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
        grep -qz 'turnpike$' "/proc/$pid/cmdline" && awk '/^VmRSS/ {printf "%.0f ", $2 / 1024}' "/proc/$pid/status"
    done
}
cat <<MD
# How long a change takes on Kubernetes

Written by \`make bench-kubernetes\` on $(date -u +%F): $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores for the
node, all of Kubernetes, two gateways, one operator, analytics and who measures; Turnpike in profile $profile. From sending an
\`apply\` of an HTTPRoute until both gateways answer by it, asked every 4 ms; in between each answer was the one before.

MD
python3 tests/bench/propagation.py "$work/config.json" "$routes" "$changes" "${addresses[@]}"
echo
echo "Resident memory at $routes routes, MiB: operator $(memory operator)- gateways $(memory --fleet=bench/gw)"
