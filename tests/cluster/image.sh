#!/usr/bin/env bash
# Gives all nodes an image.
#
#   tests/cluster/image.sh pause                 what holds a Pod's namespaces
#   tests/cluster/image.sh ARCHIVE.tar           an OCI archive
#   tests/cluster/image.sh PROGRAM NAME:TAG...   a statically linked program
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Every command of ctr complains of cgroup v1.
import() {
    local socket
    for socket in "$run"/*/containerd.sock; do
        "$state/bin/ctr" --address "$socket" -n k8s.io images import --local "$1" 2>&1 >/dev/null |
            { grep -v DEPRECATION >&2 || true; }
    done
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
until_true 20 containerd sh -c "ls $run/*/containerd.sock"
case $1 in
    pause)
        mkdir "$work/root"
        printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' | cc -static -O2 -x c -o "$work/root/pause" -
        "$here/../../images/archive.sh" "$work/pause.tar" localhost/turnpike/pause:1 "$work/root" /pause
        import "$work/pause.tar"
        ;;
    *.tar) import "$1" ;;
    *)
        program=$1
        shift
        mkdir -p "$work/root/tmp"
        chmod 1777 "$work/root/tmp"
        cp "$program" "$work/root/program"
        for name in "$@"; do
            "$here/../../images/archive.sh" "$work/image.tar" "$name" "$work/root" /program
            import "$work/image.tar"
        done
        ;;
esac
