#!/usr/bin/env bash
# Everything that is shown on a real Kubernetes node, one after the other: the example with its usage, both families of
# addresses, a fleet that changes under load, by itself and with everything else, operators that are lost, a node that is drained, an
# operator confined to a namespace, certificates and the CA inside that are replaced, spools on volumes, a hostile namespace,
# a fleet for several Gateways, faults of all kinds, scaling by load, conformance. Where a machine cannot run the node, says
# so and passes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for missing in $([ "$(id -u)" -eq 0 ] || echo root) $(for need in go kubectl; do command -v $need >/dev/null || echo "$need"; done); do
    printf '\033[31mNOT RUN on this machine: the tests on Kubernetes (%s is missing)\033[0m\n' "$missing" >&2
    exit 0
done
trap '"$here/down.sh"' EXIT
"$here/up.sh" >/dev/null
"$here/demo.sh"
"$here/families.sh"
"$here/change.sh"
"$here/storm.sh" 4
"$here/operators.sh"
"$here/nodes.sh"
"$here/namespaces.sh"
"$here/cert-manager.sh"
"$here/authority.sh"
"$here/spool.sh"
"$here/isolation.sh"
"$here/merged.sh"
"$here/chaos.sh"
"$here/autoscale.sh"
"$here/conformance.sh"
"$here/conformance.sh" "" --set fleet.fastPath.enabled=false
