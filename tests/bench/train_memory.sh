#!/bin/bash
# Memory of training as the history grows.
#   train_memory.sh [--payments "1000000 2000000 4000000"] [--memory 0] [--limit GIB] [--work DIR]
#                   [-- TRAIN OPTIONS]
# For each number: fraudd simulate, then fraudd train for an epoch of 200 steps with --memory GiB of rows
# in memory (0: all of them in files).  Printed are the highest amounts in /proc, looked at ten times a
# second: what the process has of its own (RssAnon), which the kernel cannot take back, what it has of
# its files (RssFile), which it can, and their size on the disk; in the end the same for 100 million
# payments, by the line through the last two numbers.  --limit gives training a memory cgroup of so many
# GiB, files in the page cache counted; where none can be made that is an error.  Everything is made in
# DIR (default: TMPDIR or /var/tmp) and removed: some 800 bytes a payment.
set -euo pipefail
cd "$(dirname "$0")/../.."
numbers="1000000 2000000 4000000"; memory=0; limit=; folder=${TMPDIR:-/var/tmp}
while [[ $# -gt 0 ]]; do
    case $1 in
    --payments) numbers=$2; shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    --work) folder=$2; shift 2 ;;
    --) shift; break ;;
    *) sed -n '2,12p' "$0" >&2; exit 64 ;;
    esac
done
work=$(mktemp -d "$folder/fraudd-memory.XXXXXX")
group='' child=''
cleanup() {
    [[ -z $child ]] || { kill "$child" && wait "$child"; } 2>/dev/null || true
    [[ -z $group ]] || rmdir "$group" || true
    rm -rf "$work"
}
trap cleanup EXIT
export OPENBLAS_NUM_THREADS=1

# make_group: a memory cgroup of $limit GiB below this shell's own
make_group() {
    local root own file
    if root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts) && [[ -n $root ]]; then
        own=$(sed -n 's/^[0-9]*:\(.*,\)*memory\(,.*\)*:\(.*\)$/\3/p' /proc/self/cgroup) file=memory.limit_in_bytes
    else
        root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
        own=$(sed -n 's/^0:://p' /proc/self/cgroup) file=memory.max
    fi
    [[ -n $root ]] && mkdir "$root$own/fraudd-memory.$$" && group=$root$own/fraudd-memory.$$ &&
        echo $((limit << 30)) >"$group/$file"
}
[[ -z $limit ]] || make_group || { echo "train_memory.sh: no memory cgroup can be made here for --limit" >&2; exit 77; }

# watch PID: "own mapped disk": the highest KiB of its own, of files in memory, of its files on the disk
watch() {
    local own=0 mapped=0 disk=0 a m d
    while read -r a m < <(awk '/^RssAnon:/ { a = $2 } /^RssFile:/ { m = $2; print a, m }' "/proc/$1/status" 2>/dev/null); do
        d=$(find "/proc/$1/fd" -lname '*/fraudd-scratch-*' -exec stat -L -c %b {} + 2>/dev/null |
            awk '{ s += $1 } END { print int(s / 2) }')
        own=$((a > own ? a : own)) mapped=$((m > mapped ? m : mapped)) disk=$((d > disk ? d : disk))
        sleep .1
    done
    echo "$own $mapped $disk"
}

echo "--memory $memory${limit:+, in a cgroup of $limit GiB}"
echo " payments   own GiB  mapped GiB  disk GiB  seconds"
: >"$work/all"
for n in $numbers; do
    build/release/fraudd simulate --seed 1 --transactions "$n" --out "$work/history.csv" 2>"$work/log" &
    child=$!
    wait "$child"
    start=$(date +%s)
    # shellcheck disable=SC2016
    bash -c '[[ -z $0 ]] || echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" \
        build/release/fraudd train --input "$work/history.csv" --until 2026-06-30 --out "$work/model" \
        --epochs 1 --fit.epoch-steps 200 --fit.all-rows=false --memory "$memory" --work "$work" "$@" >"$work/log" 2>&1 &
    child=$!
    watch "$child" >"$work/peaks"
    wait "$child" || { child=; tail -n 3 "$work/log" >&2; exit 1; }
    child=
    echo "$(($(wc -l <"$work/history.csv") - 1)) $(cat "$work/peaks") $(($(date +%s) - start))" |
        awk '{ printf "%9d %9.2f %11.2f %9.2f %8d\n", $1, $2 / 2^20, $3 / 2^20, $4 / 2^20, $5 }' |
        tee -a "$work/all"
done
awk '{ for (i = 1; i <= 4; i++) { before[i] = at[i]; at[i] = $i } }
     END { if (NR < 2) exit
           for (i = 2; i <= 4; i += 2) slope[i] = (at[i] - before[i]) / (at[1] - before[1])
           printf "bytes a payment: %.0f its own, %.0f on the disk\n", slope[2] * 2^30, slope[4] * 2^30
           printf "100000000 %9.2f %11s %9.2f   (by that line)\n", at[2] + slope[2] * (1e8 - at[1]), "",
                  at[4] + slope[4] * (1e8 - at[1]) }' "$work/all"
