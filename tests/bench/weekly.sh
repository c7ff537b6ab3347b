#!/bin/bash
# The weekly update against full retraining, week by week, on the Fraud Detection Handbook's stream.
#   weekly.sh DATA [--seeds "1"] [--weeks 13] [--full-every 1] [--threads 1] [--work DIR] [-- TRAIN OPTIONS]
# Day 0 is 2018-04-01.  A full training up to day 58 is the first model in service.  Week k = 1, 2, .. ends
# on day 65 + 7 k: the model in service is updated (`train --from`; where its gate says no, the old one
# stays), beside it one is trained anew (of every --full-every weeks the first; 0: never), and after another week,
# when verdicts have come, both score the seven days from 72 + 7 k on, which neither has seen; a third
# one is the first model, never updated.  Cards known to be defrauded are left out, as the handbook's
# protocol does; where the history ends before those seven days do, an update meets its gate alone.
# Printed are a line a week, the parts of the time, and the bounds wanted of the whole.
# --work keeps models and results in DIR, so that a stopped run goes on and a longer one begins with
# what is there; remove it when the program has changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/peers.sh
. tests/bench/peers.sh
data=${1:-}
[[ -f $data ]] || { sed -n '2,12p' "$0"; exit 64; }
shift
seeds=1; weeks=13; every=1; threads=1; keep=
while [[ $# -gt 0 ]]; do
    case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --weeks) weeks=$2; shift 2 ;;
    --full-every) every=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --work) keep=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "weekly.sh: unknown option $1" >&2; exit 64 ;;
    esac
done
peers_work weekly "$keep"
export OPENBLAS_NUM_THREADS=1
fraudd=${FRAUDD:-build/release/fraudd}
first=58
day() { date -u -d "2018-04-01 + $1 days" +%F; }
# The history's last day.
ends=$(tail -n 1 "$data" | awk -F , -v from="$(date -u -d 2018-04-01 +%s)" '{ printf "%d", ($2 - from) / 86400 }')

# timed FILE COMMAND..: runs it and leaves its CPU seconds in FILE; its exit code is that of COMMAND
timed() {
    local file=$1 code=0 TIMEFORMAT='%U %S'
    shift
    { time "$@" >&3 2>&4 || code=$?; } 3>&1 4>&2 2>"$file.part"
    mv "$file.part" "$file"
    return $code
}

# full SEED DAY OPTIONS..: a full training up to DAY, unless it is there
full() {
    local at=$work/$1/full-$2 seed=$1 until=$2
    shift 2
    [[ ! -f $at.fraudd ]] || return 0
    timed "$at.time" "$fraudd" train --full --input "$data" --until "$(day "$until")" --seed "$seed" \
        --threads "$threads" --out "$at.part" "$@" >"$at.log" 2>&1 || { cat "$at.log" >&2; exit 1; }
    mv "$at.part.state" "$at.fraudd.state"
    mv "$at.part" "$at.fraudd"
}

# update SEED DAY MODEL OPTIONS..: MODEL updated up to DAY, or update-DAY.refused by the gate
update() {
    local at=$work/$1/update-$2 seed=$1 until=$2 from=$3 code=0
    shift 3
    [[ ! -f $at.fraudd && ! -f $at.refused ]] || return 0
    timed "$at.time" "$fraudd" train --from "$from" --input "$data" --until "$(day "$until")" \
        --seed "$seed" --threads "$threads" --out "$at.part" "$@" >"$at.log" 2>"$at.err" || code=$?
    case $code in
    0) mv "$at.part.state" "$at.fraudd.state"
       mv "$at.part" "$at.fraudd" ;;
    1) grep 'the gate is not passed' "$at.err" >"$at.refused" ;;
    *) cat "$at.err" >&2; exit 1 ;;
    esac
}

# judge MODEL DAY FILE: "AUC AP CP@100" of the week from DAY on in FILE, unless it is there
judge() {
    [[ ! -f $3 ]] || return 0
    "$fraudd" backtest --input "$data" --model "$1" --from "$(day "$2")" --to "$(day $(($2 + 7)))" \
        --leave-out-known-cards --bootstrap 0 2>"$3.err" >"$3.log" || { cat "$3.err" >&2; exit 1; }
    awk '/^  AUC / { auc = $2 } /^  AP / { ap = $2 } /^  CP@/ { cp = $2; n++ }
         END { if (n != 2) exit 1; print auc, ap, cp }' "$3.log" >"$3.part"
    mv "$3.part" "$3"
}

# one_week SEED WEEK OPTIONS..: a line for the table; `served` becomes what is in service after it
one_week() {
    local seed=$1 k=$2 end=$((65 + 7 * $2)) gate=passed own="- - -" theirs="- - -" theirs_s=- stays=-
    shift 2
    update "$seed" "$end" "$served" "$@"
    if [[ -f $work/$seed/update-$end.refused ]]; then
        gate=refused
    else
        served=$work/$seed/update-$end.fraudd
    fi
    if ((end + 13 <= ends)); then
        judge "$served" $((end + 7)) "$work/$seed/update-$end.figures"
        judge "$work/$seed/full-$first.fraudd" $((end + 7)) "$work/$seed/first-$end.figures"
        own=$(cat "$work/$seed/update-$end.figures")
        stays=$(cut -d ' ' -f 2 "$work/$seed/first-$end.figures")
    fi
    if ((every > 0 && (k - 1) % every == 0 && end + 13 <= ends)); then
        full "$seed" "$end" "$@"
        judge "$work/$seed/full-$end.fraudd" $((end + 7)) "$work/$seed/full-$end.figures"
        theirs=$(cat "$work/$seed/full-$end.figures")
        theirs_s=$(awk '{ printf "%.0f", $1 + $2 }' "$work/$seed/full-$end.time")
    fi
    # shellcheck disable=SC2046,SC2086
    echo "$seed" "$k" "$end" $own $theirs "$stays" \
        $(awk '{ printf "%.1f", $1 + $2 }' "$work/$seed/update-$end.time") $theirs_s "$gate" \
        $(sed -n 's/^seconds of CPU: reading \(.*\), features \(.*\), training \(.*\), judging \(.*\)$/\1 \2 \3 \4/p' \
            "$work/$seed/update-$end.log")
}

echo "                        updated               trained anew           first   ratio   CPU seconds"
echo "seed week until     AUC     AP CP@100     AUC     AP CP@100      AP   of AP  update   full  gate"
: >"$work/all"
for seed in $seeds; do
    mkdir -p "$work/$seed"
    full "$seed" "$first" "$@"
    served=$work/$seed/full-$first.fraudd
    for ((k = 1; k <= weeks; k++)); do
        one_week "$seed" "$k" "$@" >"$work/line"
        tee -a "$work/all" <"$work/line" | awk '
            { printf "%4d %4d %5d  %6s %6s %6s  %6s %6s %6s  %6s  %6s  %6s %6s  %s\n", $1, $2, $3, $4, $5, $6, $7,
                     $8, $9, $10, $8 == "-" ? "-" : sprintf("%.4f", $5 / $8), $11, $12, $13 }'
    done
done
# What is wanted, of the weeks for which there is a full training.  The interval's resamples are of weeks.
awk 'function mean_of(list, from, to,    i, s) { for (i = from; i <= to; i++) s += list[i]; return s / (to - from + 1) }
     function say(what, value, bound, ok) { printf "%-58s %s, wanted %s: %s\n", what, value, bound, ok ? "reached" : "MISSED" }
     { updates++; passed += $13 == "passed"; part[1] += $14; part[2] += $15; part[3] += $16; part[4] += $17; all += $11 }
     $8 != "-" { if (!($2 in n)) week[++weeks] = $2
                 n[$2]++; sum[$2] += $5 / $8; update += $11; full += $12; stays += $10 / $8; lines++ }
     END {
        if (weeks == 0) { print "no week has a full training"; exit }
        least = 9
        for (i = 1; i <= weeks; i++) { r[i] = sum[week[i]] / n[week[i]]; if (r[i] < least) least = r[i] }
        srand(1)
        for (b = 1; b <= 2000; b++) { s = 0; for (i = 1; i <= weeks; i++) s += r[int(rand() * weeks) + 1]; boot[b] = s / weeks }
        for (b = 2; b <= 2000; b++) { v = boot[b]; for (c = b - 1; c > 0 && boot[c] > v; c--) boot[c + 1] = boot[c]; boot[c + 1] = v }
        m = mean_of(r, 1, weeks)
        say("AP over that of full retraining, mean of " weeks " weeks", sprintf("%.4f (95 %%: %.4f to %.4f)", m, boot[50], boot[1951]), "at least .99", m >= .99)
        say("the least of a week", sprintf("%.4f", least), "at least .96", least >= .96)
        ends = weeks >= 8 ? 4 : int(weeks / 2)
        if (ends > 0) { d = mean_of(r, 1, ends) - mean_of(r, weeks - ends + 1, weeks)
                        say("mean of the first " ends " weeks less that of the last " ends, sprintf("%+.4f", d), "at most .01", d <= .01) }
        say("CPU seconds over those of full retraining, same weeks", sprintf("%.4f", update / full), "at most .1", update / full <= .1)
        printf "  a mean update, seconds of CPU: reading %.1f, features %.1f, training %.1f, judging %.1f, all %.1f; full %.0f\n", \
               part[1] / updates, part[2] / updates, part[3] / updates, part[4] / updates, all / updates, full / lines
        say("updates that pass the gate", sprintf("%d of %d", passed, updates), "12 of 13", passed >= updates * 12 / 13)
        printf "the first model, never updated, reaches %.4f of the AP of full retraining\n", stays / lines
     }' "$work/all"
