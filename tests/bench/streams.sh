#!/bin/bash
# Quality on simulated streams, where every field is present, beside trees and logistic regression.
#   streams.sh [--seeds "1 2 3"] [--fits "1"] [--cards 2500] [--days 180] [--no-peers] [--work DIR]
#              [-- TRAIN OPTIONS]
# A stream: fraudd simulate --seed S.  Trained up to 2026-05-01, scored on 2026-05-08 .. 2026-06-28, all
# cards.  --fits: seeds of training.  XGBoost (with the settings tuned on the handbook's stream, and with
# the search's first ones) and logistic regression get the same 128 columns and rows, from PyPI in a
# throwaway environment.  --work keeps streams, results, columns and that environment in DIR and does not
# compute again what is there, so that a stopped run goes on; remove it when the program has changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/peers.sh
. tests/bench/peers.sh
seeds="1 2 3"; fits=1; cards=2500; days=180; peers=yes; keep=
while [[ $# -gt 0 ]]; do
    case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --fits) fits=$2; shift 2 ;;
    --cards) cards=$2; shift 2 ;;
    --days) days=$2; shift 2 ;;
    --no-peers) peers=; shift ;;
    --work) keep=$2; shift 2 ;;
    --) shift; break ;;
    *) sed -n '2,9p' "$0" >&2; exit 64 ;;
    esac
done
peers_work streams "$keep"
export OPENBLAS_NUM_THREADS=1
until=2026-05-01; from=2026-05-08; to=2026-06-29
fraudd=build/release/fraudd

# one_run STREAM FIT OPTIONS..: "AUC AP CP@100 frauds of the test"
one_run() {
    local stream=$1 fit=$2
    shift 2
    "$fraudd" train --input "$stream" --until "$until" --seed "$fit" --out "$work/model" "$@" \
        >"$work/train.log" 2>&1 || { cat "$work/train.log" >&2; exit 1; }
    "$fraudd" backtest --input "$stream" --model "$work/model" --from "$from" --to "$to" \
        --bootstrap 0 >"$work/test.log" 2>>"$work/train.log"
    awk '/^  AUC / { auc = $2 } /^  AP / { ap = $2 } /^  CP@/ { cp = $2 }
         END { if (ap == "") exit 1; printf "%.4f %.4f %.4f\n", auc, ap, cp }' "$work/test.log"
}

# kept_run STREAM FIT OPTIONS..: the same, from the results where they have it
kept_run() {
    local key="$*" line
    line=$(grep -F "=$key|" "$work/results" 2>/dev/null | head -n 1 | cut -d '|' -f 2) || true
    if [[ -z $line ]]; then
        line=$(one_run "$@")
        echo "=$key|$line" >>"$work/results"
    fi
    echo "$line"
}

[[ -z $peers ]] || peers_install xgboost-cpu scikit-learn pandas
: >"$work/all"
for seed in $seeds; do
    stream=$work/stream-$seed-$cards-$days.csv
    [[ -f $stream ]] || {
        "$fraudd" simulate --seed "$seed" --cards "$cards" --days "$days" --out "$stream.part" 2>>"$work/train.log"
        mv "$stream.part" "$stream"
    }
    for fit in $fits; do
        read -r auc ap cp <<<"$(kept_run "$stream" "$fit" "$@")"
        echo "$seed fraudd $auc $ap $cp" >>"$work/all"
        echo "stream $seed fraudd, seed $fit  AUC $auc AP $ap CP@100 $cp"
    done
    [[ -n $peers ]] || continue
    [[ -f $stream.columns ]] || {
        "$fraudd" backtest --input "$stream" --from 2026-01-01 --to "$to" --features "$stream.part" \
            >/dev/null 2>>"$work/train.log"
        mv "$stream.part" "$stream.columns"
    }
    "$python" tests/bench/streams_peers.py "$stream" "$stream.columns" "$until" "$from" "$to" \
        --results "$stream.peers" | tee "$work/peers.log"
    sed -n "s/^stream \(.*\)  *AUC \(.*\) AP \(.*\) CP@100 \(.*\)$/\1;\2 \3 \4/p" "$work/peers.log" |
        while IFS=';' read -r name figures; do
            echo "$seed $(sed 's/ *$//; s/ /_/g' <<<"$name") $figures" >>"$work/all"
        done
done

echo
awk -v seeds="$seeds" '
    { n[$2, $1]++; for (i = 3; i <= 5; i++) { sum[$2, $1, i] += $i }
      if (!($2 in seen)) { seen[$2] = 1; name[++names] = $2 } }
    END { count = split(seeds, seed, " ")
          printf "| all cards, AUC / AP / CP@100 |"; rule = "|---|---|"
          for (s = 1; s <= count; s++) { printf " stream %s |", seed[s]; rule = rule "---|" }
          print " mean |\n" rule
          for (k = 1; k <= names; k++) {
              title = name[k]; gsub("_", " ", title); printf "| %s |", title
              split("", all)
              for (s = 1; s <= count; s++) {
                  for (i = 3; i <= 5; i++) {
                      v = sum[name[k], seed[s], i] / n[name[k], seed[s]]; all[i] += v
                      printf "%s%.4f", i == 3 ? " " : " / ", v
                  }
                  printf " |"
              }
              printf " %.4f / %.4f / %.4f |\n", all[3] / count, all[4] / count, all[5] / count
          } }' "$work/all" | sed 's/0\.\([0-9]\)/.\1/g'
