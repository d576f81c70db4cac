#!/bin/sh
# Regenerates src/gateway_api/*.rs and yaml/gateway-api/*.yaml from the published CRDs of Gateway API.
#
# Needs: kopium 0.24 (cargo install kopium), python3, rustfmt, and the Go module
# sigs.k8s.io/gateway-api of the version below, unpacked (go mod download sigs.k8s.io/gateway-api@v1.7.0).
#
# Usage: crds/generate.sh FOLDER-OF-THE-MODULE
set -eu

version=v1.7.0
module=${1:?usage: crds/generate.sh FOLDER-OF-THE-MODULE (sigs.k8s.io/gateway-api@$version)}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$here/yaml/gateway-api" "$here/src/gateway_api"
for name in \
    gateway.networking.k8s.io_backendtlspolicies \
    gateway.networking.k8s.io_gatewayclasses \
    gateway.networking.k8s.io_gateways \
    gateway.networking.k8s.io_grpcroutes \
    gateway.networking.k8s.io_httproutes \
    gateway.networking.k8s.io_listenersets \
    gateway.networking.k8s.io_referencegrants \
    gateway.networking.x-k8s.io_xbackends \
    gateway.networking.x-k8s.io_xtelemetrypolicies; do
    source="$module/config/crd/experimental/$name.yaml"
    grep -q "bundle-version: $version" "$source"
    cp "$source" "$here/yaml/gateway-api/$name.yaml"
    chmod 644 "$here/yaml/gateway-api/$name.yaml"
    kopium -f "$source" --derive=Default --derive=PartialEq >"$work/${name##*_}.rs"
done

python3 "$here/condense.py" "$here/src/gateway_api" "$work"/*.rs
rustfmt --edition 2024 --config-path "$here/.." "$here"/src/gateway_api/[a-z]*_*.rs \
    "$here"/src/gateway_api/backend.rs "$here"/src/gateway_api/gateway.rs "$here"/src/gateway_api/shared.rs
