#!/bin/bash
# Runs a command as root on a bare machine of its own: a minimal Debian of this machine's release in a
# folder, in namespaces of mounts and processes, with this machine's network and package sources only.
#   bare.sh FOLDER COMMAND..     FOLDER is there as /project, and cannot be written
# The system is made once, in $BARE_HOME (default /var/cache/fraudd-bare), and copied for each run;
# nothing of a run stays.  Exit status: the command's; 77 where no bare machine can be had here.
# Shares the kernel; no systemd runs inside.
set -euo pipefail
[ $# -ge 2 ] || { sed -n 4p "$0" >&2; exit 64; }
project=$(readlink -f "$1")
shift
home=${BARE_HOME:-/var/cache/fraudd-bare}
not_here() { echo "bare: NOT TRIED: $*" >&2; exit 77; }
[ "$(id -u)" -eq 0 ] || not_here "a bare machine needs root"
unshare --mount --pid --fork true 2>/dev/null ||
    not_here "no namespaces of mounts and processes here (unshare fails); a container needs CAP_SYS_ADMIN for them"
. /etc/os-release
base=$home/$VERSION_CODENAME.tar
if [ ! -f "$base" ]; then
    "$(dirname "$0")/../deps.sh" mmdebstrap
    mkdir -p "$home"
    # either kind of file may be absent
    mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
        sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | sed -n 1p)
    echo "bare: making a minimal $VERSION_CODENAME (once)" >&2
    mmdebstrap --quiet --variant=apt --include=ca-certificates "$VERSION_CODENAME" "$home/new.$$.tar" "$mirror" >&2 ||
        not_here "mmdebstrap could not make a $VERSION_CODENAME from \"$mirror\" (above)"
    mv "$home/new.$$.tar" "$base"
fi
root=$(mktemp -d "$home/run.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xf "$base"
rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
cp -a /etc/apt/. "$root/etc/apt/"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/bare" # it lives for minutes
mkdir "$root/project"
# all mounts are private to the namespace, and whatever still runs there ends with it
# shellcheck disable=SC2016
unshare --mount --pid --fork --kill-child bash -euc '
    root=$1 project=$2
    shift 2
    mount --bind "$root" "$root"
    mount --bind "$project" "$root/project"
    mount -o remount,bind,ro "$root/project"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/dev/shm"
    cd "$root"
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt chroot "$root" "$@"' bare "$root" "$project" "$@" </dev/null
