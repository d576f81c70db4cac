#!/usr/bin/env bash
# The Gateway API conformance suite against Turnpike, on a node of its own.
#
#   tests/cluster/conformance.sh [REPORT.yaml [OPTION...]]      profiles GATEWAY-HTTP and GATEWAY-GRPC, the features of the
#                                                               GatewayClass; options are helm's, for the chart turnpike
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$here/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
report=$(realpath "${1:-$work/report.yaml}")
programs=$(tests/partners/build.sh conformance)
api=$(cd tests/partners/conformance && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
suite=$(cd tests/partners/conformance && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api/conformance)

tests/cluster/up.sh >/dev/null
# The suite is of this version, and checks that the definitions are, too.
for file in "$api"/config/crd/experimental/gateway.*.yaml; do kubectl apply --server-side -f "$file" >/dev/null; done
# Its programs under the names that its manifests have.
mapfile -t names < <(grep -rhoE 'image: .*echo-basic:.*' "$suite/base" "$suite/tests" | sed 's/image: //' | sort -u)
tests/cluster/image.sh "$programs/echo-basic" "${names[@]}"
mapfile -t names < <(grep -rhoE 'image: .*coredns:.*' "$suite/base" | sed 's/image: //' | sort -u)
tests/cluster/image.sh "$state/bin/coredns" "${names[@]}"
# The suite has some thirty Gateways at once, more than the node has processors for by what fleets ask for.
CRDS=none tests/cluster/install.sh "$work/images" dev --set fleet.resources.requests.cpu=10m "${@:2}"
until_true 30 "features in the GatewayClass" sh -c "kubectl get gatewayclass turnpike -o jsonpath='{.status}' | grep -q supportedFeatures"

say "running the suite"
log=$state/log/conformance
if (cd "$programs" && USABLE_ADDRESSES=172.30.0.250 UNUSABLE_ADDRESSES=203.0.113.9 ./conformance.test \
    -test.run TestConformance -test.timeout 40m -test.v -gateway-class turnpike \
    -conformance-profiles GATEWAY-HTTP,GATEWAY-GRPC -organization turnpike -project turnpike \
    -url https://turnpike.dev -version 0.1.0 -contact https://turnpike.dev -report-output "$work/report") >"$log" 2>&1; then
    mv "$work/report" "$report"
    grep -E '^  name|Passed|Failed|Skipped' "$report" >&2
else
    grep -E '^ *--- FAIL' "$log" >&2 || tail -20 "$log" >&2
    fail "the suite fails; its log is $log"
fi
