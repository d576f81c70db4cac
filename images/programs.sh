#!/usr/bin/env bash
# Builds the two programs; prints where they are, a line for each.
#
#   images/programs.sh PROFILE [--pgo]
#
# With --pgo they are compiled by a profile of how they run under load (profile-guided optimization): the shop of
# tests/bench is served by a build that counts, under the loads of tests/bench, for about a minute. The gateway then takes
# a fifth to a third less time of its own for a request. It takes a build more, and nginx, wrk, h2load and llvm-profdata,
# which are installed if root asks on Debian. A profile is kept until a source changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=$1 pgo=${2:-}
[ -z "$pgo" ] || [ "$pgo" = --pgo ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
export RUSTFLAGS=${RUSTFLAGS:-}
flags=()

# build PROGRAM...: by the package that makes it.
build() {
    cargo build --profile "$profile" "${flags[@]}" "${@/#/--package=}" --bins --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

if [ -n "$pgo" ]; then
    folder=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/pgo
    sources=$({ git ls-files -z -- '*.rs' '*Cargo.toml' Cargo.lock ':!*tests*' && git ls-files -z -- tests/bench/{peers,{rig,train}.sh}; } |
        xargs -0 sha256sum | sha256sum | cut -c1-16)
    data=$folder/$sources.profdata
    # Programs that only help to build are not counted.
    flags=(--target "$(rustc -vV | sed -n 's/^host: //p')")
    if [ ! -e "$data" ]; then
        mkdir -p "$folder"
        analytics/engine/fetch.sh >/dev/null
        # In the same profile: its settings are part of the names by which what was counted is found again.
        counting=$(RUSTFLAGS="$RUSTFLAGS -Cprofile-generate" build turnpike)
        tests/bench/train.sh "$counting" "$data" >&2
    fi
    RUSTFLAGS+=" -Cprofile-use=$data"
fi
# Together: what they share is built once.
build turnpike gateway-program
