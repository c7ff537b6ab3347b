#!/bin/bash
# Figures against a real Kafka and a real PostgreSQL on this machine, everything on the same cores:
#
#   kafka.sh                     all of them (`make bench-kafka`)
#   kafka.sh MEASUREMENT..       latency, throughput, idle; more options for `score` and `produce` behind
#                                colons, to compare: latency:--kafka.linger.ms=5:--kafka.linger.ms=1
#
# latency     open loop at RATE (5000) transactions a second for SECONDS (30), 8 partitions, the sink
#             running: from the time a transaction was due to its decision's append
# alone       the same without the sink, since PostgreSQL is seldom on the machine that scores
# throughput  a topic filled with COUNT (600000) transactions, then drained by one `score`, the sink
#             running
# idle        CPU of `score` with 8 empty partitions
#
# SERVERS_DIR (/tmp) is where broker and PostgreSQL keep their data; LINES_TO=FILE gets each latency.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=${FRAUDD:-build/release/fraudd}
times=$(dirname "$program")/tests/bench/kafka_times
rate=${RATE:-5000} seconds=${SECONDS_LONG:-30} count=${COUNT:-600000}
export OPENBLAS_NUM_THREADS=1
unset OPENBLAS_CORETYPE
score_pid=0 sink_pid=0 sites=0
hz=$(getconf CLK_TCK)

work=$(mktemp -d "${SERVERS_DIR:-/tmp}"/fraudd-bench-XXXXXX)
cleanup() {
    [ "$score_pid" -eq 0 ] || kill "$score_pid" 2>/dev/null
    [ "$sink_pid" -eq 0 ] || kill "$sink_pid" 2>/dev/null
    wait 2>/dev/null
    servers_stop
    rm -rf "$work"
}

ticks() { # ticks PID: user and system time of a process, in clock ticks
    [ "$1" -ne 0 ] || { echo 0; return; } # not started
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '{ print $12 + $13 }'
}
postgres_ticks() { # all of its processes, also those that have ended
    local pid=0
    pid=$(head -1 "$SERVERS_POSTGRES/data/postmaster.pid")
    { sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 + $14 + $15 }'
      for child in $(cat "/proc/$pid/task/$pid/children"); do ticks "$child"; done; } |
        awk '{ s += $1 } END { print s }'
}

site() { # site NAME: topics and settings of one measurement
    sites=$((sites + 1))
    name=$1-$sites
    servers_topic "$name-tx" 8
    servers_topic "$name-decisions" 8 message.timestamp.type=LogAppendTime
    servers_topic "$name-alerts" 8
    for topic in labels notices dead journal; do servers_topic "$name-$topic" 1; done
    cat > "$work/$name.conf" <<END
brokers = "$BROKERS";
database = "$DATABASE";
model = "$work/model.fraudd";
log = "$name";
group = "$name-score";
sink-group = "$name-sink";
partitions = 8;
http = { listen = "127.0.0.1:$page_port"; sink-listen = ""; };
topics = { transactions = "$name-tx"; labels = "$name-labels"; notices = "$name-notices";
           decisions = "$name-decisions"; alerts = "$name-alerts"; dead-letters = "$name-dead";
           journal = "$name-journal"; };
END
}

await() { # await FILE TEXT TIMES: until the file holds the text so often
    local i seen
    for ((i = 0; i < 1200; i++)); do
        seen=$(grep -c "$2" "$1" 2>/dev/null)
        [ "${seen:-0}" -ge "$3" ] && return
        sleep 0.1
    done
    echo "kafka.sh: $1 never said $2" >&2
    tail -5 "$1" >&2
    exit 1
}

start_score() { # shellcheck disable=SC2086
    "$program" score --config "$work/$name.conf" $score_args >"$work/$name-score.log" 2>&1 &
    score_pid=$!
    await "$work/$name-score.log" event=partition_assigned 8
}
start_sink() {
    "$program" sink --config "$work/$name.conf" >"$work/$name-sink.log" 2>&1 &
    sink_pid=$!
    await "$work/$name-sink.log" event=partition_assigned 25
}
stop_daemons() {
    local pid
    for pid in "$score_pid" "$sink_pid"; do
        [ "$pid" -eq 0 ] || kill "$pid" 2>/dev/null
    done
    wait "$score_pid" "$sink_pid" 2>/dev/null
    score_pid=0 sink_pid=0
}
decided() { # transactions that `score` has decided, from its metrics page
    exec 3<>"/dev/tcp/127.0.0.1/$page_port"
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    awk '$1 == "fraudd_decisions_total" { print $2 }' <&3
    exec 3>&-
}
remember() {
    score_0=$(ticks "$score_pid") sink_0=$(ticks "$sink_pid") began=$(date +%s.%N)
    broker_0=$(ticks "$(cat "$SERVERS_KAFKA_HOME/pid")") postgres_0=$(postgres_ticks)
}
costs() { # costs N: CPU since `remember`, in microseconds a transaction
    awk -v n="$1" -v hz="$hz" -v from="$began" -v to="$(date +%s.%N)" -v cores="$(nproc)" \
        -v s=$(($(ticks "$score_pid") - score_0)) -v k=$(($(ticks "$sink_pid") - sink_0)) \
        -v b=$(($(ticks "$(cat "$SERVERS_KAFKA_HOME/pid")") - broker_0)) \
        -v p=$(($(postgres_ticks) - postgres_0)) 'BEGIN {
        u = 1e6 / hz / n; wall = to - from
        printf "CPU a transaction: score %.1f, sink %.1f, PostgreSQL %.1f, broker %.1f us", \
            s * u, k * u, p * u, b * u
        printf " (of %.1f s on %d cores: %.0f %%)\n", wall, cores, (s + k + b + p) / hz / wall / cores * 100
    }'
}

latency() { # latency NAME OPTIONS
    echo "== $1, open loop, $rate tx/s for $seconds s, 8 partitions${2:+: $2}"
    site "$1"
    start_score
    [ "$1" = alone ] || start_sink
    remember
    # shellcheck disable=SC2086
    "$program" produce --config "$work/$name.conf" --rate "$rate" --limit $((rate * seconds)) \
        $produce_args "$work/payments.jsonl" || exit 1
    costs $((rate * seconds))
    sleep 1
    "$times" "$BROKERS" "$name-tx" "$name-decisions" 5 ${LINES_TO:+"$LINES_TO"}
    stop_daemons
}

throughput() {
    local i now
    echo "== throughput, Kafka to Kafka, $count transactions waiting, 8 partitions"
    site throughput
    "$program" produce --config "$work/$name.conf" --limit "$count" "$work/payments.jsonl" ||
        exit 1
    start_sink
    start_score
    remember
    for ((i = 0; i < 3000; i++)); do
        sleep 0.1
        now=$(decided) # nothing before the page has been filled
        [ "${now:-0}" -lt "$count" ] || break
    done
    costs "$count"
    "$times" "$BROKERS" "$name-tx" "$name-decisions" | head -1
    stop_daemons
}

idle() {
    local before long=20
    echo "== idle, 8 empty partitions"
    site idle
    start_score
    sleep 5
    before=$(ticks "$score_pid")
    sleep $long
    awk -v t=$(($(ticks "$score_pid") - before)) -v hz="$hz" -v s=$long \
        'BEGIN { printf "score uses %.2f %% of a core\n", t / hz / s * 100 }'
    kill "$score_pid"; wait "$score_pid" 2>/dev/null
    score_pid=0
}

servers_kafka || exit 1
servers_postgres || exit 1
page_port=$(servers_free_port)
trap cleanup EXIT
"$program" migrate --database "$DATABASE" >/dev/null || exit 1
most=$((count > rate * seconds ? count : rate * seconds))
"$program" simulate --seed 9 --transactions $((most + most / 10)) --days 90 --format jsonl \
    --out "$work/payments.jsonl" 2>/dev/null || exit 1
"$program" simulate --seed 8 --transactions 60000 --days 60 --out "$work/history.csv" 2>/dev/null
"$program" train --input "$work/history.csv" --until 2026-02-20 --epochs 1 \
    --out "$work/model.fraudd" >/dev/null 2>&1 || exit 1
sync # or the kernel writes these files back half a minute later, and the broker waits behind them
echo "$(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1 /proc/loadavg) before"
[ $# -gt 0 ] || set -- throughput latency idle # the first one warms the broker's compiler up
for what in "$@"; do
    IFS=: read -r what score_args produce_args <<<"$what"
    case $what in
    latency | alone) latency "$what" "$score_args${produce_args:+, produce $produce_args}" ;;
    throughput | idle) "$what" ;;
    *) echo "kafka.sh: $what is not latency, alone, throughput or idle" >&2; exit 64 ;;
    esac
done
