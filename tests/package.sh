#!/bin/bash
# The Debian package of HEAD on a bare machine: installed, run, upgraded, removed, purged.  Counts as
# one test; where no bare machine can be had it is skipped, which is told at length.
#   package.sh
set -u
cd "$(dirname "$0")/.." || exit 2
make --no-print-directory -s deb || { echo "package: 0 passed, 1 failed"; exit 1; }
etc/debian/bare.sh . sh -c 'exec /project/etc/debian/try.sh /project/build/deb/*.deb'
case $? in
0)
    echo "package: 1 passed, 0 failed"
    ;;
77)
    echo "THE PACKAGE WAS BUILT, BUT NEITHER INSTALLED NOR RUN: no bare machine can be had here (above)"
    echo "package: 0 passed, 0 failed, 1 skipped"
    ;;
*)
    echo "package: 0 passed, 1 failed"
    exit 1
    ;;
esac
