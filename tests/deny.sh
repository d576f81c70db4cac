#!/usr/bin/env bash
# Licences, bans and sources of all dependencies. Advisories need a database from elsewhere: `cargo deny check`
# runs them where there is a network.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools="${TURNPIKE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/turnpike/tools}"
if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qx "cargo-deny $version"; then
    echo "building cargo-deny $version (once)"
    cargo install cargo-deny --version "$version" --locked --root "$tools"
fi
"$tools/bin/cargo-deny" --locked check licenses bans sources
