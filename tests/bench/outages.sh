#!/bin/bash
# A real Kafka, a real PostgreSQL or the disk is away while `score` and `sink` work under a steady
# load (`make outages`):
#
#   outages.sh [SCENARIO..]      kafka-60 kafka-420 kafka-paused-60 postgres-60 disk-full-60; the
#                                number is the outage's length in seconds
#
# kafka        the broker is killed (SIGKILL), and started again
# kafka-paused the broker is paused (SIGSTOP), and goes on
# postgres     PostgreSQL ends at once, as after a crash, and is started again
# disk-full    the file system of state.dir has no byte left, then it has; half way `score` is
#              killed and must start from a checkpoint of before.  Needs the right to mount.
#
# RATE (500) transactions a second with labels, open loop, 8 partitions; what is due while the broker
# is away is sent when it is back.  One line a scenario:
#   shown      seconds until the metrics told of the outage: fraudd_kafka_errors_total grows,
#              fraudd_sink_database_up is 0, or fraudd_checkpoints_total{result="failed"} grows
#   again, caught up    seconds from the return to the first decision (to its append by the broker),
#              and to the last decision that was more than a second late: 0 where none was
#   sink       seconds from the return until less than two seconds of load waits for the sink
#   repeats    decisions sent again, with the same bytes
#   score, sink MB      resident memory before the outage, at most, and at the end
# A transaction that is lost, or decided twice in different ways, or not stored, or an alert that is
# not in the queue exactly once ends it with 1, and so does an outage that the metrics do not show.
# Times are printed, not judged.  SERVERS_DIR (/tmp) is where all files lie; KEEP=1 leaves the logs.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=${FRAUDD:-build/release/fraudd}
once=$(dirname "$program")/tests/bench/decided_once
rate=${RATE:-500} before=15 after=25 partitions=8
export OPENBLAS_NUM_THREADS=1 SERVERS_POSTGRES_COMMITS=on
unset OPENBLAS_CORETYPE
pids=() mounted=

work=$(mktemp -d "${SERVERS_DIR:-/tmp}"/fraudd-outages-XXXXXX)
cleanup() {
    [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    [ -z "$mounted" ] || umount "$mounted"
    [ -z "${paused:-}" ] || kill -CONT "$paused"
    servers_stop
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
fail() {
    echo "outages.sh: $name: $*" >&2
    tail -n 5 "$work/$name"-*.log >&2
    exit 1
}
now_ms() { date +%s%3N; }

site() { # topics and settings of one scenario
    mkdir -p "$work/$name-state"
    servers_topic "$name-tx" $partitions
    servers_topic "$name-decisions" $partitions message.timestamp.type=LogAppendTime
    servers_topic "$name-alerts" $partitions
    for topic in labels notices dead journal; do servers_topic "$name-$topic" 1; done
    psql -qtAX -d "$DATABASE" -c "CREATE DATABASE \"$name\"" || exit 1
    database=${DATABASE/dbname=postgres/dbname=$name}
    "$program" migrate --database "$database" >/dev/null || exit 1
    cat >"$work/$name.conf" <<END
brokers = "$BROKERS";
database = "$database";
model = "$work/model.fraudd";
log = "$name";
group = "$name-score";
sink-group = "$name-sink";
partitions = $partitions;
alert = { budget = 20; };
state = { dir = "$work/$name-state"; every = "5s"; };
http = { listen = "127.0.0.1:$page_port"; sink-listen = "127.0.0.1:$((page_port + 1))"; };
topics = { transactions = "$name-tx"; labels = "$name-labels"; notices = "$name-notices";
           decisions = "$name-decisions"; alerts = "$name-alerts"; dead-letters = "$name-dead";
           journal = "$name-journal"; };
END
}

page() { # page PORT: the metrics of score or sink; nothing where nobody answers
    (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3) 2>/dev/null
}
# Twice a second: time, then of score: Kafka's errors, failed and written checkpoints, resident KiB;
# of the sink: whether it has the database, lag, resident KiB.
sample() {
    while :; do
        { page "$page_port"; echo; page $((page_port + 1)) | sed 's/^/sink /'; } | awk -v now="$(now_ms)" '
            { gsub("\r", "") }
            $1 == "fraudd_kafka_errors_total" { errors = $2 }
            /^fraudd_checkpoints_total.*failed/ { failed = $2 }
            /^fraudd_checkpoints_total.*written/ { written = $2 }
            $1 == "process_resident_memory_bytes" { score = $2 / 1024 }
            $2 == "fraudd_sink_database_up" { up = $3 }
            $2 == "fraudd_kafka_lag" { lag = $3 }
            $2 == "process_resident_memory_bytes" { sink = $3 / 1024 }
            END { printf "%.0f %d %d %d %d %d %d %d\n", now, errors, failed, written, score, up, lag, sink }'
        sleep 0.4
    done >"$work/$name-samples"
}

await() { # await FILE TEXT TIMES
    local i
    for ((i = 0; i < 600; i++)); do
        [ "$(grep -c "$2" "$1")" -ge "$3" ] && return
        sleep 0.1
    done
    fail "$1 never said $2"
}
start_score() {
    "$program" score --config "$work/$name.conf" >"$work/$name-score-$1.log" 2>&1 &
    score=$!
    pids+=("$score")
}
start_all() {
    start_score 1
    "$program" sink --config "$work/$name.conf" >"$work/$name-sink.log" 2>&1 &
    sink=$!
    pids+=("$sink")
    await "$work/$name-score-1.log" event=partition_assigned $partitions
    await "$work/$name-sink.log" event=partition_assigned $((3 * partitions + 1))
    sample &
    sampler=$!
    pids+=("$sampler")
    "$program" produce --config "$work/$name.conf" --labels --rate "$rate" --limit $((rate * (before + length + after))) \
        "$work/payments.csv" >"$work/$name-produce.log" 2>&1 &
    produce=$!
    pids+=("$produce")
}
end_all() {
    kill "$score" "$sink" "$sampler" 2>/dev/null
    wait "$score" "$sink" "$sampler" 2>/dev/null
    pids=()
}

small_disk() { # state.dir on a file system of its own
    mounted=$work/$name-state
    mount -t tmpfs -o size=128m none "$mounted" || { mounted=; fail "cannot mount a file system"; }
}
fill_disk() {
    cat /dev/zero >"$mounted/filler" 2>/dev/null
    [ "$(df --output=avail "$mounted" | tail -1)" -eq 0 ] || fail "the disk is not full"
}
outage() {
    case $kind in
    kafka) servers_kafka_kill; left; servers_kafka_up || fail "the broker does not come back" ;;
    kafka-paused)
        paused=$(cat "$SERVERS_KAFKA_HOME/pid")
        kill -STOP "$paused"; left; kill -CONT "$paused"; paused= ;;
    postgres) servers_postgres_kill; left; servers_postgres_up || fail "PostgreSQL does not come back" ;;
    disk-full)
        fill_disk
        sleep $((length / 2))
        kill -9 "$score"
        wait "$score" 2>/dev/null
        start_score 2
        left
        until_true 30 "a start from a checkpoint" grep -q event=checkpoint_read "$work/$name-score-2.log"
        until_true 30 "a decision on a full disk" decides
        rm "$mounted/filler"
        until_true 30 "a checkpoint, now that there is room" grep -q 'event=checkpoint kind' "$work/$name-score-2.log" ;;
    esac
}
left() { # until `length` seconds after the outage began
    local ms=$((length * 1000 - $(now_ms) + began))
    [ $ms -le 0 ] || sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

decides() { page "$page_port" | grep -q '^fraudd_decisions_total [1-9]'; }
stored() { [ "$(psql -qtAX -d "$database" -c 'SELECT count(*) FROM decisions')" = "$1" ]; }
# Resident MB before, at most, at the end of column $1; of two processes one after the other, too.
resident() {
    awk -v c="$1" -v from="$began" '$c == 0 { next } $1 < from { b = $c } $c > m { m = $c } { e = $c }
        END { printf "%.0f %.0f %.0f", b / 1024, m / 1024, e / 1024 }' "$work/$name-samples"
}
shown() { # seconds until the metrics showed it; nothing: never
    awk -v from="$began" -v to="$returned" -v kind="$kind" '
        $1 < from { errors = $2; failed = $3 }
        $1 >= from && $1 <= to && (kind ~ /^kafka/ ? $2 > errors : kind == "postgres" ? $6 == 0 : $3 > failed) {
            printf "%.1f", ($1 - from) / 1000; exit }' "$work/$name-samples"
}
sink_after() { # the last sample in which much waits
    awk -v from="$returned" -v much=$((4 * rate)) '$1 > from && ($6 == 0 || $7 > much) { s = ($1 - from) / 1000 + .5 }
        END { printf "%.1f", s }' "$work/$name-samples"
}
one() { # one scenario: its line of the table
    local began returned total facts seen queue
    site
    [ "$kind" != disk-full ] || small_disk
    start_all
    sleep $before
    began=$(now_ms)
    outage
    returned=$(now_ms)
    wait "$produce" || fail "produce ended with $?: $(tail -1 "$work/$name-produce.log")"
    total=$((rate * (before + length + after)))
    until_true 600 "all decisions stored" stored $total
    sleep 2
    facts=$("$once" "$BROKERS" "$name" $partitions "$name-tx" "$name-decisions" "$name-alerts" "$returned") ||
        fail "lost or decided twice: $facts"
    eval "$facts"
    [ "$transactions" -eq $total ] || fail "$transactions of $total transactions are in the log"
    queue=$(psql -qtAX -F' ' -d "$database" -c "SELECT (SELECT count(*) FROM transactions), (SELECT count(*) FROM alerts),
        (SELECT count(DISTINCT (log, part, log_offset)) FROM alerts), (SELECT count(*) FROM rejects)")
    [ "$queue" = "$total $alerts $alerts 0" ] ||
        fail "stored: transactions, alerts, different alerts, rejects are $queue, not $total $alerts $alerts 0"
    seen=$(shown)
    [ -n "$seen" ] || fail "the metrics did not show it"
    # shellcheck disable=SC2154
    printf '%-18s %8d %7d %6d %7s %7.1f %9.1f %6s   %-16s %s\n' "$name" "$total" "$alerts" "$repeats" "$seen" "$again" \
        "$(awk -v s="$caught_up" 'BEGIN { print s < 0 ? 0 : s }')" "$(sink_after)" "$(resident 5)" "$(resident 8)"
    end_all
    [ -z "$mounted" ] || { umount "$mounted"; mounted=; }
}

name=start
[ $# -gt 0 ] || set -- kafka-60 kafka-420 kafka-paused-60 postgres-60 disk-full-60
longest=0
for scenario in "$@"; do
    length=${scenario##*-} kind=${scenario%-*}
    case $kind in
    kafka | kafka-paused | postgres | disk-full) [ "$length" -gt 0 ] 2>/dev/null ;;
    *) false ;;
    esac || { echo "outages.sh: $scenario is not kafka, kafka-paused, postgres or disk-full, with -SECONDS" >&2; exit 64; }
    longest=$((length > longest ? length : longest))
done
trap cleanup EXIT
servers_kafka || exit 1
servers_postgres || exit 1
trap cleanup EXIT
page_port=$(servers_free_port)
"$program" simulate --seed 11 --transactions $((rate * (before + longest + after) * 11 / 10)) --days 60 \
    --fraud-share .02 --label-delay-max 2d --out "$work/payments.csv" 2>/dev/null || exit 1
"$program" simulate --seed 8 --transactions 60000 --days 60 --out "$work/history.csv" 2>/dev/null || exit 1
"$program" train --input "$work/history.csv" --until 2026-02-20 --epochs 1 --out "$work/model.fraudd" >/dev/null 2>&1 || exit 1
echo "$(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1 /proc/loadavg) before; $rate tx/s"
printf '%-18s %8s %7s %6s %7s %7s %9s %6s   %-16s %s\n' outage payments alerts repeats shown again 'caught up' sink 'score MB' 'sink MB'
number=0
for scenario in "$@"; do # a scenario may be named several times
    number=$((number + 1))
    name=$number-$scenario length=${scenario##*-} kind=${scenario%-*}
    one
done
echo "nothing lost, nothing doubled"
