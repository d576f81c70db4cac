# What the scripts share that put load on the shop example of demo.sh.
# shellcheck shell=bash disable=SC2034 # used by the scripts that read this file
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
address=$(kubectl get gateway web -n shop -o jsonpath='{.status.addresses[0].value}')
service=$(kubectl get service turnpike-analytics -n turnpike-system -o jsonpath='{.spec.clusterIP}')
token=$(kubectl get secret turnpike-analytics -n turnpike-system -o jsonpath='{.data.token}' | base64 -d)
# Of carol, who has a large quota.
key=$(sed -n 's|.*"consumer": "shop/carol", "key": "\([^"]*\)".*|\1|p' "$here/../../examples/shop-traffic.json" | head -1)

# api PATH: what analytics answers.
api() { curl -sf --noproxy '*' --max-time 10 -H "authorization: Bearer $token" "http://$service:9090$1"; }
# A request with the key; its status on standard output. No function: as a job it must be curl itself that ends with us.
ask=(curl -s --noproxy '*' --resolve "shop.example.com:8080:$address" -o /dev/null -w '%{http_code}\n' -H "x-api-key: $key")
# process NAMESPACE POD CONTAINER: the id of the first process of a container that runs.
process() {
    local id
    id=$(kubectl get -n "$1" "$2" -o jsonpath="{.status.containerStatuses[?(@.name==\"$3\")].containerID}")
    "$state/bin/ctr" --address "$node_run/containerd.sock" -n k8s.io tasks ls 2>/dev/null |
        awk -v id="${id#containerd://}" '$1 == id && $3 == "RUNNING" {print $2}'
}
# programmed MESSAGE [GATEWAY]: whether the condition of the Gateway, by default web, says so.
programmed() {
    [ "$(kubectl get gateway "${2:-web}" -n shop -o jsonpath='{.status.conditions[?(@.type=="Programmed")].message}')" = "$1" ]
}
# fleet REPLICAS: the Gateway web has a GatewayFleet of its own with so many.
fleet() {
    kubectl apply --server-side --force-conflicts -f - >/dev/null <<YAML
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: web, namespace: shop}
spec: {replicas: $1, timeouts: {drain: 5s}}
YAML
    kubectl patch gateway web -n shop --type=merge -p \
        '{"spec":{"infrastructure":{"parametersRef":{"group":"turnpike.dev","kind":"GatewayFleet","name":"web"}}}}' >/dev/null
}
# none_failed FILE...: sets `sent`; fails unless every status is 200, and says for what reasons.
none_failed() {
    local good
    sent=$(cat "$@" | wc -l)
    good=$(cat "$@" | grep -c '^200$' || true)
    [ "$sent" = "$good" ] && return
    sort "$@" | uniq -c >&2
    # Records arrive within seconds.
    sleep 5
    api "/v1/usage?by=status,reason${begun:+&from=$begun}&consumer=shop%2Fcarol&format=csv" | grep -v '^200,' >&2 || true
    # When, at which process, after how long (µs) and why.
    api "/v1/records?limit=500${begun:+&from=$begun}&consumer=shop%2Fcarol&status=503" >"$work/records" &&
        python3 -c 'import json, sys
for one in json.load(sys.stdin)["records"]:
    print(*(one[key] for key in ("ts", "segment_gateway", "duration_us", "status", "reason")))' \
            <"$work/records" >&2 || true
    fail "$((sent - good)) of $sent requests failed"
}
# reported SINCE: whether the report has as many requests of carol as were sent.
reported() {
    [ "$(api "/v1/usage?by=consumer&from=$1&consumer=shop%2Fcarol&format=csv" | tail -1 | cut -d, -f2)" = "$sent" ]
}
# answered SINCE: the same, of the answers with 200 alone; the others are those to `moved`.
answered() {
    [ "$(api "/v1/usage?by=consumer,status&from=$1&consumer=shop%2Fcarol&format=csv" | awk -F, '$2 == 200 {print $3}')" = "$sent" ]
}
# move TO: makes moved.example.com, a rule of its own, answer with a redirect to that name.
move() {
    kubectl apply -f - >/dev/null <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: moved, namespace: shop}
spec:
  parentRefs: [{name: web}]
  hostnames: [moved.example.com]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: $1}}]}]
YAML
}
# moved TO: whether it does.
moved() {
    curl -s --noproxy '*' --resolve "moved.example.com:8080:$address" -o /dev/null -w '%{redirect_url}' \
        -H "x-api-key: $key" http://moved.example.com:8080/ | grep -q "//$1[:/]"
}
