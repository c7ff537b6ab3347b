#!/bin/bash
# The daemons where something is missing or goes away: one clear line and the documented exit code,
# or a retry that log and metrics show, without filling the log; SIGTERM always ends them in 5 s.
# Besides: reload, pages, idle cost.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE TEST_BROKERS # ours are stopped and started
servers_scratch refusals
servers_kafka && servers_postgres || { echo "no servers"; exit 1; }
fail() { echo "FAIL: $*"; tail -n 40 "$dir"/*.log "$dir/out" 2>/dev/null; exit 1; }

"$program" simulate --cards 300 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"

conf=$dir/fraudd.conf
settings() { # settings BROKERS DATABASE [FURTHER]
    cat >"$conf" <<END
brokers = "$1";
database = "$2";
model = "$dir/model.fraudd";
partitions = 8;
http = { listen = "127.0.0.1:$score_port"; sink-listen = "127.0.0.1:$sink_port"; stall = "20s"; };
${3:-}
END
}
score_port=$(servers_free_port)
sink_port=$((score_port + 1))
expect() { # expect CODE "WORDS" VERB ARGUMENTS..: it ends by itself with one line
    local code=$1 words=$2 got
    shift 2
    timeout 60 "$program" "$@" --config "$conf" >"$dir/out" 2>&1
    got=$?
    grep "^fraudd $1: " "$dir/out" >"$dir/told"
    [ "$got" -eq "$code" ] && grep -qF -- "$words" "$dir/told" && [ "$(wc -l <"$dir/told")" -eq 1 ] ||
        fail "fraudd $*: exit code $got, wanted $code and one line with \"$words\""
}
start() { # start VERB: sets pid and log
    log=$dir/$1.log
    : >"$log"
    "$program" "$1" --config "$conf" >"$log" 2>&1 &
    pid=$!
    pids+=("$pid")
}
within() { awk "BEGIN { exit !($1 < $2 * $(busy_times)) }"; } # within MS MS_WHEN_IDLE
stop() { # stop CODE: SIGTERM, ended within 5 s
    local begun=$EPOCHREALTIME took
    kill -TERM "$pid"
    wait "$pid"
    local got=$?
    took=$(awk "BEGIN { print int(($EPOCHREALTIME - $begun) * 1000) }")
    [ "$got" -eq "$1" ] || fail "exit code $got after SIGTERM, wanted $1"
    within "$took" 5000 || fail "$took ms from SIGTERM to the end"
}
page() { curl -s --max-time 5 "http://127.0.0.1:$1"; }
status() { curl -s --max-time 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1"; }
metric() { page "$1/metrics" | awk -v name="$2" '$1 == name { print $2 }'; } # metric PORT NAME
at_least() { local v; v=$(metric "$1" "$2"); [ -n "$v" ] && [ "${v%.*}" -ge "$3" ]; }
is() { [ "$(status "$1")" = "$2" ]; }

# ---- what must be there at the start ----
settings "$BROKERS" "$DATABASE"
expect 66 'topic "transactions" does not exist' score
expect 66 "run \`fraudd migrate\` first" sink
"$program" migrate --config "$conf" >"$dir/out" || fail "migrate"
expect 66 'topic "transactions" does not exist' sink
settings "$BROKERS" "${DATABASE/dbname=postgres/dbname=none}"
expect 66 '"none" does not exist; create it or change `database`' sink
servers_sql "CREATE ROLE keyed LOGIN PASSWORD 'right'"
data=$SERVERS_POSTGRES/data
{ echo "host all keyed 127.0.0.1/32 scram-sha-256"; cat "$data/pg_hba.conf"; } >"$dir/hba" &&
    cat "$dir/hba" >"$data/pg_hba.conf"
servers_sql "SELECT pg_reload_conf()" >/dev/null
sleep 1
settings "$BROKERS" "${DATABASE/user=fraudd/user=keyed} password=guess"
expect 77 'refused user "keyed"; check the password' sink
! grep -q guess "$dir/out" || fail "the password was shown"

# ---- no broker: waits, visibly ----
for brokers in 127.0.0.1:1 no-such-host.invalid:9092; do
    settings "$brokers" "$DATABASE"
    start score
    until_true 20 "errors in the metrics" at_least "$score_port" fraudd_kafka_errors_total 3
    is "$score_port/healthz" 200 || fail "not healthy without a broker"
    is "$score_port/readyz" 503 || fail "ready without a broker"
    sleep 8
    lines=$(grep -c 'event=kafka' "$log")
    [ "$lines" -ge 1 ] && [ "$lines" -le 40 ] || fail "$lines lines about $brokers in 10 s"
    grep -qF "${brokers%:*}" "$log" || fail "the log does not name $brokers"
    stop 0
done

# ---- it all comes up, and the pages say so ----
for t in transactions decisions; do servers_topic $t 8; done
for t in labels notices alerts dead-letters journal; do servers_topic $t 1; done
settings "$BROKERS" "$DATABASE" "sink = { linger = \"100ms\"; };"
start sink
sink_pid=$pid
start score
until_true 60 "score is ready" is "$score_port/readyz" 200
until_true 60 "the sink is ready" is "$sink_port/readyz" 200
page "$score_port/metrics" >"$dir/score.page"
page "$sink_port/metrics" >"$dir/sink.page"
sed -n 's/^| `\([a-z_]*\)` | [a-z]* | [^|]*| \([a-z]*\) .*/\1 \2/p' etc/metrics.md >"$dir/documented"
[ "$(wc -l <"$dir/documented")" -gt 50 ] || fail "etc/metrics.md was not read"
while read -r name who; do
    for daemon in score sink; do
        if [ "$who" = both ] || [ "$who" = $daemon ]; then
            grep -q "^# TYPE $name " "$dir/$daemon.page" || fail "$daemon does not show $name"
        else
            ! grep -q "^# TYPE $name " "$dir/$daemon.page" || fail "$daemon shows $name"
        fi
    done
done <"$dir/documented"
cat "$dir"/*.page | sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' | sort -u | while read -r name; do
    grep -q "^$name " "$dir/documented" || { echo "FAIL: $name is not documented"; exit 1; }
done || exit 1
[ "$(grep -c '^fraudd_threshold_probability{' "$dir/score.page")" -eq 8 ] || fail "8 thresholds wanted"

# ---- idle: 8 empty partitions cost under 1 % of a core ----
sleep 3
cpu() { metric "$1" process_cpu_seconds_total; }
idle_is_cheap() {
    local idle a b
    a=$(cpu "$score_port") b=$(cpu "$sink_port")
    sleep 20
    idle=$(awk "BEGIN { printf \"%.2f %.2f\", ($(cpu "$score_port") - $a) * 5, ($(cpu "$sink_port") - $b) * 5 }")
    echo "idle: score ${idle% *} %, sink ${idle#* } % of a core"
    awk "BEGIN { split(\"$idle\", v, \" \"); exit !(v[1] < 1 && v[2] < 1) }"
}
# What runs beside makes every wake-up dearer, so the best of three counts.
idle_is_cheap || idle_is_cheap || idle_is_cheap || fail "idle costs more than 1 % of a core"

# ---- reload ----
settings "$BROKERS" "$DATABASE" 'alert = { budget = 800; floor = 2; };'
kill -HUP "$pid"
until_true 10 "a refused reload" grep -q 'event=reload_refused' "$log"
grep 'event=reload_refused' "$log" | grep -q "$conf line 6: alert.floor" || fail "no line of the bad setting"
left() { metric "$score_port" 'fraudd_alert_budget_left{partition=\"3\"}'; }
[ "$(left)" = 12.5 ] || fail "budget left $(left), wanted 12.5"
settings "$BROKERS" "$DATABASE" 'alert = { budget = 800; }; log = "another";'
kill -HUP "$pid"
until_true 10 "a reload" grep -q 'event=reloaded need_restart=1' "$log"
grep -q 'event=setting_changed name=alert.budget was="100" is="800"' "$log" || fail "no changed budget"
grep -q 'event=setting_waits name=log was="transactions-1" is="another"' "$log" || fail "no waiting log"
budget_is_100() { [ "$(left)" = 100 ]; }
until_true 5 "the new budget in force" budget_is_100
[ "$(metric "$score_port" 'fraudd_reloads_total{result=\"refused\"}')" = 1 ] || fail "refused reloads"
settings "$BROKERS" "$DATABASE" "sink = { linger = \"100ms\"; };"

# ---- the database goes away and comes back ----
servers_as_postgres "$SERVERS_POSTGRES_BIN/pg_ctl" stop -s -w -m fast -D "$data"
OPENBLAS_NUM_THREADS=1 "$program" produce --config "$conf" --shift --rate 2000 "$dir/history.csv" >"$dir/out" 2>&1 ||
    fail "produce"
until_true 20 "the outage in the metrics" at_least "$sink_port" fraudd_sink_retries_total 3
is "$sink_port/readyz" 503 && is "$sink_port/healthz" 200 || fail "the sink's pages in an outage"
[ "$(metric "$sink_port" fraudd_sink_database_up)" = 0 ] || fail "database_up in an outage"
until_true 30 "scoring goes on" at_least "$score_port" fraudd_transactions_received_total 16000
sleep 5
lines=$(grep -c 'event=database_away\|event=write_failed\|event=publish_failed' "$dir/sink.log")
[ "$lines" -ge 1 ] && [ "$lines" -le 15 ] || fail "$lines lines about the database"
servers_as_postgres "$SERVERS_POSTGRES_BIN/pg_ctl" start -s -w -D "$data" -l "$data/server.log" \
    -o "$(sed -n 's/^[^ ]* //p' "$data/postmaster.opts" | tr -d '"' | sed 's/-D [^ ]* //')" ||
    fail "PostgreSQL did not come back"
until_true 30 "the sink is ready again" is "$sink_port/readyz" 200
stored() { [ "$(servers_sql 'SELECT count(*) FROM transactions')" = "$(metric "$score_port" fraudd_decisions_total)" ]; }
until_true 60 "all rows stored" stored
at_least "$score_port" fraudd_message_seconds_count 16000 || fail "latencies were not counted"

# ---- the broker goes away: records wait, SIGTERM ends it all the same ----
"$program" produce --config "$conf" --shift --rate 3000 --from 2026-02-20 "$dir/history.csv" >"$dir/out" 2>&1 &
producer=$!
pids+=("$producer")
sleep 1
kill -STOP "$(cat "$SERVERS_KAFKA_HOME/pid")"
sleep 3
is "$score_port/healthz" 200 || fail "not healthy with a broker that hangs"
begun=$EPOCHREALTIME
kill -TERM "$pid" "$sink_pid"
wait "$pid"
code=$?
wait "$sink_pid"
sink_code=$?
took=$(awk "BEGIN { print int(($EPOCHREALTIME - $begun) * 1000) }")
[ "$code" -eq 0 ] || [ "$code" -eq 69 ] || fail "score's exit code $code"
[ "$sink_code" -eq 0 ] || fail "the sink's exit code $sink_code"
within "$took" 5500 || fail "$took ms from SIGTERM to the end while the broker hangs"
echo "with a broker that hangs: score ended with $code, both after $took ms"
kill -9 "$producer" 2>/dev/null; wait "$producer" 2>/dev/null
kill -CONT "$(cat "$SERVERS_KAFKA_HOME/pid")"

# ---- a file system that may only be read ----
if unshare -rm sh -c "mount -t tmpfs -o ro none /mnt" 2>/dev/null; then
    unshare -rm sh -c "mount -t tmpfs -o ro none /mnt && exec '$program' simulate --cards 100 --days 10 --out /mnt/x" \
        >"$dir/out" 2>&1
    [ $? -eq 74 ] && grep -q '/mnt/x: Read-only file system; the file system is read-only: choose another folder' \
        "$dir/out" || fail "a read-only file system"
else
    echo "skipped: no mount of a read-only file system here"
fi
exit 0
