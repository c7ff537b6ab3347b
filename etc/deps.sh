#!/bin/sh
# Installs the Debian packages named that are missing.  Asks nothing; says what it does.
#   deps.sh PACKAGE...
set -eu
missing=
for package in "$@"; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: these Debian packages are missing:$missing; run as root: apt-get install$missing" >&2
        exit 1
    fi
    root=sudo
else
    root=
fi
echo "deps: installing$missing"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { $root apt-get update -qq && $root apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "deps: apt-get failed (its last lines above); install by hand:$missing" >&2
    rm -f "$log"
    exit 1
fi
rm -f "$log"
echo "deps: done"
