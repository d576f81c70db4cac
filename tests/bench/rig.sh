# What scripts here share: packages, free ports, what each program is told, the programs themselves. Read, not run.
# shellcheck shell=bash
set -euo pipefail
cd "$here/../.."
say() { printf '%s\n' "$*" >&2; }
fail() { printf '\033[31m%s\033[0m\n' "$*" >&2; exit 1; }

work=$(mktemp -d)
pids=()
finish() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# install_missing COMMAND=PACKAGE...: without starting anything.
install_missing() {
    local each packages=() ours=
    for each in "$@"; do command -v "${each%=*}" >/dev/null || packages+=("${each#*=}"); done
    [ "${#packages[@]}" -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || fail "missing: ${packages[*]}; install them, or run this as root"
    say "installing ${packages[*]}"
    [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && ours=1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    if [ -n "$ours" ]; then rm -f /usr/sbin/policy-rc.d; fi
}

# prepare NAME...: a free port for each name, the files that upstreams serve, a key, a certificate, and in $work all of
# tests/bench/peers with these.
prepare() {
    local at file name fill ports
    mapfile -t ports < <(python3 -c '
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held: one.bind(("127.0.0.1", 0))
for one in held: print(one.getsockname()[1])' "$#")
    declare -gA port pid
    for at in $(seq "$#"); do port[${!at}]=${ports[$((at - 1))]}; done
    key=$("$turnpike" key new --output json)
    hash=$(sed -n 's/.*"sha256": *"\([^"]*\)".*/\1/p' <<<"$key")
    key=$(sed -n 's/.*"key": *"\([^"]*\)".*/\1/p' <<<"$key")
    mkdir -p "$work"/{files,shop,upstream-body,nginx-body,nginx-proxy}
    chmod 755 "$work"
    head -c 1024 /dev/zero | tr '\0' x >"$work/files/1k"
    head -c 102400 /dev/zero | tr '\0' x >"$work/files/100k"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
    cat "$work/tls.crt" "$work/tls.key" >"$work/tls.pem"
    chmod 644 "$work"/tls.*
    for file in "$here"/peers/*; do
        fill=(-e "s|WORK|$work|g" -e "s|KEY_HASH|$hash|g")
        for name in "$@"; do fill+=(-e "s|\b$name\b|${port[$name]}|g"); done
        sed "${fill[@]}" "$file" >"$work/$(basename "$file")"
    done
    mv "$work/turnpike.yaml" "$work/shop/"
    cat >"$work/shop/tls.yaml" <<YAML
apiVersion: v1
kind: Secret
metadata: {name: tls, namespace: bench}
type: kubernetes.io/tls
stringData:
  tls.crt: |
$(sed 's/^/    /' "$work/tls.crt")
  tls.key: |
$(sed 's/^/    /' "$work/tls.key")
YAML
    cat >"$work/upload.lua" <<'LUA'
wrk.method = "POST"
wrk.body = string.rep("x", 65536)
LUA
}

# start NAME CORE COMMAND...: sets ${pid[NAME]}.
start() {
    local name=$1 core=$2
    shift 2
    taskset -c "$core" "$@" >"$work/$name.out" 2>&1 &
    pid[$name]=$!
    pids+=("$!")
}

# answers URL NAME: waits until it does.
answers() {
    local end=$((SECONDS + 60))
    until curl -ksf --noproxy '*' -o /dev/null -H "x-api-key: $key" "$1"; do
        [ "$SECONDS" -lt "$end" ] || { cat "$work/$2.out" >&2; fail "$2 does not answer at $1"; }
        sleep 0.2
    done
}

child() { # PARENT PATTERN
    local each
    for each in $(cat "/proc/$1/task/$1/children"); do
        if tr '\0' ' ' <"/proc/$each/cmdline" | grep -q "$2"; then echo "$each" && return; fi
    done
    return 1
}

# busy PROCESS: time that it has had a core, in ticks of the clock.
busy() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }

# calm: waits, for 10 s at most, until Turnpike has next to nothing left to do: else records of one load would go to the
# store at the cost of the next.
calm() {
    local end=$((SECONDS + 10)) before after=0 each
    until [ "$SECONDS" -ge "$end" ]; do
        before=$after after=0
        for each in "${pid[up]}" $(cat "/proc/${pid[up]}/task/${pid[up]}/children"); do after=$((after + $(busy "$each"))); done
        if [ $((after - before)) -le 2 ]; then return; fi
        sleep 0.2
    done
}

# start_turnpike CORE: all of Turnpike there but the gateway, ${pid[turnpike]}, which has core 0 for itself.
start_turnpike() {
    start up "$1" "$turnpike" up "$work/shop" --state "$work/state" --listen "127.0.0.1:${port[API]}"
    answers "http://127.0.0.1:${port[TURNPIKE]}/all" up
    pid[turnpike]=$(child "${pid[up]}" ' gateway ')
    taskset -acp 0 "${pid[turnpike]}" >/dev/null
}
