#!/bin/bash
# 100,000 messages with full card numbers in every field, payments in JSON, Avro and Protobuf, and no
# number afterwards in any topic that is ours, any table, log, checkpoint, metrics page or page of the
# console: with card.numbers = "hash", and fewer messages, of JSON, with "refuse" (the others:
# tests/unit/test_framed_cards.c).
#   test_card_numbers.sh [PAYMENTS]   80000; a quarter as many labels come with them
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
numbers=$PWD/tests/support/card_numbers.py
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE # all of it is searched
servers_scratch card-numbers
servers_kafka && servers_postgres || { echo "no servers"; exit 1; }
fail() { echo "FAIL: $*"; tail -n 5 "$dir"/found/*.log "$dir/out" 2>/dev/null | cut -c1-400; exit 1; }

"$program" simulate --cards 300 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"
"$program" migrate --database "$DATABASE" >/dev/null || fail "no schema"
(umask 077; openssl rand -hex 32 >"$dir/card.key")

send() { # send TOPIC FILE
    servers_tool org.apache.kafka.tools.ConsoleProducer --topic "$1" --property parse.key=true \
        --property key.separator='~' <"$2" >/dev/null 2>"$dir/out" || fail "nothing sent to $1"
}
receive() { # receive TOPIC: all of it, with keys and headers
    local n
    n=$(servers_tool org.apache.kafka.tools.GetOffsetShell --topic "$1" | awk -F: '{ n += $3 } END { print n + 0 }')
    [ "$n" -eq 0 ] || servers_tool org.apache.kafka.tools.consumer.ConsoleConsumer --topic "$1" --from-beginning \
        --max-messages "$n" --timeout-ms 60000 --property print.key=true --property print.headers=true 2>/dev/null
}
metric() { curl -s --max-time 5 "http://127.0.0.1:$1/metrics" | awk -v name="$2" '$1 == name { print $2 }'; }
# all decided or dead, and all that came of it stored
through() {
    [ "$(metric "$score_port" fraudd_transactions_received_total)" = "$1" ] &&
        [ "$(metric "$score_port" fraudd_kafka_lag)" = 0 ] &&
        [ "$(metric "$score_port" fraudd_kafka_unacknowledged)" = 0 ] &&
        [ "$(metric "$((score_port + 1))" fraudd_kafka_lag)" = 0 ] &&
        [ "$(servers_sql "SELECT count(*) FROM decisions WHERE log = '$p'")" = "$(metric "$score_port" fraudd_decisions_total)" ] &&
        [ "$(servers_sql "SELECT count(*) FROM alerts WHERE log = '$p'")" = "$(metric "$score_port" fraudd_alerts_total)" ]
}

send_payments() { # send_payments FORMAT COUNT: $dir/payments has what was sent
    if [ "$1" = json ]; then
        "$numbers" make payments "$2" >"$dir/payments"
        send "$p-transactions" "$dir/payments"
    else
        "$numbers" send "$1" "$2" "$BROKERS" "$p-transactions" >"$dir/payments" 2>"$dir/out" || fail "nothing sent"
    fi
}
registry() { # registry FORMAT: one that has the schema, as number 7; sets registry_port
    registry_port=$(servers_free_port)
    "$numbers" schema "$1" >"$dir/$1.schema"
    tests/support/registry_stub.py "$registry_port" - - "$dir/$1.schema" "${1^^}" >"$dir/$1.stub" 2>&1 &
    registry=$!
    pids+=("$registry")
    until_true 30 "the registry" grep -q ready "$dir/$1.stub"
}

site() { # site MODE FORMAT PAYMENTS: sends, and searches everything
    local mode=$1 format=$2 payments=$3 p=cards-$$-$1-$2 rows registry registry_port=1
    [ "$format" = json ] || registry "$format"
    score_port=$(servers_free_port)
    rm -rf "$dir/found" "$dir/state"
    mkdir "$dir/found" "$dir/state"
    cat >"$dir/fraudd.conf" <<END
brokers = "$BROKERS"; database = "$DATABASE"; model = "$dir/model.fraudd"; partitions = 4;
log = "$p"; group = "$p-score"; sink-group = "$p-sink"; log-level = "debug";
topics = { transactions = "$p-transactions"; labels = "$p-labels"; notices = "$p-notices";
  decisions = "$p-decisions"; alerts = "$p-alerts"; dead-letters = "$p-dead-letters"; journal = "$p-journal"; };
alert = { budget = 1000000; floor = .01; };
card = { numbers = "$mode"; key-file = "$dir/card.key"; };
state = { dir = "$dir/state"; every = "3s"; };
transactions = { format = "$format"; };
registry = { url = "http://127.0.0.1:$registry_port"; };
sink = { linger = "100ms"; };
http = { listen = "127.0.0.1:$score_port"; sink-listen = "127.0.0.1:$((score_port + 1))"; console-listen = "127.0.0.1:0"; };
END
    for t in transactions decisions; do servers_topic "$p-$t" 4; done
    for t in labels notices alerts dead-letters journal; do servers_topic "$p-$t" 1; done
    for kind in labels:$((payments / 4)) notices:20; do
        "$numbers" make "${kind%:*}" "${kind#*:}" >"$dir/${kind%:*}"
    done
    send "$p-notices" "$dir/notices"
    send "$p-labels" "$dir/labels"
    send_payments "$format" "$payments"
    for verb in score sink; do
        "$program" $verb --config "$dir/fraudd.conf" >"$dir/found/$verb.log" 2>&1 &
        pids+=("$!")
    done
    until_true 240 "all messages through" through "$payments"
    curl -s "http://127.0.0.1:$score_port/metrics" >"$dir/found/score.page"
    curl -s "http://127.0.0.1:$((score_port + 1))/metrics" >"$dir/found/sink.page"
    [ "$mode" = refuse ] || work_alerts "$p"
    "$program" check --config "$dir/fraudd.conf" >"$dir/found/check.out" 2>&1
    find "$dir/state" -type f -exec cp {} "$dir/found" \; # as it runs; the last one is written at its end
    for pid in "${pids[@]}"; do
        kill -TERM "$pid"
        [ "$pid" != "${registry:-}" ] || continue
        wait "$pid" || fail "exit code $?"
    done
    pids=()
    for t in decisions alerts dead-letters journal; do receive "$p-$t" >"$dir/found/$t.topic"; done
    receive "$p-labels" | grep '"analysts"' >"$dir/found/labels.topic" # those that we wrote
    pg_dump -d "$DATABASE" >"$dir/found/dump.sql" 2>"$dir/out" || fail "no dump"
    for file in "$dir"/state/* "$dir"/state/*/*; do
        [ -f "$file" ] || continue
        "$numbers" unpack "$file" >"$dir/found/$(basename "$file").unpacked" 2>>"$dir/frames"
    done

    # what is searched is there, and the search finds
    rows=$(wc -l <"$dir/found/dead-letters.topic")
    [ "$rows" -gt $((payments / 5)) ] || fail "$rows dead letters"
    grep -q card_number "$dir/found/dead-letters.topic" || fail "no dead letter because of a number"
    grep -q '\*\*\*\*' "$dir/found/dead-letters.topic" || fail "nothing masked"
    grep -q ': [1-9][0-9]* frames' "$dir/frames" || fail "no checkpoint was unpacked"
    [ "$(wc -c <"$dir/found/dump.sql")" -gt $((payments * 10)) ] || fail "the dump is small"
    if [ "$mode" = hash ]; then
        rows=$(servers_sql "SELECT count(*) FROM transactions WHERE log = '$p' AND card ~ '^k[0-9a-f]{8}-'")
        [ "$rows" -gt $((payments / 20)) ] || fail "$rows payments with a hashed card"
        [ -s "$dir/found/labels.topic" ] || fail "no label of ours"
    fi
    "$numbers" search "$dir/payments" >"$dir/out" && fail "the search finds nothing"
    "$numbers" search "$dir"/found/* || fail "card.numbers = \"$mode\", $format"
    echo "$mode, $format: $payments payments, $(wc -l <"$dir/found/dead-letters.topic") dead letters," \
        "$(wc -l <"$dir/found/decisions.topic") decisions," \
        "$(wc -l <"$dir/found/alerts.topic") alerts: $(cat "$dir"/found/* | wc -c) bytes without a card number"
}

work_alerts() { # verdicts, searches and an import, with numbers
    local p=$1 token id console log=$dir/found/console.log
    [ "$(servers_sql "SELECT count(*) FROM alerts")" -gt 100 ] || fail "few alerts"
    console=$(servers_free_port)
    token=$("$program" console --console.tokens "$dir/tokens" --grant ada 2>/dev/null) || fail "no token"
    "$program" console --config "$dir/fraudd.conf" --console.tokens "$dir/tokens" \
        --console.listen "127.0.0.1:$console" >"$log" 2>&1 &
    pids+=("$!")
    ask() { # ask NAME PATH [CURL OPTIONS..]
        curl -s -m 20 -b "$dir/cookies" -c "$dir/cookies" -H "X-CSRF-Token: ${csrf:-}" \
            -H "Origin: http://127.0.0.1:$console" -D "$dir/found/$1.head" "http://127.0.0.1:$console$2" "${@:3}" \
            >"$dir/found/$1.answer"
    }
    answers() { ask health /healthz; }
    until_true 20 "the console" answers
    ask login /api/login --data-urlencode "token=$token"
    csrf=$(sed -n 's/.*"csrf": *"\([0-9a-f]*\)".*/\1/p' "$dir/found/login.answer")
    ask open '/api/queue?list=open'
    grep -q '"amount"' "$dir/found/open.answer" || fail "no queue"
    ask claim /api/claim -d ''
    id=$(servers_sql "SELECT id FROM queue WHERE claimed_by = 'ada' LIMIT 1")
    ask one "/api/alert?id=$id"
    grep -q '"payments"' "$dir/found/one.answer" || fail "no alert $id"
    ask today /api/today
    ask find '/api/queue?list=find&find=4929731000000000'
    ask noted /api/resolve -d "id=$id&verdict=fraud&change=no" --data-urlencode 'note=is 4929 7310 0000 0000'
    grep -q 'full card number' "$dir/found/noted.answer" || fail "a note with a number"
    "$program" alerts snooze "$id" --for 1h --note 'is 4929731000000000' --as ada --database "$DATABASE" \
        >"$dir/found/snooze.out" 2>&1
    [ $? -eq 64 ] || fail "a snooze with a number"
    ask judged /api/resolve -d "id=$id&verdict=fraud&change=no" --data-urlencode 'note=called'
    [ "$(servers_sql "SELECT verdict FROM alerts WHERE id = '$id'")" = fraud ] || fail "no verdict on $id"
    "$program" alerts list --database "$DATABASE" >"$dir/found/list.out" 2>&1
    "$program" alerts show "$id" --database "$DATABASE" >"$dir/found/show.out" 2>&1
    for line in t1,4929731000000000,fraud,2026-01-02 4929731000000000,x,fraud,2026-01-02; do
        printf 'tx_id,card_id,verdict,known\n%s\n' "$line" >"$dir/chargebacks.csv"
        "$program" labels import "$dir/chargebacks.csv" --config "$dir/fraudd.conf" --as ada
    done >"$dir/found/import.out" 2>&1
    published() { [ "$(servers_sql "SELECT count(*) FROM label_outbox")" = 0 ]; }
    until_true 20 "the verdict's label published" published
}

payments=${1:-80000}
site hash json $((payments / 2))
for format in avro protobuf; do site hash $format $((payments / 4)); done
site refuse json 4000
exit 0
