#!/bin/bash
# `fraudd demo`, small: ends well, every count agrees, and what it says of itself is so.  Then: what
# it says where it cannot run.
set -u
program=${FRAUDD:-build/release/fraudd}
work=$(mktemp -d)
chmod 711 "$work" # PostgreSQL runs as another user where root tests
trap 'rm -rf "$work"' EXIT

fail() { echo "test_demo: $1"; shift; [ $# -eq 0 ] || cat "$@"; exit 1; }
number() { # number LABEL: the count that the line of that label shows
    sed -nE "s/^  $1 +([0-9,]+).*/\\1/p" "$work/out" | tr -d ,
}

TMPDIR=$work "$program" demo --cards=400 --days=56 --epochs=1 >"$work/out" 2>"$work/err" ||
    fail "exit status $?" "$work/out" "$work/err"
grep -q '^every count agrees' "$work/out" || fail "no agreement told" "$work/out"
! grep -q DIFFERS "$work/out" || fail "a count differs" "$work/out"
[ "$(grep -c '^  ok ' "$work/out")" -ge 9 ] || fail "fewer than 9 checks" "$work/out"

in=$(number in) decided=$(number decided) dead=$(number dead-lettered)
decisions=$(number 'decisions stored') payments=$(number 'payments stored')
[ "$in" -gt 18000 ] || fail "in is $in" "$work/out"
[ "$dead" -gt 10 ] || fail "$dead dead letters" "$work/out"
[ "$in" -eq $((decided + dead)) ] || fail "$in in, $decided decided, $dead dead letters" "$work/out"
[ "$decided" -eq "$decisions" ] || fail "$decided decided, $decisions stored" "$work/out"
[ "$decided" -eq "$payments" ] || fail "$decided decided, $payments payments stored" "$work/out"
for line in 'average precision  *0\.[0-9]' 'alerts a day, budget 50:' 'latency at that load  *p50 ' \
    'payments/s' 'Top alerts' 'claims the' 'came back by the labels topic' \
    'in shadow: [0-9.]* % of the active cards complete; [0-9]* payments compared' \
    'the last day.s decisions: [0-9]* by [0-9a-f-]*, [0-9]* by '; do
    grep -q "$line" "$work/out" || fail "no line with $line" "$work/out"
done

[ "$(find "$work" -mindepth 1 ! -name out ! -name err)" = "" ] || fail "it left something in its TMPDIR"

# it says why it cannot run
if [ "$(id -u)" -eq 0 ]; then
    mkdir -m 700 "$work/closed"
    TMPDIR=$work/closed "$program" demo >"$work/out" 2>"$work/err"
    [ $? -eq 77 ] || fail "a folder closed to user postgres" "$work/err"
    grep -q "user postgres.*cannot enter $work/closed" "$work/err" || fail "no reason" "$work/err"
    [ "$(ls "$work/closed")" = "" ] || fail "it left something in the closed folder"
fi
TMPDIR=$work/nowhere "$program" demo >"$work/out" 2>"$work/err" && fail "ran without a folder"
grep -q "$work/nowhere" "$work/err" || fail "the missing folder is not named" "$work/err"
"$program" demo --days=3 >"$work/out" 2>"$work/err"
[ $? -eq 64 ] || fail "3 days were taken"
"$program" demo --help | grep -q '^example' || fail "no example in --help"
