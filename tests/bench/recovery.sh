#!/bin/bash
# How long nobody decides, on a real Kafka, while transactions arrive (`make bench-recovery`):
#
#   recovery.sh [CARDS..]        10000 100000 1000000
#
# For each number of cards: EVENTS (2) payments of each are decided, then RATE (1000) transactions a
# second come in open loop, 8 partitions, and
#   stopped   `score` is told to end (SIGTERM) and started again: one that ends so leaves its group
#   killed    it is killed (SIGKILL) and started again: the group must miss it first (session.timeout.ms)
#   takeover  there are two, and one is killed: its partitions go to the other
# Seconds from the start of the process (takeover: from the kill), one after the other, as the line
# `recovered` of its log says:
#   start     until its model is loaded (takeover: until the group has dealt the dead one's partitions)
#   group     until it has its partitions
#   logs      until labels and notices are read as well
#   unpack    the state's files are read, index: cards and places are found again; cpu: of both,
#             in seconds of one core
#   repeat    the journal is repeated from the state's position on
#   decide    a batch of new ones is decided
# and by the logs' times:
#   decides   from the start until every partition that it got has a new decision in the log
#   on time   to the last decision that was more than a second late
# state and files: their size.
# EVERY (10s) is state.every.  SERVERS_DIR (/tmp) is where all files lie; KEEP=1 leaves the logs.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=${FRAUDD:-build/release/fraudd}
once=$(dirname "$program")/tests/bench/decided_once
rate=${RATE:-1000} events=${EVENTS:-2} partitions=8
export OPENBLAS_NUM_THREADS=1
unset OPENBLAS_CORETYPE
pids=() scores=0

work=$(mktemp -d "${SERVERS_DIR:-/tmp}"/fraudd-recovery-XXXXXX)
cleanup() {
    [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    servers_stop
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
fail() {
    echo "recovery.sh: $name: $*" >&2
    tail -n 5 "$work/$name"-score-*.log >&2
    exit 1
}
now_ms() { date +%s%3N; }

site() {
    mkdir -p "$work/$name-state"
    servers_topic "$name-tx" $partitions
    servers_topic "$name-decisions" $partitions message.timestamp.type=LogAppendTime
    servers_topic "$name-alerts" $partitions
    for topic in labels notices dead journal; do servers_topic "$name-$topic" 1; done
    cat >"$work/$name.conf" <<END
brokers = "$BROKERS";
model = "$work/model.fraudd";
log = "$name";
group = "$name-score";
partitions = $partitions;
state = { dir = "$work/$name-state"; every = "${EVERY:-10s}"; cards = $((cards * 5 / 4)); };
http = { listen = "127.0.0.1:0"; };
topics = { transactions = "$name-tx"; labels = "$name-labels"; notices = "$name-notices";
           decisions = "$name-decisions"; alerts = "$name-alerts"; dead-letters = "$name-dead";
           journal = "$name-journal"; };
END
}
# rows FROM COUNT: payments of all cards in turn, number FROM and the COUNT - 1 after it
rows() {
    awk -v from="$1" -v n="$2" -v cards="$cards" 'BEGIN {
        for (i = from; i < from + n; i++) {
            t = i * 20 # ms since the first of January
            printf "{\"id\":\"t%d\",\"ts\":\"2026-01-%02dT%02d:%02d:%02d.%03dZ\",\"card\":\"c%07d\",\"type\":\"purchase\",", \
                i, 1 + t / 86400000, t / 3600000 % 24, t / 60000 % 60, t / 1000 % 60, t % 1000, i * 7919 % cards
            printf "\"amount\":\"%d.%02d\",\"currency\":\"EUR\",\"merchant\":\"m%05d\",\"mcc\":\"5411\",\"country\":\"DE\",\"channel\":\"pos\"}\n", \
                5 + i % 90, i % 100, i * 31 % 20011
        } }'
}
start_score() { # its number is in $scores
    scores=$((scores + 1))
    log=$work/$name-score-$scores.log
    "$program" score --config "$work/$name.conf" >"$log" 2>&1 &
    score=$!
    pids+=("$score")
}
said() { [ "$(grep -c "$2" "$1")" -ge "$3" ]; } # said FILE TEXT TIMES
settled() { # a checkpoint was begun and written since this was first asked, so it holds all that came before
    said "$log" 'event=checkpoint kind' $((written + 2))
}
await_checkpoint() {
    written=$(grep -c 'event=checkpoint kind' "$log")
    until_true 300 "two more checkpoints" settled
}
load() {
    "$program" produce --config "$work/$name.conf" --rate "$rate" "$work/load.jsonl" >"$work/$name-load.log" 2>&1 &
    producer=$!
    pids+=("$producer")
}
at_ms() { # at_ms FILE TEXT: when the file said it last
    date +%s%3N -d "$(grep "$2" "$1" | tail -n 1 | sed 's/^ts=\([^ ]*\) .*/\1/')"
}
row() { # row WHAT BEGAN-MS: when everything is decided in time again
    local facts
    until_true 300 "new decisions" said "$log" event=recovered "$3"
    sleep 25
    facts=$("$once" "$BROKERS" "$name" $partitions "$name-tx" "$name-decisions" "$name-alerts" "$2")
    # differing decisions are a bug; missing ones are still on their way
    eval "$facts"
    # shellcheck disable=SC2154
    [ "$differing" -eq 0 ] || fail "decided twice in different ways: $facts"
    # shellcheck disable=SC2154
    awk -v c="$cards" -v what="$1" -v all="$all_again" -v late="$caught_up" -v files="$(file_mb)" \
        -v recovered=$(($(at_ms "$log" event=recovered) - $2)) -v line="$(grep event=recovered "$log" | tail -n 1)" \
        -v state="$(grep event=checkpoint_read "$log" | tail -n 1)" '
        function said(line, name) { return match(line, " " name "=[0-9]+") ? substr(line, RSTART + length(name) + 2, RLENGTH - length(name) - 2) : 0 }
        BEGIN {
        printf "%8d  %-9s %8.0f %8.0f  %6.1f", c, what, said(state, "bytes") / 1048576, files, (recovered - said(line, "all_ms")) / 1e3
        n = split("group logs unpack index repeat decide", phase)
        for (i = 1; i <= n; i++) printf " %6.1f", said(line, phase[i] "_ms") / 1e3
        printf " %6.1f  %7.1f %7.1f\n", said(state, "cpu_ms") / 1e3, all, late }'
}
file_mb() { du -sm "$work/$name-state" | cut -f1; }
one() {
    local began
    site
    rows 0 $((cards * events)) >"$work/first.jsonl"
    rows $((cards * events)) $((rate * 400)) >"$work/load.jsonl"
    start_score
    "$program" produce --config "$work/$name.conf" "$work/first.jsonl" >"$work/$name-first.log" 2>&1 || fail "produce failed"
    rm "$work/first.jsonl"
    until_true 1200 "all decided" said "$log" " decided=$((cards * events)) " 1
    load
    await_checkpoint

    kill "$score"
    wait "$score" 2>/dev/null
    began=$(now_ms)
    start_score
    row stopped "$began" 1

    await_checkpoint
    kill -9 "$score"
    wait "$score" 2>/dev/null
    began=$(now_ms)
    start_score
    row killed "$began" 1

    dies=$score
    start_score
    until_true 100 "partitions of a second process" said "$log" event=checkpoint_read 1
    await_checkpoint
    began=$(now_ms)
    kill -9 "$dies"
    wait "$dies" 2>/dev/null
    row takeover "$began" 2

    kill "$producer" "$score" 2>/dev/null
    wait "$producer" "$score" 2>/dev/null
    pids=()
    rm -r "$work/$name-state" "$work/load.jsonl"
}

name=start
[ $# -gt 0 ] || set -- 10000 100000 1000000
trap cleanup EXIT
servers_kafka || exit 1
trap cleanup EXIT
"$program" simulate --seed 8 --transactions 60000 --days 60 --out "$work/history.csv" 2>/dev/null || exit 1
"$program" train --input "$work/history.csv" --until 2026-02-20 --epochs 1 --out "$work/model.fraudd" >/dev/null 2>&1 || exit 1
echo "$(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1 /proc/loadavg) before; $rate tx/s, $events payments a card"
printf '%8s  %-9s %8s %8s  %6s %6s %6s %6s %6s %6s %6s %6s  %7s %7s\n' cards what 'state/MB' 'files/MB' start group logs unpack index repeat decide cpu decides 'on time'
for cards in "$@"; do
    name=recovery-$cards
    one
done
