#!/usr/bin/env bash
# Certificates from the real cert-manager, by the annotation that its users know. They are replaced under load, and no
# handshake fails; statuses and metrics say which one is served and until when; one that ends soon is an Event. Then
# cert-manager runs without its support of Gateway API, and the operator asks for a certificate. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$here/../.."
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
rotations=5

say "starting cert-manager"
ln -sf "$(tests/partners/build.sh cert-manager)/cert-manager" "$state/bin/cert-manager"
module=github.com/cert-manager/cert-manager
(cd tests/partners/cert-manager && go mod download "$module" && go list -m -f '{{.Dir}}' "$module") >"$work/module"
kubectl apply --server-side -f "$(cat "$work/module")/deploy/crds" >/dev/null
kubectl wait --for=condition=Established --timeout=30s crd/certificates.cert-manager.io crd/issuers.cert-manager.io >/dev/null
stop cert-manager
start cert-manager "$state/bin/cert-manager" "$KUBECONFIG" gateways
kubectl create namespace secure --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self-signed, namespace: secure}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: ca, namespace: secure}
spec: {isCA: true, commonName: ca, secretName: ca, issuerRef: {name: self-signed}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca, namespace: secure}
spec: {ca: {secretName: ca}}
---
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {name: two, namespace: secure}
spec: {replicas: 2}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: secure, annotations: {cert-manager.io/issuer: ca}}
spec:
  gatewayClassName: turnpike
  infrastructure: {parametersRef: {group: turnpike.dev, kind: GatewayFleet, name: two}}
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: secure.example.com, tls: {certificateRefs: [{name: secure-tls}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: away, namespace: secure}
spec:
  parentRefs: [{name: web}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.example.com}}]}]
YAML

# What the listener https says of itself.
message() {
    kubectl get gateway web -n secure \
        -o jsonpath='{.status.listeners[?(@.name=="https")].conditions[?(@.type=="Programmed")].message}'
}
# served SERIAL: whether all gateways serve the certificate.
served() { [[ "$(message)" == "served by 2 of 2 gateways; certificate secure/secure-tls (serial $1, "*", served by 2 of 2" ]]; }
# Serial of the certificate in the Secret, as `openssl` and the status write it.
serial() {
    kubectl get secret secure-tls -n secure -o jsonpath='{.data.tls\.crt}' | base64 -d |
        openssl x509 -noout -serial | cut -d= -f2 | tr 'A-F' 'a-f'
}
issued() { serial | grep -q .; }
until_true 60 "a certificate" issued
first=$(serial)
until_true 60 "the certificate at both gateways" served "$first"
address=$(kubectl get gateway web -n secure -o jsonpath='{.status.addresses[0].value}')
kubectl get secret secure-tls -n secure -o jsonpath='{.data.ca\.crt}' | base64 -d >"$work/ca.crt"
ask=(curl -s --noproxy '*' --cacert "$work/ca.crt" --resolve "secure.example.com:443:$address" -o /dev/null -w '%{http_code}\n')
[ "$("${ask[@]}" https://secure.example.com/)" = 302 ] || fail "the first handshake failed"
say "issued and served: $(message)"

# A connection and a handshake for each request.
while [ ! -e "$work/stop" ]; do
    "${ask[@]}" https://secure.example.com/ || true
done >"$work/answers" &
asking=$!
for _ in $(seq "$rotations"); do
    before=$(serial)
    # As `cmctl renew` asks for it.
    kubectl patch certificate secure-tls -n secure --subresource=status --type=json -p "[{\"op\": \"add\", \"path\":
        \"/status/conditions/-\", \"value\": {\"type\": \"Issuing\", \"status\": \"True\", \"reason\": \"ManuallyTriggered\",
        \"message\": \"test\", \"lastTransitionTime\": \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"}}]" >/dev/null
    renewed() { [ "$(serial)" != "$before" ]; }
    until_true 60 "a new certificate" renewed
    until_true 30 "the new certificate at both gateways" served "$(serial)"
    shown=$(openssl s_client -connect "$address:443" -servername secure.example.com </dev/null 2>/dev/null |
        openssl x509 -noout -serial | cut -d= -f2 | tr 'A-F' 'a-f')
    [ "$shown" = "$(serial)" ] || fail "the status says serial $(serial), callers are shown $shown"
done
touch "$work/stop"
wait "$asking"
sent=$(wc -l <"$work/answers")
good=$(grep -c '^302$' "$work/answers" || true)
[ "$sent" = "$good" ] || { sort "$work/answers" | uniq -c >&2; fail "$((sent - good)) of $sent handshakes failed"; }
say "$rotations certificates, one after the other, under $sent handshakes: 0 failed"

# The same as a metric, of one of the Pods.
pod=$(kubectl get pods -n secure -l gateway.networking.k8s.io/gateway-name=web -o jsonpath='{.items[0].status.podIP}')
token=$(kubectl get secret web-turnpike-identity -n secure -o jsonpath='{.data.token}' | base64 -d)
curl -sf --noproxy '*' -H "authorization: Bearer $token" "http://$pod:64512/metrics" >"$work/metrics"
grep -qF "turnpike_gateway_certificate_not_after_seconds{certificate=\"secure/secure-tls\",serial=\"$(serial)\"}" "$work/metrics" ||
    fail "the metrics do not name the certificate"
[ "$(grep -c '^turnpike_gateway_certificate_not_after_seconds{' "$work/metrics")" = 1 ] || fail "the metrics name old certificates"

say "a certificate that nobody renews"
: >"$work/index.txt"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout "$work/old.key" -out "$work/old.csr" 2>/dev/null
printf '[ca]\ndefault_ca=own\n[own]\nnew_certs_dir=%s\ndatabase=%s/index.txt\nrand_serial=yes\ndefault_md=sha256\npolicy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:old.example.com\n' \
    "$work" "$work" >"$work/ca.conf"
openssl ca -batch -selfsign -config "$work/ca.conf" -keyfile "$work/old.key" -in "$work/old.csr" -out "$work/old.crt" -notext \
    -startdate "$(date -u -d '90 days ago' +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d '3 days' +%Y%m%d%H%M%SZ)" 2>/dev/null
kubectl create secret tls old-tls -n secure --cert "$work/old.crt" --key "$work/old.key" >/dev/null
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: old, namespace: secure}
spec:
  gatewayClassName: turnpike
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: old.example.com, tls: {certificateRefs: [{name: old-tls}]}}
YAML
alarms() { kubectl get events -n secure --field-selector involvedObject.name=old,reason=CertificateExpires -o name | wc -l; }
alarmed() { [ "$(alarms)" = 1 ]; }
until_true 60 "an Event about the certificate" alarmed
say "Event: $(kubectl get events -n secure --field-selector reason=CertificateExpires -o jsonpath='{.items[0].message}')"

say "the operator asks for certificates"
stop cert-manager
start cert-manager "$state/bin/cert-manager" "$KUBECONFIG"
helm upgrade turnpike charts/turnpike -n turnpike-system --reuse-values \
    --set operator.certificates=true --wait --timeout 120s >/dev/null
kubectl apply -f - >/dev/null <<'YAML'
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: asked, namespace: secure, annotations: {cert-manager.io/issuer: ca}}
spec:
  gatewayClassName: turnpike
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: asked.example.com, tls: {certificateRefs: [{name: asked-tls}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: secure, annotations: {cert-manager.io/issuer: ca}}
spec:
  parentRef: {name: asked}
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: more.example.com, tls: {certificateRefs: [{name: more-tls}]}}
YAML
kubectl wait -n secure gateway/asked listenerset/more --for=condition=Programmed --timeout=60s >/dev/null
address=$(kubectl get gateway asked -n secure -o jsonpath='{.status.addresses[0].value}')
good() { # NAME: whether it is served with a certificate for it, of that issuer
    openssl s_client -connect "$address:443" -servername "$1" -CAfile "$work/ca.crt" -verify_return_error \
        -verify_hostname "$1" </dev/null >/dev/null 2>&1
}
for name in asked.example.com more.example.com; do until_true 30 "a good certificate of $name" good "$name"; done
kubectl delete listenerset more -n secure >/dev/null
no_more() { ! kubectl get certificate more-tls -n secure >/dev/null 2>&1; }
until_true 60 "the end of the ListenerSet's Certificate" no_more
kubectl get certificate asked-tls -n secure >/dev/null || fail "the Gateway's Certificate went with that of its ListenerSet"
kubectl delete namespace secure --timeout=120s >/dev/null
say "a Gateway has one, and a ListenerSet, and they are served"
