# What peers.sh measures besides rates: latency of a load that does not wait, system calls, memory of connections that are
# idle, instructions. Read by it; uses its ports, processes and programs.
# shellcheck shell=bash disable=SC2154 # set by the script that reads this file

# row TITLE VALUE...: of a table in Markdown.
row() { printf '| %s' "$1" && shift && printf ' | %s' "$@" && echo ' |'; }
rule() { printf '|---%.0s' $(seq "$1") && echo '|'; }

# latency RATE: percentiles at a rate that is the same for all.
latency() {
    local column name process plain secure path answer
    row "requests due at $1 per second; µs" p50 p99 p99.9
    rule 4
    for column in "the upstream itself - UPSTREAM -" "${columns[@]}"; do
        read -r name process plain secure path <<<"${column/the upstream itself/upstream}"
        calm
        if answer=$(taskset -c 1 timeout 60 "$open_loop" "127.0.0.1:${port[$plain]}" "${path:-/}" "$key" "$1" "$seconds" 2>/dev/null); then
            read -r -a answer <<<"$answer"
            row "$name" "${answer[@]:0:3}"
        else
            row "$name" void void void
        fi
    done
}

# syscalls PROCESS PORT PATH: system calls for a request, with 64 connections.
syscalls() {
    local out requests
    strace -f -c -o "$work/strace" -p "$1" 2>/dev/null &
    local tracer=$!
    sleep 0.5
    out=$(taskset -c 1 wrk -t1 -c64 -d1s -H "x-api-key: $key" "http://127.0.0.1:$2$3")
    kill -INT "$tracer" && wait "$tracer" 2>/dev/null || true
    requests=$(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' <<<"$out")
    awk -v r="$requests" '$NF == "total" {printf "%.1f", $4 / r}' "$work/strace"
}

# idle PROCESS PORT PATH: KiB of resident memory for each of 1,000 connections that have had one answer each.
idle() {
    local before after
    before=$(awk '/^VmRSS/ {print $2}' "/proc/$1/status")
    after=$(python3 - "$2" "$3" "$key" "/proc/$1/status" <<'PY'
import socket, sys
port, path, key, status = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
held = []
for _ in range(1000):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(f"GET {path} HTTP/1.1\r\nhost: bench.example\r\nx-api-key: {key}\r\n\r\n".encode())
    got = b""
    while not got.endswith(b"x" * 1024):
        part = one.recv(65536)
        if not part:
            sys.exit("closed")
        got += part
    held.append(one)
print(next(line.split()[1] for line in open(status) if line.startswith("VmRSS")))
PY
    )
    awk -v a="$after" -v b="$before" 'BEGIN {printf "%.1f", (a - b) / 1000}'
}

# instructions URL COMMAND...: user instructions for a request, from the difference between 1,000 and 3,000 of them.
instructions() {
    local url=$1 count each collected=()
    shift
    for count in 1000 3000; do
        rm -rf "$work/grind"
        mkdir "$work/grind"
        valgrind --tool=callgrind --callgrind-out-file=/dev/null --fair-sched=yes "$@" >"$work/grind.out" 2>"$work/grind.log" &
        each=$!
        pids+=("$each")
        until curl -sf --noproxy '*' -o /dev/null -H "x-api-key: $key" "$url"; do sleep 0.5; done
        curl -s --noproxy '*' -H "x-api-key: $key" -o /dev/null "$url?[1-$count]"
        kill -TERM "$each" && wait "$each" || true
        collected+=("$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/grind.log" | tail -1)")
    done
    echo $(((collected[1] - collected[0]) / 2000))
}
