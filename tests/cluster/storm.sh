#!/usr/bin/env bash
# Everything changes at once under 500 requests a second, TLS handshakes and a WebSocket: 1,000 changes of routes, 20
# certificates, operators and analytics that start anew; then every gateway is replaced, and the fleet grows and shrinks.
# No request fails, no handshake, and the WebSocket carries on but for the end of its gateway; the report has what was sent.
#
#   tests/cluster/storm.sh [ROUNDS]      of 100 routes and 2 certificates, by default 10; runs after demo.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."
rounds=${1:-10} routes=100
undo() {
    jobs -p | xargs -r kill 2>/dev/null || true
    kubectl delete httproute -n shop -l test=storm --wait=false >/dev/null 2>&1 || true
    kubectl delete deployment,service socket -n shop --ignore-not-found --wait=false >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap undo EXIT

tests/cluster/image.sh "$(tests/partners/build.sh conformance)/echo-basic" localhost/turnpike/socket:1
kubectl apply --server-side --force-conflicts -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: socket, namespace: shop}
spec:
  selector: {matchLabels: {app: socket}}
  template:
    metadata: {labels: {app: socket}}
    spec:
      containers:
      - name: socket
        image: localhost/turnpike/socket:1
        imagePullPolicy: IfNotPresent
        env: [{name: POD_NAME, value: socket}, {name: NAMESPACE, value: shop}]
        readinessProbe: {tcpSocket: {port: 3000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: socket, namespace: shop}
spec: {selector: {app: socket}, ports: [{port: 80, targetPort: 3000}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: socket, namespace: shop, labels: {test: storm}}
spec:
  parentRefs: [{name: web}]
  hostnames: [socket.example.com]
  rules: [{backendRefs: [{name: socket, port: 80}]}]
YAML
fleet 2
until_true 90 "two gateways" programmed "served by 2 of 2 gateways"

# certificate: a new one for the listener; its serial.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=shop \
        -addext 'subjectAltName=DNS:*.example.com' -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
    kubectl create secret tls shop-tls -n shop --cert "$work/tls.crt" --key "$work/tls.key" --dry-run=client -o yaml |
        kubectl apply -f - >/dev/null
    openssl x509 -in "$work/tls.crt" -noout -serial | cut -d= -f2 | tr 'A-F' 'a-f'
}
# shown SERIAL: whether both gateways serve it.
shown() {
    kubectl get gateway web -n shop \
        -o jsonpath='{.status.listeners[?(@.name=="https")].conditions[?(@.type=="Programmed")].message}' |
        grep -q "(serial $1, .*served by 2 of 2"
}
# rename TO: all routes redirect to another name.
rename() {
    local at
    for at in $(seq "$routes"); do
        cat <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: storm-$at, namespace: shop, labels: {test: storm}}
spec:
  parentRefs: [{name: web}]
  hostnames: [storm-$at.example.com]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: $1}}]}]
---
YAML
    done | kubectl apply -f - >/dev/null
}
# renamed TO: whether the last of them does.
renamed() {
    curl -s --noproxy '*' -H "x-api-key: $key" --resolve "storm-$routes.example.com:8080:$address" -o /dev/null -w '%{redirect_url}' \
        "http://storm-$routes.example.com:8080/" | grep -q "//$1[:/]"
}
until_true 30 "a WebSocket" node --experimental-websocket "$here/socket.cjs" "$address" "$key" once
rename before.example.com
until_true 30 "the first routes" renamed before.example.com
until_true 30 "the first certificate" shown "$(certificate)"

say "500 requests a second, handshakes, a WebSocket"
begun=$(now) clock=$SECONDS
for caller in 1 2 3 4 5; do
    while [ ! -e "$work/stop" ]; do
        "${ask[@]}" "http://shop.example.com:8080/orders/[1-500]" --rate 100/s || true
    done >"$work/answers.$caller" &
done
while [ ! -e "$work/stop" ]; do
    "${ask[@]}" -k --resolve "shop.example.com:8443:$address" https://shop.example.com:8443/orders/1 || true
    sleep 0.05
done >"$work/answers.tls" &
node --experimental-websocket "$here/socket.cjs" "$address" "$key" "$work/calm" >"$work/socket" 2>&1 &
socket=$!

for round in $(seq "$rounds"); do
    rename "$round.example.com" &
    changing=$!
    for _ in 1 2; do until_true 60 "a new certificate" shown "$(certificate)"; done
    wait "$changing"
    until_true 60 "round $round of changes" renamed "$round.example.com"
    if [ "$round" = $((rounds / 3)) ]; then
        say "operators start anew"
        kubectl rollout restart -n turnpike-system deployment/turnpike-operator >/dev/null
    elif [ "$round" = $((rounds * 2 / 3)) ]; then
        say "analytics starts anew"
        kubectl delete pod -n turnpike-system -l app.kubernetes.io/name=turnpike-analytics --wait=false >/dev/null
    fi
done
kubectl rollout status -n turnpike-system deployment/turnpike-operator --timeout=120s >/dev/null
touch "$work/calm"
wait "$socket" || { cat "$work/socket" >&2; fail "the WebSocket broke"; }
say "$((rounds * routes)) changes of routes and $((rounds * 2)) certificates in $((SECONDS - clock)) s; WebSocket: $(cat "$work/socket")"

say "every gateway anew, from two to three and to one"
kubectl rollout restart -n shop deployment/web-turnpike >/dev/null
kubectl rollout status -n shop deployment/web-turnpike --timeout=120s >/dev/null
fleet 3
until_true 90 "three gateways" programmed "served by 3 of 3 gateways"
fleet 1
until_true 90 "one gateway" programmed "served by 1 of 1 gateways"
touch "$work/stop"
wait
took=$((SECONDS - clock))
none_failed "$work"/answers.*
until_true 120 "usage of $sent requests" answered "$begun"
say "$sent requests in $took s, $(wc -l <"$work/answers.tls") of them with a handshake: 0 failed, $sent in the report"
