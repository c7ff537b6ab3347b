#!/bin/bash
# Training speed, ours and PyTorch's: the same network, rows, pieces, batches and number of events, one
# after the other.
#   train_speed.sh DATA [--until 2018-07-18] [--epochs 1] [--threads N] [--work DIR]
# The default --until is that of fold 101 of the handbook's stream.  PyTorch comes from PyPI (5 GB with
# what it brings) into a throwaway environment in DIR, which is kept where it is named.  Its threads sleep
# while they wait for each other unless OMP_WAIT_POLICY says otherwise: where other work runs beside, threads
# that spin take it six times as long.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/peers.sh
. tests/bench/peers.sh
data=${1:-}
[[ -f $data ]] || { sed -n '2,8p' "$0"; exit 64; }
shift
until=2018-07-18; epochs=1; threads=$(nproc); keep=
while [[ $# -gt 0 ]]; do
    case $1 in
    --until) until=$2; shift 2 ;;
    --epochs) epochs=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --work) keep=$2; shift 2 ;;
    *) echo "train_speed.sh: unknown option $1" >&2; exit 64 ;;
    esac
done
peers_work train "$keep"
peers_install torch numpy
mkdir -p "$work/rows"
# The lines end in "events/s" and more; the ratio is of wall time.
OPENBLAS_NUM_THREADS=1 build/release/tests/bench/bench_train "$data" "$until" "$epochs" "$threads" "$work/rows" \
    2>"$work/log" | tee "$work/speed" || { cat "$work/log" >&2; exit 1; }
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} "$python" tests/bench/train_torch.py "$work/rows" --epochs "$epochs" --threads "$threads" 2>>"$work/log" |
    tee -a "$work/speed" || { cat "$work/log" >&2; exit 1; }
rm -rf "$work/rows"
awk '{ for (i = 2; i <= NF; i++) { if ($i == "events/s") speed[NR] = $(i - 1); if ($i == "us") cpu[NR] = $(i - 1) } }
     END { if (NR != 2) exit 1
           printf "%.1f times PyTorch by the clock, %.1f times by CPU time\n", speed[1] / speed[2], cpu[2] / cpu[1] }' \
    "$work/speed"
