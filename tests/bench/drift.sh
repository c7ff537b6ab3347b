#!/bin/bash
# The weekly update where a new fraud pattern sets in, beside full retraining and beside the same update
# with nothing that holds it to what it knew.
#   drift.sh [--seeds "1"] [--pattern takeover] [--cards 1500] [--full all|last] [--threads 1] [--work DIR]
#            [-- TRAIN OPTIONS]
# A stream: fraudd simulate --seed S, 182 days from 2026-01-01, 2 % of fraud, every verdict within a week;
# nobody commits the pattern before day 70.  A full training up to that day is the first model.
# Week k = 1, 2, .. ends on day 77 + 7 k: the model in service is updated (where its gate says no, the
# old one stays); beside it one is trained anew (--full last: in the last of the weeks only), and a
# third line of models is updated at the same learning rate without any older payment, without consolidation
# and without decay towards the served weights, its gate open.  Counted from the first week with 50
# frauds of the new pattern, three updates are made.  All models score the payments from a week after the
# last of these weeks to the end, which none has seen: average precision of the new pattern's frauds
# and of all others', each against all legitimate payments.
# --work keeps streams, models and results in DIR, so that a stopped run goes on; remove it when the
# program or the options have changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/peers.sh
. tests/bench/peers.sh
seeds=1; pattern=takeover; cards=1500; full=all; threads=1; keep=
while [[ $# -gt 0 ]]; do
    case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --pattern) pattern=$2; shift 2 ;;
    --cards) cards=$2; shift 2 ;;
    --full) full=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --work) keep=$2; shift 2 ;;
    --) shift; break ;;
    *) sed -n '2,17p' "$0" >&2; exit 64 ;;
    esac
done
peers_work drift "$keep"
export OPENBLAS_NUM_THREADS=1
fraudd=${FRAUDD:-build/release/fraudd}
days=182; first=70; wanted=50
bare=(--update.fresh 0 --update.replay-weight 0 --update.consolidation 0 --update.decay 0
      --gate.ap 0 --gate.card-precision 0 --gate.precision 0 --gate.value 0 --gate.expected-low 0
      --gate.expected-high 100 --gate.forgetting 0 --gate.label-rate 1000 --gate.label-sure 0
      --gate.label-unlikely 1000 --gate.label-group 0)
day() { date -u -d "2026-01-01 + $1 days" +%F; }
week_end() { echo $((first + 7 + 7 * $1)); }

# trained AT DAY OPTIONS..: AT.fraudd, trained up to DAY, or AT.refused by its gate; unless it is there
trained() {
    local at=$1 until=$2 code=0 TIMEFORMAT='%U %S'
    shift 2
    [[ ! -f $at.fraudd && ! -f $at.refused ]] || return 0
    { time "$fraudd" train --input "$stream" --until "$(day "$until")" --seed "$seed" --threads "$threads" \
        --out "$at.part" "$@" >"$at.log" 2>"$at.err" || code=$?; } 2>"$at.time"
    case $code in
    0) mv "$at.part.state" "$at.fraudd.state"
       mv "$at.part" "$at.fraudd" ;;
    1) grep 'the gate is not passed' "$at.err" >"$at.refused" ;;
    *) cat "$at.err" >&2; exit 1 ;;
    esac
}

# updated NAME DAY OPTIONS..: the newest of the line of models NAME, updated up to DAY; `served` is then
# what is in service
updated() {
    local name=$1 until=$2
    shift 2
    trained "$work/$seed/$name-$until" "$until" --from "$served" "$@"
    [[ ! -f $work/$seed/$name-$until.fraudd ]] || served=$work/$seed/$name-$until.fraudd
}

# judged MODEL: "AP of the new pattern, its frauds, AP of the others, their frauds"
judged() {
    local at=${1%.fraudd}
    [[ -f $at.figures ]] || {
        "$fraudd" backtest --input "$stream" --model "$1" --from "$(day $((end + 7)))" --to "$(day "$days")" \
            --bootstrap 0 --scores "$at.scores" >/dev/null 2>"$at.err" || { cat "$at.err" >&2; exit 1; }
        python3 tests/bench/drift_ap.py "$stream" "$at.scores" "$pattern" >"$at.part"
        rm "$at.scores"
        mv "$at.part" "$at.figures"
    }
    cat "$at.figures"
}

# frauds DAY: of the new pattern before it
frauds() {
    awk -F, -v until="$(day "$1")" -v name="$pattern" '$2 < until && $NF == name { n++ } END { print n + 0 }' "$stream"
}

seconds() { awk '{ printf "%.0f", $1 + $2 }' "$1.time"; }

# one_week K OPTIONS..: a line for the table; moves `served_on` and `bare_on` on
one_week() {
    local until gate=passed anew="- - - -" anew_s=-
    until=$(week_end "$1")
    shift
    served=$served_on
    updated update "$until" "$@"
    served_on=$served
    [[ ! -f $work/$seed/update-$until.refused ]] || gate=refused
    served=$bare_on
    updated bare "$until" "$@" "${bare[@]}"
    bare_on=$served
    if [[ $full == all || $until == "$end" ]]; then
        trained "$work/$seed/full-$until" "$until" --full "$@"
        anew=$(judged "$work/$seed/full-$until.fraudd")
        anew_s=$(seconds "$work/$seed/full-$until")
    fi
    echo "$seed $(((until - first) / 7 - 1)) $until $(frauds "$until") $(judged "$work/$seed/first.fraudd")" \
        "$(judged "$served_on") $anew $(judged "$bare_on")" \
        "$(seconds "$work/$seed/update-$until") $anew_s $(seconds "$work/$seed/bare-$until") $gate"
}

echo "                  frauds  AP, new pattern ($pattern)       AP, the other patterns           CPU seconds"
echo "seed week until    so far  first updated  anew  bare     first updated  anew  bare   update anew bare  gate"
: >"$work/all"
for seed in $seeds; do
    mkdir -p "$work/$seed"
    stream=$work/stream-$seed.csv
    [[ -f $stream ]] || {
        "$fraudd" simulate --seed "$seed" --cards "$cards" --days "$days" --fraud-share .02 --label-delay-max 7d \
            --new-pattern "$pattern" --new-pattern-from "$(day "$first")" --out "$stream.part" 2>"$stream.log"
        mv "$stream.part" "$stream"
    }
    counted=1
    while (($(frauds "$(week_end "$counted")") < wanted)); do counted=$((counted + 1)); done
    end=$(week_end $((counted + 2)))
    ((end + 14 <= days)) || { echo "drift.sh: seed $seed has $wanted frauds of $pattern too late" >&2; exit 1; }
    trained "$work/$seed/first" "$first" --full "$@"
    served_on=$work/$seed/first.fraudd
    bare_on=$served_on
    for ((k = 1; k <= counted + 2; k++)); do
        one_week "$k" "$@" >"$work/line"
        # one_week ran here, not in a subshell, so that it could move both lines of models on
        tee -a "$work/all" <"$work/line" | awk '
            { printf "%4d %4d %5d %9d  %6s  %6s %6s %6s   %6s  %6s %6s %6s   %6s %4s %4s  %s\n", $1, $2, $3, $4,
                     $5, $9, $13, $17, $7, $11, $15, $19, $21, $22, $23, $24 }'
    done
done

# What is wanted, after the third update of every seed.
awk 'function say(what, value, bound) {
         printf "%-62s %.4f%s\n", what, value, bound == "" ? "" : ", wanted at least " bound ": " (value >= bound + 0 ? "reached" : "MISSED") }
     { seed[$1] = $0 }
     END {
        for (s in seed) {
            split(seed[s], v, " "); n++
            frauds_new += v[6]; frauds_old += v[8]
            a += v[9] / v[13]; b += v[11] / v[15]; c += v[11] / v[7]
            d += v[17] / v[13]; f += v[19] / v[15]; g += v[19] / v[7]; h += v[5] / v[13]
            update += v[21]; full += v[22]
        }
        printf "after three updates, mean of %d seeds; judged on %d frauds of the new pattern and %d others\n", n, frauds_new, frauds_old
        say("new pattern: AP updated over trained anew", a / n, ".97")
        say("other patterns: AP updated over first model", c / n, ".98")
        say("other patterns: AP updated over trained anew", b / n, "")
        say("new pattern: AP without replay and consolidation over anew", d / n, "")
        say("other patterns: the same over first model", g / n, "")
        say("other patterns: the same over trained anew", f / n, "")
        say("new pattern: first model, never updated, over anew", h / n, "")
        say("CPU seconds, update over trained anew", update / full, "")
     }' "$work/all"
