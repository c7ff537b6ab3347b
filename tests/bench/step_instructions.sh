#!/bin/bash
# Instructions of a step by part, counted by callgrind, beside the same network with dense layers of the
# same size in all.  With the AVX2 kernel: valgrind knows no AVX-512.  The dense network's sizes are not
# those that loops are unrolled for, which costs its other parts a fifth more.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v valgrind >/dev/null || { echo "step_instructions.sh: needs valgrind" >&2; exit 69; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/fraudd-instructions.XXXXXX")
trap 'rm -rf "$work"' EXIT
for network in experts dense; do
    valgrind --tool=callgrind --callgrind-out-file="$work/$network" \
        build/release/tests/bench/bench_instructions "$network" avx2 >"$work/steps" 2>"$work/log" ||
        { cat "$work/log" >&2; exit 1; }
    # A function has a line for every file that its code was inlined from; the largest is the whole of it.
    callgrind_annotate --inclusive=yes --threshold=100 "$work/$network" | tr -d ',' |
        awk -v network="$network" -v steps="$(cut -d ' ' -f 2 "$work/steps")" '
            match($0 " ", /:(model_step|body_(encode|attention|experts|head)) /) {
                print network, substr($0, RSTART + 1, RLENGTH - 2), $1 / steps }' >>"$work/counts"
done
awk '$3 > count[$1, $2] { count[$1, $2] = $3 }
     END { n = split("encode attention experts head", part, " ")
           print "| instructions a step (AVX2) | experts | dense |"
           print "|---|---|---|"
           for (i = 1; i <= n; i++)
               printf "| %s | %.0f | %.0f |\n", part[i], count["experts", "body_" part[i]], count["dense", "body_" part[i]]
           printf "| the whole step | %.0f | %.0f |\n", count["experts", "model_step"], count["dense", "model_step"]
           exit count["experts", "model_step"] == 0 || count["dense", "model_step"] == 0 }' "$work/counts"
