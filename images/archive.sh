#!/usr/bin/env bash
# Makes an OCI archive without a daemon: one layer from a folder, the same bytes for the same content.
#
#   images/archive.sh OUT.tar NAME:TAG ROOT ENTRYPOINT [VARIABLE=VALUE...]
#
# ROOT is the folder that becomes `/`. The image runs ENTRYPOINT as user and group 65532. `ctr image import`, `podman load`
# and `skopeo copy oci-archive:` read the archive.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
out=$1 name=$2 root=$3 entrypoint=$4
shift 4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/blobs/sha256"

# Takes a file into the blobs; prints its descriptor.
blob() {
    local digest
    digest=$(sha256sum "$2" | cut -d' ' -f1)
    mv "$2" "$work/blobs/sha256/$digest"
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$1" "$digest" "$(stat -c %s "$work/blobs/sha256/$digest")"
}

variables=
for variable in "$@"; do variables+=",\"$variable\""; done
tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -cf "$work/layer" .
layer=$(blob application/vnd.oci.image.layer.v1.tar "$work/layer")
diff=$(sed 's/.*"digest":"\([^"]*\)".*/\1/' <<<"$layer")
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
cat >"$work/config" <<JSON
{"architecture":"$architecture","os":"linux","config":{"User":"65532:65532","Entrypoint":["$entrypoint"],"Env":[${variables#,}]},"rootfs":{"type":"layers","diff_ids":["$diff"]}}
JSON
config=$(blob application/vnd.oci.image.config.v1+json "$work/config")
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":$config,"layers":[$layer]}
JSON
manifest=$(blob application/vnd.oci.image.manifest.v1+json "$work/manifest")
cat >"$work/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[${manifest%\}},"annotations":{"io.containerd.image.name":"$name","org.opencontainers.image.ref.name":"${name##*:}"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/oci-layout"
mkdir -p "$(dirname "$out")"
tar -C "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -cf "$out.part" blobs index.json oci-layout
mv "$out.part" "$out"
