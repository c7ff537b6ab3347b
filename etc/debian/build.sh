#!/bin/bash
# Builds the Debian package of the program that lies in build/release.
#   build.sh FOLDER        puts fraudd_VERSION_ARCH.deb there
# The same commit on the same Debian gives the same bytes: times are the commit's, packed files are
# sorted, and the program is stripped by the linker, before it makes the build-id of what is left.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022
here=etc/debian
out=$1 work=$1/work root=$1/work/root
rm -rf "$out"
mkdir -p "$work/debian" "$root/DEBIAN"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
# Rises with every commit, so that a later package is an upgrade.
commit=$(git rev-parse --short=12 HEAD)
version=0.$(git rev-list --count HEAD)+g$commit
git diff --quiet HEAD || version+=+changed
arch=$(dpkg --print-architecture)
maintainer=$(git log -1 --format='%an <%ae>')

make --no-print-directory -s install DESTDIR="$PWD/$root" PREFIX=/usr SYSCONFDIR=/etc MANDIR=/usr/share/man \
    UNITDIR=/lib/systemd/system ZSHDIR=vendor-completions
install -m 755 build/release/fraudd-stripped "$root/usr/bin/fraudd"
strip --remove-section=.comment "$root/usr/bin/fraudd"
"$root/usr/bin/fraudd" --version | grep -qF "$commit" || { echo "deb: the program is not of commit $commit" >&2; exit 1; }

doc=$root/usr/share/doc/fraudd
install -m 644 $here/copyright "$doc/copyright"
install -m 644 etc/systemd/README.md "$doc/units.md"
{
    printf 'fraudd (%s) stable; urgency=medium\n\n' "$version"
    git log -1 --format=%s | fold -s -w 74 | sed '1s/^/  * /; 2,$s/^/    /; s/ *$//'
    printf '\n -- %s  %s\n' "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"
$here/sbom.sh "$root/usr/bin/fraudd" "$version" "$SOURCE_DATE_EPOCH" >"$doc/fraudd.spdx.json"
gzip -9n "$root"/usr/share/man/man?/*
chmod -R u=rwX,go=rX "$root"

# what dpkg-shlibdeps wants to see
printf 'Source: fraudd\nMaintainer: %s\n\nPackage: fraudd\nArchitecture: any\n' "$maintainer" >"$work/debian/control"
program=$PWD/$root/usr/bin/fraudd
depends=$(cd "$work" && dpkg-shlibdeps -O "$program" 2>"shlibdeps.log") || { cat "$work/shlibdeps.log" >&2; exit 1; }
size=$(find "$root" -type f -not -path '*/DEBIAN/*' -printf '%s\n' | awk '{ s += int(($1 + 1023) / 1024) } END { print s }')
sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@MAINTAINER@|$maintainer|; s|@SIZE@|$size|" \
    -e "s|@DEPENDS@|${depends#shlibs:Depends=}|" $here/control.in >"$root/DEBIAN/control"
echo /etc/fraudd/fraudd.conf >"$root/DEBIAN/conffiles"
install -m 755 $here/postinst $here/prerm $here/postrm "$root/DEBIAN"
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 644 "$root/DEBIAN/control" "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums"
deb=$out/fraudd_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
rm -rf "$work"
echo "$deb"
