#!/bin/bash
# Nothing looks into the future: training reads no row at or after --until, and a label changes no
# score of a payment before the time it became known.
set -u
program=${FRAUDD:-build/release/fraudd}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "test_no_future: $1"; shift; [ $# -eq 0 ] || tail -5 "$@"; exit 1; }

"$program" simulate --cards 250 --days 70 --fraud-share .02 --out "$work/history.csv" 2>/dev/null || fail simulate

train() { # train HISTORY MODEL
    "$program" train --input "$1" --until 2026-02-20 --warmup 10d --epochs 1 --seed 1 --out "$2" \
        >"$work/log" 2>&1 || fail "train ended with $?" "$work/log"
}
awk -F, 'NR == 1 || $2 < "2026-02-20"' "$work/history.csv" >"$work/cut.csv"
[ "$(wc -l <"$work/cut.csv")" -lt "$(wc -l <"$work/history.csv")" ] || fail "nothing was cut"
train "$work/history.csv" "$work/model"
train "$work/cut.csv" "$work/model-cut"
cmp "$work/model" "$work/model-cut" || fail "the model depends on what came after --until"
cmp "$work/model.state" "$work/model-cut.state" || fail "the training state depends on what came after --until"
# the comparison can fail: a row less before --until is another model
sed 2d "$work/cut.csv" >"$work/cut-less.csv"
train "$work/cut-less.csv" "$work/model-less"
cmp -s "$work/model" "$work/model-less" && fail "a row less gives the same model"

scores() { # scores HISTORY OUT: "event time,score" in order of the history
    "$program" backtest --input "$1" --model "$work/model" --from 2026-02-21 --to 2026-03-10 --bootstrap 0 \
        --scores "$work/scores" >/dev/null 2>"$work/log" || fail "backtest ended with $?" "$work/log"
    awk -F, 'NR == FNR { time[$1] = $2; next } FNR > 1 { print time[$1] "," $2 }' "$1" "$work/scores" >"$2"
}
# the verdicts of one day become known at one time; in one file they are turned round
verdicts() { # verdicts TURNED
    awk -F, -v OFS=, -v turned="$1" 'NR > 1 && substr($2, 1, 10) == "2026-02-22" {
        $17 = turned ? 1 - $17 : $17; $18 = "2026-03-01T12:00:00.000Z"; n++ } { print } END { exit n < 10 }' \
        "$work/history.csv" || fail "too few verdicts"
}
verdicts 0 >"$work/right.csv"
verdicts 1 >"$work/turned.csv"
scores "$work/right.csv" "$work/before"
scores "$work/turned.csv" "$work/after"
for f in before after; do
    awk -F, '$1 < "2026-03-01T12:00:00.000Z"' "$work/$f" >"$work/$f-known"
done
[ "$(wc -l <"$work/before-known")" -gt 1000 ] || fail "too few scores to compare"
cmp "$work/before-known" "$work/after-known" || fail "a label changed a score before it was known"
cmp -s "$work/before" "$work/after" && fail "the labels changed no score at all"
exit 0
