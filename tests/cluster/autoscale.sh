#!/usr/bin/env bash
# A fleet grows and shrinks by the load on its processors: the real metrics-server, a HorizontalPodAutoscaler that the
# operator makes, 1 -> 3 -> 1 gateways. Then by its requests, which the operator serves as external metrics. No request
# fails, and all of them are in the report. Runs after change.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."

if [ ! -e "$state/pid/metrics" ]; then
    say "starting metrics-server"
    program=$(tests/partners/build.sh metrics-server)/metrics-server
    ln -sf "$program" "$state/bin/metrics-server"
    start metrics "$state/bin/metrics-server" --kubeconfig "$KUBECONFIG" --authentication-kubeconfig "$KUBECONFIG" \
        --authorization-kubeconfig "$KUBECONFIG" --secure-port 4443 --cert-dir "$state/metrics" \
        --kubelet-insecure-tls --kubelet-preferred-address-types InternalIP --metric-resolution 15s --kubelet-request-timeout 5s
    kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {ports: [{name: https, port: 443, targetPort: 4443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: metrics-server, namespace: kube-system, labels: {kubernetes.io/service-name: metrics-server}}
addressType: IPv4
ports: [{name: https, port: 4443, protocol: TCP}]
endpoints: [{addresses: [$node_ip], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system}
YAML
fi
until_true 90 "figures of Pods" sh -c 'kubectl top pods -n shop | grep -q web-'

kubectl apply --server-side --force-conflicts -f - >/dev/null <<'YAML'
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: web, namespace: shop}
spec:
  autoscaling: {minReplicas: 1, maxReplicas: 3, cpuPercent: 50}
  resources: {requests: {cpu: 60m}}
  timeouts: {drain: 5s}
YAML
until_true 120 "one gateway" programmed "served by 1 of 1 gateways"

begun=$(now)
# Callers with one connection each: many requests, at most 40 s long, then few until told to stop.
for caller in 1 2 3 4; do
    "${ask[@]}" "http://shop.example.com:8080/orders/[1-4000]" --rate 100/s >"$work/answers.$caller" &
done
few() {
    while [ ! -e "$work/stop" ]; do
        "${ask[@]}" http://shop.example.com:8080/orders/few || true
        sleep 0.1
    done >"$work/answers.few"
}
few &
until_true 120 "three gateways" programmed "served by 3 of 3 gateways"
say "three gateways by load: $(kubectl get hpa -n shop -o jsonpath='{.items[0].status.currentMetrics[0].resource.current.averageUtilization}') % of what is asked for"
until_true 240 "one gateway again" programmed "served by 1 of 1 gateways"
say "one gateway without it"
touch "$work/stop"
wait

none_failed "$work"/answers.*
until_true 120 "usage of $sent requests" reported "$begun"
say "$sent requests while the fleet grew and shrank: 0 failed, $sent in the report"

# By requests: far more processor is asked for than they need.
kubectl apply --server-side --force-conflicts -f - >/dev/null <<'YAML'
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: web, namespace: shop}
spec:
  autoscaling: {minReplicas: 1, maxReplicas: 3, cpuPercent: 100, requestsPerSecond: 40}
  resources: {requests: {cpu: 400m}}
  timeouts: {drain: 5s}
YAML
external() {
    kubectl get --raw "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/$1?labelSelector=fleet%3Dweb" | grep -q '"value":"'
}
until_true 60 "requests in a second as a metric" external turnpike_requests_per_second
until_true 10 "requests in flight as a metric" external turnpike_requests_in_flight
until_true 120 "one gateway" programmed "served by 1 of 1 gateways"
begun=$(now)
rm -f "$work"/answers.* "$work/stop"
for caller in 1 2 3; do
    "${ask[@]}" "http://shop.example.com:8080/orders/[1-2000]" --rate 40/s >"$work/answers.$caller" &
done
few &
until_true 90 "three gateways" programmed "served by 3 of 3 gateways"
say "three gateways by requests: $(kubectl get hpa -n shop \
    -o jsonpath='{.items[0].status.currentMetrics[?(@.type=="External")].external.current.averageValue}') in a second for each"
until_true 240 "one gateway again" programmed "served by 1 of 1 gateways"
touch "$work/stop"
wait
none_failed "$work"/answers.*
until_true 120 "usage of $sent requests" reported "$begun"
say "$sent requests while the fleet grew and shrank by them: 0 failed, $sent in the report"

# Another provider has the API: fleets scale by CPU, and say so. The operator finds out at its start, or within a minute.
api=v1beta1.external.metrics.k8s.io
kubectl patch apiservice "$api" --type=merge -p '{"spec":{"service":{"namespace":"other","name":"metrics"}}}' >/dev/null
kubectl rollout restart -n turnpike-system deployment/turnpike-operator >/dev/null
told() { kubectl get gatewayfleet web -n shop -o jsonpath='{.status.conditions[0].message}' | grep -q "is another's in this cluster"; }
until_true 120 "a status that says whose the API is" told
by() { [ "$(kubectl get hpa -n shop -o jsonpath='{.items[0].spec.metrics[*].type}')" = "$1" ]; }
until_true 30 "scaling by CPU alone" by Resource
if helm test turnpike -n turnpike-system --timeout 60s >/dev/null 2>&1; then fail "doctor finds nothing wrong"; fi
kubectl logs -n turnpike-system turnpike-doctor >"$work/doctor"
grep -q "GatewayFleet shop/web: .*external.metrics.k8s.io is another's" "$work/doctor" ||
    { cat "$work/doctor" >&2; fail "doctor does not name the fleet"; }
kubectl delete apiservice "$api" >/dev/null
until_true 120 "scaling by requests again" by "Resource External"
until_true 60 "requests in a second as a metric again" external turnpike_requests_per_second
say "while the API was another's: CPU alone, status and doctor say so; then by requests again"
