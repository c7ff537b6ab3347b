#!/bin/sh
# The package's bill of materials, SPDX 2.3 as JSON: the Debian packages whose libraries the program
# is linked with, in the versions that it was built with.
#   sbom.sh PROGRAM VERSION SECONDS   SECONDS: since 1970, of its making
set -eu
program=$1 version=$2 made=$3
package_of() { # of a library; dpkg may know it by its place before /usr was merged
    file=$(readlink -f "$1")
    { dpkg-query -S "$file" || dpkg-query -S "${file#/usr}"; } 2>/dev/null | head -1 | sed 's/: .*//'
}
libraries=$(objdump -p "$program" | sed -n 's/^ *NEEDED *//p')
packages=$(for name in $libraries; do
    path=$(ldd "$program" | awk -v name="$name" '$1 == name { print $3 }')
    [ -z "$path" ] || package_of "$path"
done | sort -u)
[ -n "$packages" ] || { echo "sbom.sh: $program is linked with nothing" >&2; exit 1; }

cat <<END
{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "fraudd-$version",
  "documentNamespace": "https://spdx.org/spdxdocs/fraudd-$version-$(sha256sum "$program" | cut -c1-32)",
  "creationInfo": {"created": "$(date -u -d "@$made" +%Y-%m-%dT%H:%M:%SZ)", "creators": ["Tool: fraudd-sbom.sh"]},
  "packages": [
    {"SPDXID": "SPDXRef-fraudd", "name": "fraudd", "versionInfo": "$version", "downloadLocation": "NOASSERTION",
     "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
     "copyrightText": "NOASSERTION"}$(
for p in $packages; do
    name=${p%%:*}
    has=$(dpkg-query -W -f '${Version}' "$p")
    source=$(dpkg-query -W -f '${source:Package}@${source:Version}' "$p")
    printf ',\n    {"SPDXID": "SPDXRef-%s", "name": "%s", "versionInfo": "%s", "downloadLocation": "NOASSERTION",\n' \
        "$(echo "$name" | tr '+_' '..')" "$name" "$has"
    printf '     "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",\n'
    printf '     "copyrightText": "NOASSERTION", "sourceInfo": "Debian source %s", "externalRefs": [{"referenceCategory":\n' \
        "$source"
    printf '     "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:deb/debian/%s@%s?arch=%s"}]}' \
        "$(echo "$name" | sed 's/+/%2B/g')" "$(echo "$has" | sed 's/+/%2B/g; s/:/%3A/g')" "$(dpkg --print-architecture)"
done)
  ],
  "relationships": [
    {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-fraudd"}$(
for p in $packages; do
    printf ',\n    {"spdxElementId": "SPDXRef-fraudd", "relationshipType": "DYNAMIC_LINK", "relatedSpdxElement": "SPDXRef-%s"}' \
        "$(echo "${p%%:*}" | tr '+_' '..')"
done)
  ]
}
END
