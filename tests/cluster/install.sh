#!/usr/bin/env bash
# Installs Turnpike from this tree on the node that up.sh started: images without a daemon, then the charts.
#
#   tests/cluster/install.sh FOLDER [PROFILE [OPTION...]]     leaves images in FOLDER; builds by this cargo profile, by
#                                                             default dev; options are helm's, for the chart turnpike
#
# With CRDS=none the definitions of Gateway API that the cluster has already stay.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$here/../.."
folder=$1 profile=${2:-dev} options=("${@:3}")
[ -f "$KUBECONFIG" ] || fail "there is no cluster: run make cluster first"

say "building images"
images/build.sh --profile "$profile" "$folder" >/dev/null
for image in turnpike turnpike-gateway; do tests/cluster/image.sh "$folder/$image.tar"; done

say "installing the charts"
# Images of the same name replace nothing in Pods that run.
before=$(kubectl get deployments,statefulsets -n turnpike-system -o name 2>/dev/null || true)
helm upgrade --install turnpike-crds charts/turnpike-crds \
    --set "gatewayApi=$([ "${CRDS:-all}" = none ] && echo false || echo true)" >/dev/null 2>&1
helm upgrade --install turnpike charts/turnpike --namespace turnpike-system --create-namespace \
    "${options[@]}" --wait --timeout 180s >/dev/null
if [ -n "$before" ]; then
    # shellcheck disable=SC2086 # names of objects
    kubectl rollout restart -n turnpike-system $before >/dev/null
    for object in $before; do kubectl rollout status -n turnpike-system "$object" --timeout=120s >/dev/null; done
fi
