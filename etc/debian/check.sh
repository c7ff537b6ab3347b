#!/bin/bash
# The package of HEAD: built twice, in folders of different names, it has one checksum; lintian finds
# neither error nor warning; no build folder is named in it; its bill of materials is JSON that names
# every library of the program.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d /tmp/fraudd-deb-check-XXXXXX)
trap 'rm -rf "$dir"' EXIT
fail() { echo "deb-check: $*" >&2; exit 1; }
for name in a a-longer-name; do
    git clone -q . "$dir/$name"
    make -s -C "$dir/$name" deb >"$dir/log" 2>&1 || { tail -20 "$dir/log"; fail "no package"; }
done
first=$(ls "$dir"/a/build/deb/*.deb)
second=$(ls "$dir"/a-longer-name/build/deb/*.deb)
cmp "$first" "$second" || fail "two builds differ"
lintian --fail-on error,warning "$first" || fail "lintian complains"
dpkg-deb -x "$first" "$dir/root"
! grep -rqF "$dir" "$dir/root" || fail "the build's folder is named in the package"
python3 - "$dir/root" <<'END'
import json, subprocess, sys
root = sys.argv[1]
sbom = json.load(open(root + "/usr/share/doc/fraudd/fraudd.spdx.json"))
ids = {p["SPDXID"] for p in sbom["packages"]}
ends = {r["relatedSpdxElement"] for r in sbom["relationships"]}
assert ids == ends and len(ids) == len(sbom["packages"]), (ids, ends)
names = {p["name"] for p in sbom["packages"] if p["versionInfo"]}
needed = {"librdkafka1", "libpq5", "libconfig9", "libmicrohttpd12", "libsimdjson14", "libcurl4", "libjansson4", "libprotobuf32", "libc6", "zlib1g", "liblzma5"}
assert needed <= names, needed - names
END
echo "deb-check: $(basename "$first") $(sha256sum "$first" | cut -c1-64), twice"
