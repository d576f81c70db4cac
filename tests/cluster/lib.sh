# What all scripts here share: where the node is, and how its programs start and end.
# shellcheck shell=bash disable=SC2034 # used by the scripts that read this file

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${TURNPIKE_CLUSTER:-/var/lib/turnpike-cluster}
# In memory: sockets, and mounts that a crash must not leave on a disk.
run=/run/turnpike-cluster
bridge=turnpike0
host_ip=172.30.0.1
host_ip6=fd00:30::1
services=10.96.0.0/16
services6=fd00:96::/112
# CoreDNS listens at the first node.
dns_ip=172.30.0.11
# The upper half of the network belongs to load balancers; the node answers for it.
balancers=172.30.0.128/25
# at NUMBER: names and places of a node; the first one runs the control plane, too.
at() {
    number=$1
    node=node$([ "$1" = 1 ] || echo "-$1")
    node_ip=172.30.0.1$1
    pods=10.244.$1.0/24
    # Where the machine has no IPv6, the cluster has none.
    node_ip6='' pods6=''
    if grep -q . /proc/net/if_inet6 2>/dev/null; then node_ip6=fd00:30::1$1 pods6=fd00:244:$1::/64; fi
    netns=turnpike-$node
    node_state=$state/$node
    node_run=$run/$node
}
at 1
export KUBECONFIG=$state/admin.kubeconfig

say() { printf '%s\n' "$*" >&2; }
fail() { printf '\033[31m%s\033[0m\n' "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || fail "the test cluster needs root: it makes a network namespace and runs containers"

# The present for reports: what an earlier script sent within the same second is not of this one.
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }

# The real helm, with nothing of the user's.
helm() {
    HELM_CACHE_HOME=$state/helm HELM_CONFIG_HOME=$state/helm HELM_DATA_HOME=$state/helm \
        "$("$here/../partners/build.sh" helm)/helm" "$@"
}

# Runs a program in the network of the node that `at` named. `ip netns exec` would hide the cgroups.
inside() { nsenter --net="/run/netns/$netns" -- "$@"; }

# Starts a program there, in the background; no function, as the job must be the program itself.
start() {
    local name=$1
    shift
    setsid nohup nsenter --net="/run/netns/$netns" -- "$@" >"$state/log/$name" 2>&1 </dev/null &
    echo $! >"$state/pid/$name"
    # Not a job of the script: `wait` and its end do not concern it.
    disown "$!"
}

# Ends a program that `start` started, if it still runs.
stop() {
    local file=$state/pid/$1 pid
    [ -f "$file" ] || return 0
    pid=$(<"$file")
    # A process id is used again after a while: only what works in our folder, or is a script of ours, is ours.
    if grep -qzF -e "$state" -e /tests/cluster/ "/proc/$pid/cmdline" 2>/dev/null; then
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
}

# Waits for a command to succeed: until SECONDS WHAT COMMAND...
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "$what: not within the time; logs are in $state/log"
        sleep 0.2
    done
}
