#!/usr/bin/env bash
# One namespace is broken and hostile: many routes, objects as large as they may be, expressions that cost much,
# references to what is not its own, another's key. The shop example goes on as if it were not there: no request fails, its
# changes are served as fast, its statuses are its own. Runs after demo.sh.
#
#   tests/cluster/isolation.sh [ROUTES]      600 hostile routes
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."
routes=${1:-600}

hash=$(printf %s "$key" | sha256sum | cut -d' ' -f1)
kubectl create namespace hostile --dry-run=client -o yaml | kubectl apply -f - >/dev/null
# Bytes of one route near the most that an API server takes, and one condition that backtracks where it can.
python3 - "$hash" "$routes" >"$work/hostile.json" <<'PY'
import json, sys
key, routes = sys.argv[1], int(sys.argv[2])
gateway = "gateway.networking.k8s.io/v1"
def of(kind, name, spec, api=gateway):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "hostile"}, "spec": spec}
def path(value, kind="PathPrefix"):
    return {"path": {"type": kind, "value": value}}
items = [
    of("Gateway", "bad", {"gatewayClassName": "turnpike", "listeners": [
        {"name": "http", "port": 8080, "protocol": "HTTP"},
        # Another namespace's certificate, without its leave.
        {"name": "stolen", "port": 443, "protocol": "HTTPS", "hostname": "shop.example.com",
         "tls": {"certificateRefs": [{"name": "shop-tls", "namespace": "shop"}]}}]}),
    # Another namespace's Gateway and its Service, without leave.
    of("HTTPRoute", "forged", {"parentRefs": [{"name": "web", "namespace": "shop"}], "hostnames": ["shop.example.com"],
        "rules": [{"backendRefs": [{"name": "echo", "namespace": "shop", "port": 80}]}]}),
    of("HTTPRoute", "borrowed", {"parentRefs": [{"name": "bad"}],
        "rules": [{"backendRefs": [{"name": "echo", "namespace": "shop", "port": 80}]}]}),
    of("HTTPRoute", "broken", {"parentRefs": [{"name": "bad"}], "rules": [{"matches": [path("/[", "RegularExpression")]}]}),
    of("HTTPRoute", "costly", {"parentRefs": [{"name": "bad"}], "rules": [{"matches": [
        path("/(a{1,90}){1,90}" + "x" * n, "RegularExpression") for n in range(60)]}]}),
    of("HTTPRoute", "huge", {"parentRefs": [{"name": "bad"}], "rules": [{"matches": [
        path("/" + f"{rule}-{n}-" + "h" * 900) for n in range(60)]} for rule in range(2)]}),
    # Another's key.
    of("Consumer", "thief", {"credentials": {"apiKeys": [{"name": "key", "sha256": key}]}}, "turnpike.dev/v1alpha1"),
]
items += [of("HTTPRoute", f"many-{n}", {"parentRefs": [{"name": "bad"}], "rules": [{"matches": [path(f"/many/{n}")]}]})
          for n in range(routes)]
for item in items:
    print(json.dumps(item))
PY

while [ ! -e "$work/stop" ]; do
    "${ask[@]}" "http://shop.example.com:8080/orders/[1-50]" --rate 50/s || true
done >"$work/answers" &
asking=$!
begun=$(now)
say "applying $(wc -l <"$work/hostile.json") hostile objects"
# What the API server refuses by itself is refused; all others must be borne.
split -n l/4 "$work/hostile.json" "$work/part."
for part in "$work"/part.*; do kubectl create -f "$part" >/dev/null 2>>"$work/refused" & applying+=($!); done
wait "${applying[@]}" || true
there=$(kubectl get httproutes -n hostile -o name | wc -l)
[ "$there" -ge "$routes" ] || fail "only $there routes were taken: $(head -3 "$work/refused")"

# condition KIND NAME TYPE: status and reason in the first entry of a status.
condition() {
    kubectl get "$1" "$2" -n hostile -o json | python3 -c '
import json, sys
status = json.load(sys.stdin).get("status", {})
listener = [one for one in status.get("listeners", []) if one["name"] == "stolen"]
entries = status.get("parents") or listener or [status]
print(*[one["status"] + " " + one["reason"] for one in entries[0].get("conditions", []) if one["type"] == sys.argv[1]])' "$3"
}
says() { [ "$(condition "$1" "$2" "$3")" = "$4" ]; }
until_true 60 "the Gateway says that it may not have the certificate" says gateway bad ResolvedRefs "False RefNotPermitted"
until_true 60 "the route says that it may not attach" says httproute forged Accepted "False NotAllowedByListeners"
until_true 60 "the route says that it may not have the Service" says httproute borrowed ResolvedRefs "False RefNotPermitted"
until_true 60 "the route says that its expression is broken" says httproute broken Accepted "False UnsupportedValue"
until_true 60 "the Consumer says that the key is another's" says consumer thief Accepted "False DuplicateCredential"

# A change in shop is served as if nothing were there.
move beside.example.com
until_true 5 "a change in shop" moved beside.example.com
kubectl delete httproute moved -n shop >/dev/null
touch "$work/stop"
wait "$asking"
none_failed "$work/answers"
kubectl delete namespace hostile --timeout=300s >/dev/null
until_true 30 "the Gateway of shop is programmed" programmed "$(kubectl get deployment web-turnpike -n shop \
    -o jsonpath='served by {.status.readyReplicas} of {.status.replicas} gateways')"
until_true 90 "usage of $sent requests" answered "$begun"
say "$there hostile routes beside: $sent requests, 0 failed, $sent in the report of their consumer"
