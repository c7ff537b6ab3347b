#!/bin/bash
# `make install` into a folder: everything is there, units name what was installed, systemd finds
# nothing wrong with them, and a settings file that is there stays.
set -u
cd "$(dirname "$0")/../.." || exit 2
root=$(mktemp -d /tmp/fraudd-test-install-XXXXXX)
trap 'rm -rf "$root"' EXIT
fail() { echo "FAIL: $*"; exit 1; }

inst() { make -s install PREFIX="$root/usr" SYSCONFDIR="$root/etc" >"$root/log" 2>&1 || { cat "$root/log"; fail "make install"; }; }
inst
for f in usr/bin/fraudd etc/fraudd/fraudd.conf usr/share/fraudd/wire/transaction.schema.json \
         usr/share/doc/fraudd/metrics.md usr/share/fraudd/fraudd.json usr/share/fraudd/fraudd.rules.yml usr/share/man/man1/fraudd-score.1 usr/share/man/man5/fraudd.conf.5 \
         usr/share/bash-completion/completions/fraudd usr/share/zsh/site-functions/_fraudd usr/lib/systemd/system/fraudd-train.timer; do
    [ -s "$root/$f" ] || fail "$f was not installed"
done
cmp -s etc/fraudd.conf "$root/etc/fraudd/fraudd.conf" || fail "the settings differ from the sample"
"$root/usr/bin/fraudd" --version >/dev/null || fail "the program does not start"
grep -rq '@[A-Z]*@' "$root/usr/lib/systemd" && fail "a unit has a placeholder left"

echo 'log-level = "warn";' >"$root/etc/fraudd/fraudd.conf"
inst
[ "$(cat "$root/etc/fraudd/fraudd.conf")" = 'log-level = "warn";' ] || fail "the settings were overwritten"

# DESTDIR moves the files, not the paths in them
make -s install DESTDIR="$root/stage" >/dev/null 2>&1 || fail "make install DESTDIR"
grep -q '^ExecStart=/usr/local/bin/fraudd score --config /etc/fraudd/fraudd.conf$' \
    "$root/stage/usr/local/lib/systemd/system/fraudd-score.service" || fail "DESTDIR got into a unit"

if ! command -v systemd-analyze >/dev/null; then
    echo "skipped: systemd-analyze is not installed, so the units were not verified"
    exit 0
fi
for unit in "$root"/usr/lib/systemd/system/fraudd-*; do
    said=$(systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1) || fail "$(basename "$unit"): $said"
    [ -z "$said" ] || fail "$(basename "$unit"): $said"
done
for unit in "$root"/usr/lib/systemd/system/fraudd-*.service; do
    # 1.5 of 10: what is left is the network and the notify socket
    systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" >"$root/security" 2>&1 ||
        { tail -3 "$root/security"; fail "$(basename "$unit") is exposed"; }
done
