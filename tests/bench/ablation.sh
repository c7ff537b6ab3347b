#!/bin/bash
# What each part of the network is worth: the table of model/README.md.
#   ablation.sh DATA [--folds "80 87 94 101 108"] [--seeds "1 2 3"] [--only "NAME.."] [--results FILE]
#               [-- TRAIN OPTIONS]
# A row is a network trained and judged as quality.sh does, in INT8; the shipped network's row in FP32
# is the same weights on the same rows.  The shipped network, the one without attention and the two
# dense ones run with all seeds, the others with the first.  Every result is added to FILE (default
# DATA.ablation), and what is there already is not computed again: a stopped run goes on.  FILE holds
# no record of the program's version; remove it when training has changed.
# Differences to the shipped network are paired: of the same fold and seed.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-}
[[ -f $data ]] || { sed -n '2,10p' "$0"; exit 64; }
shift
folds="80 87 94 101 108"; seeds="1 2 3"; results=$data.ablation
names="shipped no-attention dense-total dense-active window-8 window-32 window-64 layers-1 layers-3"
while [[ $# -gt 0 ]]; do
    case $1 in
    --folds) folds=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    --only) names=$2; shift 2 ;;
    --results) results=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "ablation.sh: unknown option $1" >&2; exit 64 ;;
    esac
done
options="$*"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/fraudd-ablation.XXXXXX")
trap 'rm -rf "$work"' EXIT
unset OPENBLAS_CORETYPE
export OPENBLAS_NUM_THREADS=1
day() { date -u -d "2018-04-01 + $1 days" +%F; }

# Hidden sizes of the shipped network (net_shape_default): 16 experts of 16, 2 of them chosen, beside a
# shared one of 32.  One expert that is always chosen makes a dense layer.
settings() {
    case $1 in
    shipped) ;;
    no-attention) echo "--net.window 1" ;;
    dense-total) echo "--net.experts 1 --net.top 1 --net.expert-hidden 256" ;;
    dense-active) echo "--net.experts 1 --net.top 1 --net.expert-hidden 32" ;;
    window-*) echo "--net.window ${1#window-}" ;;
    layers-*) echo "--net.layers ${1#layers-}" ;;
    *) echo "ablation.sh: no network is called $1" >&2; exit 64 ;;
    esac
}

# one_run NAME FOLD SEED: two lines "key  network  AUC AP CP@100  seconds" are added to the results
one_run() {
    local name=$1 fold=$2 seed=$3 own start
    own=$(settings "$name")
    local key="$name;$fold;$seed;$options"
    grep -qF "$key;INT8" "$results" 2>/dev/null && return
    start=$(date +%s)
    # shellcheck disable=SC2086
    build/release/fraudd train --input "$data" --until "$(day $((fold + 7)))" --seed "$seed" \
        --out "$work/model" $own $options >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    local took=$(($(date +%s) - start))
    build/release/tests/bench/bench_fidelity "$data" "$work/model" "$(day $((fold + 14)))" \
        "$(day $((fold + 21)))" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    # FP32 comes first, so a run that was stopped while writing is repeated.
    sed -n 's/^\(FP32\|INT8\), cards not known *AUC \(.*\) AP \(.*\) CP@100 \(.*\)$/\1 \2 \3 \4/p' "$work/log" |
        while read -r network auc ap cp; do
            echo "$key;$network;$auc;$ap;$cp;$took"
        done >>"$results"
    tail -n 1 "$results" | tr ';' ' '
}

for name in $names; do
    several=${seeds%% *}
    case $name in shipped | no-attention | dense-*) several=$seeds ;; esac
    for seed in $several; do
        for fold in $folds; do
            one_run "$name" "$fold" "$seed"
        done
    done
done

echo
echo "Folds $folds; the least and the highest mean of a seed in brackets; differences of AP are means"
echo "of pairs of the same fold and seed, with their standard error.  Each row by"
echo "    tests/bench/ablation.sh DATA --folds \"$folds\" --seeds \"$seeds\" --only NAME${options:+ -- $options}"
echo
chosen=$(for name in $names; do echo "$name=$(settings "$name")"; done)
awk -F ';' -v options="$options" -v names="$names" -v folds=" $folds " -v seeds=" $seeds " -v chosen="$(tr '\n' ';' <<<"$chosen")" '
    $4 == options && index(folds, " " $2 " ") && index(seeds, " " $3 " ") {
        run = $1 ($5 == "FP32" ? " in FP32" : "")
        at = $2 " " $3
        auc[run, at] = $6; ap[run, at] = $7; cp[run, at] = $8; took[run, at] = $9
        ats[at] = 1
    }
    function row(run, title,    at, n, pairs, a, p, c, t, d, dd, by, per, s, low, high, part, error, diff) {
        for (at in ats) {
            if (!((run, at) in ap)) continue
            n++; a += auc[run, at]; p += ap[run, at]; c += cp[run, at]; t += took[run, at]
            split(at, part, " ")
            by[part[2]] += ap[run, at]; per[part[2]]++
            if (("shipped", at) in ap) {
                pairs++; s = ap[run, at] - ap["shipped", at]; d += s; dd += s * s
            }
        }
        if (n == 0) return
        for (s in by) {
            by[s] /= per[s]
            if (low == "" || by[s] < low) low = by[s]
            if (high == "" || by[s] > high) high = by[s]
        }
        dd -= pairs > 0 ? d * d / pairs : 0
        error = pairs > 1 && dd > 0 ? sqrt(dd / (pairs - 1) / pairs) : 0
        diff = run == "shipped" || pairs == 0 ? "" : sprintf("%+.4f", d / pairs)
        diff = diff (diff != "" && pairs > 1 ? sprintf(" +- %.4f", error) : "")
        printf "| %s | %s | %d | %.4f | %.4f (%.4f to %.4f) | %.4f | %s | %.0f |\n", title, set[run], n, a / n, p / n,
               low, high, c / n, diff, t / n
    }
    END {
        many = split(chosen, pair, ";")
        for (i = 1; i <= many; i++) {
            equal = index(pair[i], "=")
            set[substr(pair[i], 1, equal - 1)] = equal < length(pair[i]) ? "`" substr(pair[i], equal + 1) "`" : ""
        }
        print "| network | settings | runs | AUC | AP | CP@100 | AP to shipped | training s |"
        print "|---|---|---|---|---|---|---|---|"
        count = split(names, name, " ")
        for (i = 1; i <= count; i++) {
            row(name[i], name[i])
            if (name[i] == "shipped") row("shipped in FP32", "shipped in FP32")
        }
    }' "$results"
