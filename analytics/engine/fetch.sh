#!/bin/sh
# Brings the embedded ClickHouse engine (libchdb.so) into a cache folder, whole or not at all.
#
#   fetch.sh            installs what npm/package-lock.json pins, by its integrity hash; does nothing when it is there
#
# Folder: $TURNPIKE_ENGINE_DIR, else ${XDG_CACHE_HOME:-$HOME/.cache}/turnpike/engine/<version>.
# Prints the library's path on standard output and progress on standard error.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
package=@chdb/lib-linux-x64-gnu
version=$(sed -n 's|.*"'"$package"'": *"\([^"]*\)".*|\1|p' "$here/npm/package.json")
integrity=$(sed -n 's|.*"integrity": *"\([^"]*\)".*|\1|p' "$here/npm/package-lock.json")
folder=${TURNPIKE_ENGINE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/turnpike/engine/$version}

if [ "$(cat "$folder/INTEGRITY" 2>/dev/null || true)" = "$integrity" ] && [ -s "$folder/libchdb.so" ]; then
    echo "engine $version: already in $folder" >&2
    echo "$folder/libchdb.so"
    exit 0
fi

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) ;;
    *) echo "engine $version: only Linux x86_64 with glibc is supported, this is $(uname -s) $(uname -m)" >&2; exit 1 ;;
esac
command -v npm >/dev/null || { echo "engine $version: npm is needed to fetch it (Debian: apt-get install npm)" >&2; exit 1; }

mkdir -p "$(dirname -- "$folder")"
staging=$(mktemp -d "$folder.XXXXXX")
npm_pid=
# A cut-off download leaves nothing behind: neither a folder nor a running npm.
cleanup() {
    [ -z "$npm_pid" ] || kill "$npm_pid" 2>/dev/null || true
    rm -rf "$staging"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "engine $version: fetching $package (about 180 MB packed, 570 MB on disk)" >&2
cp "$here/npm/package.json" "$here/npm/package-lock.json" "$staging/"
(cd "$staging" && exec npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$staging/npm.log" 2>&1 &
npm_pid=$!
ticks=0
while kill -0 "$npm_pid" 2>/dev/null; do
    sleep 0.2
    ticks=$((ticks + 1))
    if [ $((ticks % 15)) -eq 0 ]; then
        echo "engine $version: $(du -sm "$staging" | cut -f1) MB unpacked, $((ticks / 5)) s" >&2
    fi
done
status=0
wait "$npm_pid" || status=$?
npm_pid=
if [ "$status" -ne 0 ]; then
    cat "$staging/npm.log" >&2
    echo "engine $version: npm failed with status $status; nothing was installed" >&2
    exit "$status"
fi

mkdir "$staging/whole"
mv "$staging/node_modules/$package/"* "$staging/whole/"
[ -s "$staging/whole/libchdb.so" ] || { echo "engine $version: the package holds no libchdb.so" >&2; exit 1; }
echo "$integrity" >"$staging/whole/INTEGRITY"
chmod 755 "$staging/whole"
sync "$staging/whole/libchdb.so"
# Of several fetches at once the first wins; a damaged or older folder is moved aside into what cleanup removes.
mv -T "$folder" "$staging/old" 2>/dev/null || true
mv -T "$staging/whole" "$folder" || [ -s "$folder/libchdb.so" ]
echo "engine $version: installed in $folder" >&2
echo "$folder/libchdb.so"
