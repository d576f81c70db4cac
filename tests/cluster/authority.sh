#!/usr/bin/env bash
# The CA inside is replaced by the next one, in its three steps, while requests run: gateways, analytics and operators
# follow, no request fails and all are in the report. Runs after demo.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shop.sh"
cd "$here/../.."

# entry NAMESPACE SECRET KEY: of a Secret, as text.
entry() { kubectl get secret "$2" -n "$1" -o jsonpath="{.data['${3//./\\.}']}" | base64 -d; }
trusted() { entry turnpike-system turnpike-ca "ca.crt"; }
# everywhere COUNT: whether gateways and analytics have got what is trusted, so many CAs, in their Secrets and their files.
everywhere() {
    local secret of
    [ "$(trusted | grep -c 'BEGIN CERTIFICATE')" = "$1" ] || return 1
    for secret in shop/web-turnpike-identity turnpike-system/turnpike-analytics-identity; do
        of=$(entry "${secret%/*}" "${secret#*/}" ca.crt)
        [ "$of" = "$(trusted)" ] || return 1
    done
    for file in "$state"/*/kubelet/pods/*/volumes/kubernetes.io~secret/identity/ca.crt; do
        [ "$(cat "$file")" = "$(trusted)" ] || return 1
    done
}
issued_by() { entry "$1" "$2" tls.crt | openssl verify -CAfile "$3" >/dev/null 2>&1; }

begun=$(now)
entry turnpike-system turnpike-ca tls.crt >"$work/first.crt"
while [ ! -e "$work/stop" ]; do
    "${ask[@]}" "http://shop.example.com:8080/orders/[1-20]" --rate 20/s || true
done >"$work/answers" &
asking=$!
for step in "2 trusted" "2 issuing" "1 forgotten"; do
    kubectl annotate secret turnpike-ca -n turnpike-system turnpike.dev/rotate=now >/dev/null
    taken() { ! kubectl get secret turnpike-ca -n turnpike-system -o jsonpath='{.metadata.annotations}' | grep -q rotate; }
    until_true 60 "a step of the CA" taken
    until_true 120 "the step everywhere" everywhere "${step%% *}"
    move "${step#* }.example.com"
    until_true 60 "a change is served" moved "${step#* }.example.com"
    until_true 60 "the Gateway is programmed" programmed "served by 1 of 1 gateways"
    say "the new CA: ${step#* } everywhere"
done
touch "$work/stop"
wait "$asking"
entry turnpike-system turnpike-ca tls.crt >"$work/second.crt"
for secret in shop/web-turnpike-identity turnpike-system/turnpike-analytics-identity; do
    issued_by "${secret%/*}" "${secret#*/}" "$work/second.crt" || fail "$secret is not of the new CA"
    if issued_by "${secret%/*}" "${secret#*/}" "$work/first.crt"; then fail "$secret is of the old CA still"; fi
done
kubectl delete httproute moved -n shop >/dev/null
none_failed "$work/answers"
until_true 90 "usage of $sent requests" answered "$begun"
say "$sent requests meanwhile: 0 failed, $sent in the report"
