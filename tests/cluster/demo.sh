#!/usr/bin/env bash
# The shop example on the node that up.sh started: Turnpike from its charts, a Gateway with its fleet, real traffic, and
# usage that equals what the sender counted.
#
#   tests/cluster/demo.sh [PROFILE]      builds images by this cargo profile, by default dev
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$here/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests/cluster/install.sh "$work/images" "${1:-dev}"
turnpike=$work/images/turnpike/usr/bin/turnpike

say "applying examples/kubernetes and examples/shop"
kubectl apply -f examples/kubernetes >/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=shop \
    -addext 'subjectAltName=DNS:*.example.com' -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
kubectl create secret tls shop-tls -n shop --cert "$work/tls.crt" --key "$work/tls.key" --dry-run=client -o yaml |
    kubectl apply -f - >/dev/null
# The chart has made the class already.
for file in gateway consumers products routes; do
    kubectl apply --server-side --force-conflicts -f "examples/shop/$file.yaml" >/dev/null
done
kubectl rollout status -n shop deployment/echo --timeout=60s >/dev/null
kubectl wait -n shop gateway/web --for=condition=Programmed --timeout=60s >/dev/null
address=$(kubectl get gateway web -n shop -o jsonpath='{.status.addresses[0].value}')
say "the Gateway is programmed at $address: $(kubectl get gateway web -n shop \
    -o jsonpath='{.status.conditions[?(@.type=="Programmed")].message}')"

# send CONSUMER COUNT: requests with the demo key, statuses to a file.
send() {
    local key
    key=$(sed -n "s|.*\"consumer\": \"$1\", \"key\": \"\([^\"]*\)\".*|\1|p" examples/shop-traffic.json | head -1)
    curl -s --noproxy '*' --resolve "shop.example.com:8080:$address" -o /dev/null -w '%{http_code}\n' \
        -H "x-api-key: $key" "http://shop.example.com:8080/catalog/[1-$2]" >>"$work/answers"
}
say "sending requests"
begun=$(now)
send shop/alice 300
send shop/bob 150
send '' 25
sort "$work/answers" | uniq -c | awk '{print $2, $1}' >"$work/sent"

service=$(kubectl get service turnpike-analytics -n turnpike-system -o jsonpath='{.spec.clusterIP}')
TURNPIKE_TOKEN=$(kubectl get secret turnpike-analytics -n turnpike-system -o jsonpath='{.data.token}' | base64 -d)
export TURNPIKE_TOKEN
usage() { "$turnpike" usage --analytics "http://$service:9090" --from "$begun" "$@"; }
# Status and number of requests, as the report has them.
reported() {
    usage --by status --format csv | awk -F, '{gsub(/"/, "")} NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next}
        {print $at["status"], $at["requests"]}' | sort >"$work/reported"
    [ "$(awk '{all += $2} END {print all + 0}' "$work/reported")" -ge "$(wc -l <"$work/answers")" ]
}
end=$((SECONDS + 90))
until reported 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || { usage || true; fail "usage did not arrive within 90 s"; }
    sleep 1
done
usage --by consumer,status
if diff "$work/sent" "$work/reported" >&2; then
    say "The sender counted the same: $(wc -l <"$work/answers") answers, difference 0."
else
    fail "the sender (<) and the report (>) differ"
fi

# The plan of bob is used up: bob-shop says so, and an Event told when.
used_up() { [ "$(kubectl get subscription "$1" -n shop -o jsonpath='{.status.usage[0].percent} {.status.conditions[?(@.type=="QuotaExceeded")].status}')" = '100 True' ]; }
told() { kubectl get events -n shop --field-selector reason=QuotaExceeded -o name | grep -q .; }
until_true 60 "the use in the Subscription" used_up bob-shop
until_true 10 "an Event" told
kubectl get consumers,subscriptions -n shop

# Nothing is wrong, and what is made wrong is found.
doctor() { "$turnpike" doctor --kubernetes; }
doctor
helm test turnpike -n turnpike-system --timeout 60s >"$work/test" 2>&1 || { cat "$work/test" >&2; fail "helm test failed"; }
say "helm test: the doctor says the same from inside"
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec: {parentRefs: [{name: web}], hostnames: [lost.example.com], rules: [{backendRefs: [{name: nowhere, port: 80}]}]}
YAML
lost() { ! doctor >"$work/doctor" && grep -q 'HTTPRoute shop/lost: ResolvedRefs is False (BackendNotFound)' "$work/doctor"; }
until_true 20 "the doctor finds a route without a backend" lost
kubectl delete httproute lost -n shop >/dev/null
