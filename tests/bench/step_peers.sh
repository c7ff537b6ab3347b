#!/bin/bash
# One incremental step beside what else could score a payment, in one run on one core: XGBoost's C API and
# the same trees compiled (100 trees of depth 6, 128 columns), ONNX Runtime on the same one-token step.
#   step_peers.sh DATA [--until 2018-06-10] [--work DIR]
# The trees learn DATA's payments before --until.  No line has the features' time in it.  Peers come from
# PyPI (torch, which writes the ONNX graph, brings 5 GB) into a throwaway environment in DIR, which is kept
# where it is named, as are trees and rows.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/peers.sh
. tests/bench/peers.sh
data=${1:-}
[[ -f $data ]] || { sed -n '2,8p' "$0"; exit 64; }
shift
until=2018-06-10; keep=
while [[ $# -gt 0 ]]; do
    case $1 in
    --until) until=$2; shift 2 ;;
    --work) keep=$2; shift 2 ;;
    *) echo "step_peers.sh: unknown option $1" >&2; exit 64 ;;
    esac
done
peers_work step "$keep"
peers_install torch numpy xgboost-cpu treelite tl2cgen onnx onnxruntime
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
rows=$work/step-$until
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }
if [[ ! -f $rows/forest.so ]]; then
    mkdir -p "$rows"
    quietly build/release/tests/bench/bench_train "$data" "$until" 1 "$(nproc)" "$rows"
    quietly env OMP_NUM_THREADS="$(nproc)" "$python" tests/bench/step_peers.py trees "$rows"
fi
gcc -O2 -std=gnu11 tests/bench/step_peers.c -o "$work/step_peers" -ldl -lm
library=$("$python" -c 'import os, xgboost; print(os.path.dirname(xgboost.__file__))')/lib/libxgboost.so
kernel=avx512vnni
grep -q avx512_vnni /proc/cpuinfo || kernel=avx2

{
    build/release/tests/bench/bench_model "$kernel" | awk -v kernel="$kernel" '
        /^kernel .*ns a step/ { ours = 1 }
        ours && / batch  1:/ { gsub(/[()]/, ""); far = $3; near = $4 }
        ours && / batch 64:/ { gsub(/[()]/, ""); printf "fraudd, INT8, %s, caches of 1 M cards in random order\t%s\t%s\n", kernel, far, $3
                       printf "fraudd, the same 64 cards again and again\t%s\t%s\n", near, $4 }'
    "$work/step_peers" "$library" "$rows/trees.ubj" "$rows/forest.so" "$rows/sample.f32"
    "$python" tests/bench/step_peers.py onnx "$rows" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
} | awk -F '\t' '
    NR == 1 { alone = $2; batch = $3
              print "| ns of CPU a payment | alone | batch of 64 | alone, to ours | batch, to ours |"
              print "|---|---|---|---|---|" }
    { printf "| %s | %d | %d | %.1f | %.1f |\n", $1, $2, $3, $2 / alone, $3 / batch; lines++ }
    END { exit lines < 7 }'
