#!/usr/bin/env bash
# Runs every fuzz target for some seconds each: tests/fuzz.sh [SECONDS [TARGET...]]. Needs a nightly toolchain. What a
# target finds lies below fuzz/artifacts; `cargo +nightly fuzz run TARGET FILE` in fuzz/ shows it again.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
version=0.13.2
seconds="${1:-60}"
tools="${TURNPIKE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/turnpike/tools}"
export PATH="$tools/bin:$PATH"
if ! cargo-fuzz --version 2>/dev/null | grep -qx "cargo-fuzz $version"; then
    echo "building cargo-fuzz $version (once)"
    cargo install cargo-fuzz --version "$version" --locked --root "$tools"
fi
if [ $# -gt 1 ]; then
    targets=("${@:2}")
else
    mapfile -t targets < <(sed -n '/^\[\[bin\]\]/{n;s/name = "\(.*\)"/\1/p}' Cargo.toml)
fi
features=shells
# Without the shells' parsers nothing of the shells is built.
[[ " ${targets[*]} " =~ \ (http_head|http_answer|engine)\  ]] || features=""
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "corpus/$target"
    seeds=("corpus/$target")
    case "$target" in
    resources) seeds+=(../examples ../operator/compile/testdata) ;;
    *) [ ! -d "seeds/$target" ] || seeds+=("seeds/$target") ;;
    esac
    cargo +nightly fuzz run --features "$features" "$target" "${seeds[@]}" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_funcs=0 -print_final_stats=1 -verbosity=0
done
echo "nothing found"
