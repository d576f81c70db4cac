#!/usr/bin/env bash
# Builds the two images as OCI archives, without a daemon.
#
#   images/build.sh [--profile PROFILE] [--pgo] [--tag TAG] [FOLDER]     dist, the version in Cargo.toml, target/images
#
#   turnpike           operator, analytics, engine, echo: the program, its libraries, CA certificates, the engine
#   turnpike-gateway   the gateway alone and its libraries; no shell, at most 40 MiB in a build with profile dist
#
# Beside each archive stands the folder that it is made of, for the Containerfile. Images are named localhost/turnpike/...,
# which nothing can pull by accident. `--profile dev` is quick to build and large: good for tests. With `--pgo` programs are
# compiled for how they run under load, which takes twice as long, see images/programs.sh. The program links the C
# library of this machine, which goes into the images as it is. Prints the archives with their sizes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=dist pgo= folder=target/images
tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
while [ $# -gt 0 ]; do
    case $1 in
        --profile) profile=$2; shift 2 ;;
        --pgo) pgo=$1; shift ;;
        --tag) tag=$2; shift 2 ;;
        *) folder=$1; shift ;;
    esac
done
limit=$((40 << 20))

built=$(images/programs.sh "$profile" $pgo)
program() { grep "/$1\$" <<<"$built"; }
engine=$(analytics/engine/fetch.sh)
mkdir -p "$folder"
gateway=$folder/turnpike-gateway all=$folder/turnpike
rm -rf "$gateway" "$gateway.tar" "$all" "$all.tar"

# Copies shared libraries that a file needs to where it looks for them.
libraries() {
    ldd "$1" | grep -o '/[^ ]*' | sort -u | while read -r library; do
        install -D -m 755 "$library" "$2$library"
    done
}

# program_into PROGRAM FOLDER: as `turnpike`, with all that it needs to run.
program_into() {
    install -D -m 755 "$(program "$1")" "$2/usr/bin/turnpike"
    strip "$2/usr/bin/turnpike"
    libraries "$2/usr/bin/turnpike" "$2"
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/ca-certificates.crt"
    echo 'hosts: files dns' >"$2/etc/nsswitch.conf"
    mkdir -m 1777 "$2/tmp"
}

program_into turnpike-gateway "$gateway"
size=$(du -sb "$gateway" | cut -f1)
if [ "$profile" = dist ] && [ "$size" -gt "$limit" ]; then
    printf '\033[31mthe gateway image has %s bytes, at most %s are allowed\033[0m\n' "$size" "$limit" >&2
    exit 1
fi
program_into turnpike "$all"
install -D -m 755 "$engine" "$all/usr/lib/turnpike/libchdb.so"
libraries "$engine" "$all"

images/archive.sh "$gateway.tar" "localhost/turnpike/turnpike-gateway:$tag" "$gateway" /usr/bin/turnpike
images/archive.sh "$all.tar" "localhost/turnpike/turnpike:$tag" "$all" /usr/bin/turnpike \
    TURNPIKE_ENGINE_LIB=/usr/lib/turnpike/libchdb.so
du -h --apparent-size "$gateway.tar" "$all.tar"
