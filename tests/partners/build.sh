#!/usr/bin/env bash
# Builds the real partners of the tests, each once, and prints the folder of each one's programs.
#
#   tests/partners/build.sh [NAME...]     when none is named, all but those of the test cluster
#
# What is built is pinned by the go.mod and go.sum in the folder NAME; a change there builds anew. Programs are kept in
# ${TURNPIKE_PARTNERS}, by default in the user's cache. Needs Go; the first time needs the Go module proxy.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TURNPIKE_PARTNERS:-${XDG_CACHE_HOME:-$HOME/.cache}/turnpike/partners}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
all=(alertmanager clickhouse-go grpc h2spec jaeger)

say() { printf '%s\n' "$*" >&2; }
fail() { printf '\033[31m%s\033[0m\n' "$*" >&2; exit 1; }

# Alertmanager's module lacks its web page, without which it does not compile; no test looks at that page.
prepare_alertmanager() {
    local module=github.com/prometheus/alertmanager
    go mod download "$module"
    cp -r "$(go list -m -f '{{.Dir}}' "$module")" source
    chmod -R u+w source
    mkdir -p source/ui/app/dist
    echo '<!doctype html><title>Alertmanager</title>' >source/ui/app/dist/index.html
    go mod edit -replace "$module=./source"
}

# An API server says what it is linked with; charts ask for its version.
flags_kubernetes() {
    local version package
    version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf -- ' -X %s.%s' "$package" "gitVersion=$version" "$package" gitMajor=1 "$package" "gitMinor=$(cut -d. -f2 <<<"$version")" \
            "$package" gitTreeState=clean "$package" gitCommit=unknown "$package" buildDate=1970-01-01T00:00:00Z
    done
}

# The tools of the go.mod, unless a partner is a program of ours.
compile() {
    local flags='-s -w'
    if declare -F "flags_$1" >/dev/null; then flags+=$("flags_$1"); fi
    case $1 in
        clickhouse-go) nice go build -trimpath -ldflags="$flags" -o bin/ ./records ;;
        kubernetes) nice go build -trimpath -ldflags="$flags" -o bin/kubernetes . ;;
        conformance) nice go test -c -trimpath -ldflags="$flags" -o bin/conformance.test . ;;&
        containerd) GOFLAGS+=' -tags=no_btrfs,no_devmapper,no_zfs,no_aufs,no_tracing,no_nri' ;;&
        *) nice go build -trimpath -ldflags="$flags" -o bin/ tool ;;
    esac
}

build() {
    local name=$1 source=$here/$1 key out work started
    [ -f "$source/go.mod" ] || fail "there is no partner $name; there are: ${all[*]}"
    key=$(cd "$source" && find . -type f | LC_ALL=C sort | xargs sha256sum | cat - "$here/build.sh" | sha256sum | cut -c1-16)
    out=$cache/$name/$key
    mkdir -p "$cache/$name"
    # Tests of several processes may want the same partner at once.
    exec 9>"$cache/$name/lock"
    flock 9
    if [ ! -d "$out" ]; then
        command -v go >/dev/null || fail "go is missing: install Go 1.26 or newer to build $name"
        started=$SECONDS
        say "building $name, once"
        find "$cache/$name" -mindepth 1 -maxdepth 1 -type d -exec chmod -R u+w {} + -exec rm -rf {} +
        work=$cache/$name/work
        cp -r "$source" "$work"
        (
            cd "$work"
            export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
            if declare -F "prepare_$name" >/dev/null; then "prepare_$name"; fi
            mkdir bin
            compile "$name"
        ) >&2 || fail "$name cannot be built; see above"
        mv "$work/bin" "$out"
        rm -rf "$work"
        say "built $name in $((SECONDS - started)) s"
    fi
    exec 9>&-
    echo "$out"
}

for name in "${@:-${all[@]}}"; do
    build "$name"
done
