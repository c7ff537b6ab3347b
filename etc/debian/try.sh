#!/bin/bash
# Installs the package, runs it, upgrades, removes and purges it: on a machine that may be spoilt, such
# as bare.sh makes.
#   try.sh DEB
set -euo pipefail
deb=$(readlink -f "$1")
export DEBIAN_FRONTEND=noninteractive
fail() { echo "deb-try: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || fail "run as root, on a machine that may be spoilt"
! dpkg-query -W fraudd >/dev/null 2>&1 || fail "fraudd is installed here already"
[ ! -e /etc/fraudd ] || fail "/etc/fraudd is there already"
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$deb" man-db >/dev/null
[ "$(command -v fraudd)" = /usr/bin/fraudd ] || fail "no program"
fraudd --version
getent passwd fraudd >/dev/null || fail "no user"
code=0
fraudd check --config /etc/fraudd/fraudd.conf >/tmp/fraudd-check || code=$?
cat /tmp/fraudd-check
grep -q '^ok      settings: /etc/fraudd/fraudd.conf' /tmp/fraudd-check || fail "check did not read the settings"
[ "$code" -eq 78 ] || fail "check of a machine without a model: exit code $code, wanted 78"
# dpkg leaves man pages out of containers
page=$(mktemp -d)
dpkg-deb -x "$deb" "$page"
man -l "$page/usr/share/man/man1/fraudd-score.1.gz" | grep -q 'alert.budget' || fail "man fraudd-score"
bash -c '. /usr/share/bash-completion/completions/fraudd && complete -p fraudd' || fail "completion"
# all of it at work: simulate, train, a broker, score, sink, PostgreSQL
apt-get install -y -qq --no-install-recommends postgresql >/dev/null
OPENBLAS_NUM_THREADS=1 fraudd demo --cards=400 --days=56 --epochs=1 >/tmp/fraudd-demo 2>&1 ||
    { cat /tmp/fraudd-demo; fail "demo"; }
grep '^every count agrees' /tmp/fraudd-demo || fail "the demo does not say that its counts agree"

# what is the site's stays: changed settings over an upgrade, all data to the end
echo '# the site wrote this' >>/etc/fraudd/fraudd.conf
echo 'FRAUDD_DATABASE=x' >/etc/fraudd/secrets.env
mkdir -p /var/lib/fraudd && echo model >/var/lib/fraudd/model.fraudd
next=$(mktemp -d)
dpkg-deb -R "$deb" "$next/root"
sed -i 's/^Version: .*/&+next/' "$next/root/DEBIAN/control"
echo '# the next version says more' >>"$next/root/etc/fraudd/fraudd.conf"
dpkg-deb --root-owner-group -b "$next/root" "$next/next.deb" >/dev/null
apt-get install -y -qq -o Dpkg::Options::=--force-confold "$next/next.deb" >/dev/null
dpkg-query -W -f '${Version}\n' fraudd | grep -q '+next$' || fail "no upgrade"
grep -q 'the site wrote this' /etc/fraudd/fraudd.conf || fail "the upgrade took the settings"
apt-get remove -y -qq fraudd >/dev/null
[ ! -e /usr/bin/fraudd ] || fail "removed, and still there"
grep -q 'the site wrote this' /etc/fraudd/fraudd.conf && [ -s /etc/fraudd/secrets.env ] || fail "removal took settings"
[ -s /var/lib/fraudd/model.fraudd ] || fail "removal took data"
apt-get purge -y -qq fraudd >/dev/null
[ ! -e /etc/fraudd ] || fail "purged, and settings are there"
[ -s /var/lib/fraudd/model.fraudd ] || fail "purging took data"
rm -rf "$page" "$next" /tmp/fraudd-demo /tmp/fraudd-check
echo "deb-try: installed, run, upgraded, removed, purged"
