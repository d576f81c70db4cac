#!/usr/bin/env bash
# Gateways whose spools are on volumes: analytics hangs, every Pod is deleted without time to hand anything over, and when
# analytics goes on, all requests are in the report. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."

for number in 0 1; do
    mkdir -p "$state/volumes/$number"
    kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: spool-$number}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: spool
  local: {path: $state/volumes/$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node]}]}]}}
YAML
done
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: kept, namespace: shop}
spec: {replicas: 2, timeouts: {drain: 5s}, spool: {volume: {size: 1Gi, storageClass: spool}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: kept, namespace: shop}
spec:
  gatewayClassName: turnpike
  infrastructure: {parametersRef: {group: turnpike.dev, kind: GatewayFleet, name: kept}}
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: kept, namespace: shop}
spec:
  parentRefs: [{name: kept}]
  hostnames: [kept.example.com]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
YAML
until_true 60 "two gateways with volumes" programmed "served by 2 of 2 gateways" kept
at=$(kubectl get gateway kept -n shop -o jsonpath='{.status.addresses[0].value}')
send() {
    curl -s --noproxy '*' --resolve "kept.example.com:8080:$at" -o /dev/null -w '%{http_code}\n' "http://kept.example.com:8080/[1-$1]" >>"$work/answers"
}
ready() { [ "$(curl -s --noproxy '*' --resolve "kept.example.com:8080:$at" -o /dev/null -w '%{http_code}' http://kept.example.com:8080/)" = 200 ]; }
until_true 30 "an answer" ready

say "stopping analytics where it stands"
analytics=$(process turnpike-system pod/turnpike-analytics-0 analytics)
kill -STOP "$analytics"
trap 'kill -CONT "$analytics"; rm -rf "$work"' EXIT
begun=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
send 300
mapfile -t pods < <(kubectl get pods -n shop -l gateway.networking.k8s.io/gateway-name=kept -o name)
kubectl delete -n shop "${pods[@]}" --grace-period=0 --force >/dev/null 2>&1
say "deleted ${pods[*]}, with all that they had not handed over"
until_true 60 "the gateways again" programmed "served by 2 of 2 gateways" kept
kill -CONT "$analytics"
none_failed "$work/answers"
back() { [ "$(api "/v1/usage?by=route&from=$begun&format=csv" | awk -F, '$1 == "\"shop/kept\"" {print $2}')" = "$sent" ]; }
until_true 120 "usage of $sent requests" back
say "$sent requests, $sent in the report"
kubectl delete gateway,httproute,gatewayfleet kept -n shop >/dev/null
until_true 90 "no Pod of it is left" sh -c '! kubectl get pods -n shop -l gateway.networking.k8s.io/gateway-name=kept -o name | grep -q .'
kubectl delete persistentvolumeclaims -n shop -l turnpike.dev/fleet=kept-turnpike >/dev/null
kubectl delete persistentvolumes spool-0 spool-1 >/dev/null
