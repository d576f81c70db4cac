#!/usr/bin/env bash
# Removes the node with every trace of it, also what a crash has left.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The kubelet first: it would start again what is stopped.
for name in balancer operator kubelet-1 kubelet-2; do stop "$name"; done
ctr() { timeout 20 "$state/bin/ctr" --address "$socket" -n k8s.io "$@" 2>/dev/null; }
for socket in "$run"/*/containerd.sock; do
    if [ -S "$socket" ] && [ -x "$state/bin/ctr" ]; then
        for task in $(ctr tasks list -q || true); do ctr tasks rm -f "$task" >/dev/null || true; done
    fi
done
if [ -d "$state/pid" ]; then
    for file in "$state"/pid/*; do [ -e "$file" ] && stop "$(basename "$file")"; done
fi
# containerd leaves shims behind, each with the namespace of one Pod.
for command in /proc/[0-9]*/cmdline; do
    if tr '\0' ' ' <"$command" 2>/dev/null | grep -q "^[^ ]*containerd-shim-runc-v2 .*-address $run/"; then
        kill -9 "$(basename "$(dirname "$command")")" 2>/dev/null || true
    fi
done
mounts() { awk -v a="$state/" -v b="$run/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}' /proc/self/mountinfo | sort -r; }
for _ in 1 2 3; do mounts | while read -r mount; do umount -l "$mount" 2>/dev/null || true; done; done
for number in 1 2; do
    at "$number"
    ip netns delete "$netns" 2>/dev/null || true
    # Gone with the namespace, unless something still runs there.
    ip link delete "turnpike$number" 2>/dev/null || true
    for route in $pods $pods6; do ip route delete "$route" 2>/dev/null || true; done
    for cgroup in /sys/fs/cgroup/*/"$node" /sys/fs/cgroup/"$node"; do
        if [ -d "$cgroup" ]; then find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    done
done
ip link delete "$bridge" 2>/dev/null || true
for route in $services $balancers $services6; do ip route delete "$route" 2>/dev/null || true; done
[ -z "$(mounts)" ] || fail "still mounted: $(mounts | tr '\n' ' ')"
rm -rf "${state:?}" "${run:?}"
