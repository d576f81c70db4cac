#!/usr/bin/env bash
# Serves the shop of the benchmark under its loads, by a program that counts what it executes, for images/programs.sh.
#
#   tests/bench/train.sh PROGRAM OUT        OUT: profile data for the compiler
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/rig.sh"
turnpike=$1 out=$2
install_missing nginx=nginx-light wrk=wrk h2load=nghttp2-client

# The compiler's own, or one of the same version.
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
merge=$(find "$(rustc --print sysroot)/lib/rustlib" -name llvm-profdata | head -1)
if [ -z "$merge" ]; then
    install_missing "llvm-profdata-$version=llvm-$version"
    merge=llvm-profdata-$version
fi

cores=$(($(nproc) - 1))
prepare UPSTREAM NGINX NGINX_TLS TURNPIKE TURNPIKE_TLS API
mkdir "$work/counts"
export LLVM_PROFILE_FILE=$work/counts/%p-%m.profraw
start upstream "$cores" nginx -c "$work/upstream.conf"
start_turnpike "$cores"
load() {
    say "training: $1"
    shift
    "$@" >"$work/load" || { cat "$work/load" >&2; fail "the load failed"; }
    if grep -E 'Non-2xx|(connect|read|write) [1-9]|[1-9][0-9]* (failed|4xx|5xx)' "$work/load" >&2; then fail "requests failed: see above"; fi
}
for path in bare key quota all; do
    plain=http://127.0.0.1:${port[TURNPIKE]}/$path secure=https://127.0.0.1:${port[TURNPIKE_TLS]}/$path
    calls=(wrk -t1 -c64 -d2s -H "x-api-key: $key")
    load "$path" "${calls[@]}" "$plain"
    load "$path, new connections" "${calls[@]}" -H 'connection: close' "$plain"
    load "$path, TLS" "${calls[@]}" "$secure"
    load "$path, new connections with TLS" "${calls[@]}" -H 'connection: close' "$secure"
    load "$path, HTTP/2" h2load -c 8 -m 16 -D 2 -H "x-api-key: $key" "$secure"
done
load "large answers" "${calls[@]}" "http://127.0.0.1:${port[TURNPIKE]}/bare/100k"
load "uploads" "${calls[@]}" -s "$work/upload.lua" "http://127.0.0.1:${port[TURNPIKE]}/bare/upload"
# What they counted is written when they end.
kill -TERM "${pid[up]}" && wait "${pid[up]}" || true
"$merge" merge -o "$out.new" "$work"/counts/*.profraw
mv "$out.new" "$out"
