#!/bin/bash
# Where no bare machine can be had, the trial of the package says that it did not happen, and why; a
# trial that fails is a failure.
set -u
cd "$(dirname "$0")/../.." || exit 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAIL: $*"; cat "$dir/out"; exit 1; }
machine() { # machine NAME 'ID' 'UNSHARE': a folder of programs that stand in for this machine's
    mkdir "$dir/$1"
    printf '#!/bin/sh\n%s\n' "$2" >"$dir/$1/id"
    printf '#!/bin/sh\n%s\n' "$3" >"$dir/$1/unshare"
    printf '#!/bin/sh\n' >"$dir/$1/make"
    chmod +x "$dir/$1"/*
}
try() { # try NAME COMMAND..: sets code
    PATH="$dir/$1:$PATH" BARE_HOME="$dir/home" "${@:2}" >"$dir/out" 2>&1
    code=$?
}
machine user 'echo 1000' 'exit 0'
machine closed 'echo 0' 'exit 1'
# the machine is made already, and the command in it ends with 3
machine failing 'echo 0' '[ $# -le 4 ] || exit 3'
. /etc/os-release
mkdir -p "$dir/home" "$dir/empty/etc/apt" "$dir/empty/etc/ssl/certs" "$dir/empty/etc/dpkg/dpkg.cfg.d"
tar -C "$dir/empty" -cf "$dir/home/$VERSION_CODENAME.tar" .

for name in user closed; do
    try $name etc/debian/bare.sh . true
    [ "$code" -eq 77 ] || fail "$name: exit code $code"
    grep -q '^bare: NOT TRIED: ' "$dir/out" || fail "$name: not told"
    try $name tests/package.sh
    [ "$code" -eq 0 ] || fail "$name: package.sh ends with $code"
    grep -q '^bare: NOT TRIED: ' "$dir/out" && grep -q '^THE PACKAGE WAS BUILT, BUT NEITHER' "$dir/out" &&
        grep -qx 'package: 0 passed, 0 failed, 1 skipped' "$dir/out" || fail "$name: package.sh does not say it"
done
grep -q 'unshare fails' "$dir/out" || fail "no reason"
try failing tests/package.sh
[ "$code" -eq 1 ] || fail "a trial that fails: package.sh ends with $code"
grep -qx 'package: 0 passed, 1 failed' "$dir/out" || fail "a failure is not counted"
[ -z "$(find "$dir/home" -name 'run.*')" ] || fail "the machine is still there"
