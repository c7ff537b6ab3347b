#!/bin/bash
# `fraudd backtest` from simulated payments to figures, scores and page: the figures are worked out
# again in Python from the history and the scores file, by the Fraud Detection Handbook's protocol.
set -u
program=${FRAUDD:-build/release/fraudd}
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "test_backtest: $1"; shift; [ $# -eq 0 ] || cat "$@"; exit 1; }
train() { # train SEED
    "$program" train --input "$work/history.csv" --until 2026-02-20 --warmup 10d --epochs 1 --seed "$1" \
        --out "$work/model$1" >"$work/train.log" 2>&1 || fail "train ended with $?" "$work/train.log"
}
backtest() { # backtest OPTIONS..: figures to $work/out
    "$program" backtest --input "$work/history.csv" --model "$work/model1" --from 2026-02-27 --to 2026-03-06 \
        --alert.budget 10 "$@" >"$work/out" 2>"$work/err"
}

"$program" simulate --cards 250 --days 70 --fraud-share .02 --out "$work/history.csv" 2>/dev/null || fail simulate
train 1
train 2
# Where OpenBLAS takes a processor for one without AVX, training asks for a better core.
"$program" model show "$work/model1" >"$work/out" 2>&1 || fail "model show" "$work/out"
! grep -qw avx2 /proc/cpuinfo || [ -n "${OPENBLAS_CORETYPE+set}" ] || ! grep -q Prescott "$work/out" ||
    fail "training ran without AVX" "$work/out"

backtest --json --leave-out-known-cards --top-cards 20 --against "$work/model2" --segment channel \
    --scores "$work/scores.csv" --report "$work/page.html" || fail "ended with $?" "$work/err"
cp "$work/out" "$work/first"
python3 "$here/backtest_twin.py" "$work/history.csv" "$work/scores.csv" "$work/out" 2026-02-27 20 ||
    fail "the figures differ from their twin"
python3 - "$work/page.html" <<'PY' || fail "the page is not well-formed"
import sys, xml.etree.ElementTree
page = xml.etree.ElementTree.parse(sys.argv[1])
assert len(page.findall('.//{*}svg[@role="img"]')) == 5
PY
backtest --json --leave-out-known-cards --top-cards 20 --against "$work/model2" --segment channel || fail again
cmp -s "$work/first" "$work/out" || fail "another run, other figures" "$work/first" "$work/out"

backtest --bootstrap 0 || fail "without intervals: $?" "$work/err"
grep -q '^  AUC  *0\.[0-9]' "$work/out" || fail "no AUC" "$work/out"
grep -q interval "$work/out" && fail "intervals of nothing" "$work/out"

# what is refused, and how it is said
refused() { # refused STATUS WORDS OPTIONS..
    local status=$1 words=$2
    shift 2
    backtest "$@"
    [ $? -eq "$status" ] || fail "$* was not refused with $status" "$work/err"
    grep -q -- "$words" "$work/err" || fail "$*: no word of $words" "$work/err"
}
refused 64 'channel, country, mcc, type, amount' --segment colour
refused 64 'not before' --to 2026-02-01
refused 66 "$work/nothing" --against "$work/nothing"
refused 65 "history.csv" --against "$work/history.csv"
refused 66 "$work/no/page.html" --report "$work/no/page.html"
