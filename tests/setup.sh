#!/usr/bin/env bash
# Installs what the tests need beyond Rust, Go, Node and a C compiler, on Debian. Run as root; does nothing where
# all of it is there.
set -euo pipefail
packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need chromium chromium
need cmake cmake
need git git
[ -d /usr/share/fonts/truetype/dejavu ] || packages+=(fonts-dejavu-core)
if [ "${#packages[@]}" -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    printf '\033[31mmissing: %s; install them, or run this as root\033[0m\n' "${packages[*]}" >&2
    exit 1
fi
echo "installing ${packages[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
