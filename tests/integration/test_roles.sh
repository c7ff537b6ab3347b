#!/bin/bash
# PostgreSQL's roles: with its own and no more, each verb does what it must, and what it need not do is
# refused.  An analyst sees, takes and judges the alerts of the own teams and of none, by SQL, by
# `fraudd alerts` and in the console.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE # roles are the server's
servers_scratch roles
servers_kafka && servers_postgres || { echo "no servers"; exit 1; }
fail() { echo "FAIL: $*"; tail -n 12 "$dir"/*.log "$dir/out" 2>/dev/null | cut -c1-300; exit 1; }
root=$DATABASE
as() { echo "${root/user=fraudd dbname=postgres/user=$1 dbname=${2:-bank}}"; }
sql() { psql -qtAX -v ON_ERROR_STOP=1 -d "$(as "$1")" -c "$2" 2>"$dir/out"; }
refused() { # refused USER SQL..: each for want of a privilege
    local user=$1
    shift
    for statement in "$@"; do
        sql "$user" "$statement" >/dev/null && fail "$user may: $statement"
        grep -qE 'permission denied|must be owner|row-level security' "$dir/out" || fail "$user: $statement: $(cat "$dir/out")"
    done
}

# ---- whoever may not make roles migrates all the same; what was there stays ----
servers_sql "CREATE ROLE plain LOGIN" && servers_sql "CREATE DATABASE old OWNER plain" || fail "no database"
"$program" migrate --database "$(as plain old)" >"$dir/out" 2>&1 || fail "migrate without CREATEROLE"
[ "$(psql -qtAX -d "$(as plain old)" -c 'SELECT count(*) FROM roles_grant()')" = 7 ] || fail "seven roles are missing"
servers_sql "CREATE ROLE owner LOGIN CREATEROLE" && servers_sql "CREATE DATABASE bank OWNER owner" || fail "no database"
sql owner "CREATE TABLE migrations (number integer PRIMARY KEY, name text, checksum text)"
for file in sql/000[1-8]_*.sql; do
    psql -q -v ON_ERROR_STOP=1 -1 -d "$(as owner)" -f "$file" >"$dir/out" 2>&1 || fail "$file"
done
alert() { # alert NUMBER CHANNEL: SQL
    echo "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, currency, exponent,
          amount_ref, score, outcome, model, body) SELECT 'old', 0, $1, now(), 'old$1', 'card$1', 100, 'EUR', 2, 100, .9,
          'review', 'm', jsonb_build_object('card', 'card$1', 'channel', '$2', 'amount', 100, 'currency', 'EUR', 'exponent', 2)"
}
sql owner "$(alert 1 pos)" || fail "an alert before roles"
psql -q -v ON_ERROR_STOP=1 -1 -d "$(as owner)" -f sql/0009_roles.sql >"$dir/out" 2>&1 || fail "an old database"
[ "$(sql owner "SELECT count(*) FROM queue")" = 1 ] || fail "the old alert"
servers_sql "DROP DATABASE bank" && servers_sql "CREATE DATABASE bank OWNER owner" || fail "no database"
"$program" migrate --database "$(as owner)" >"$dir/out" 2>&1 || fail "migrate"
[ "$(psql -qtAX -d "$(as plain old)" -c 'SELECT count(*) FROM roles_grant()')" = 0 ] || fail "all roles are there by now"
for user in sink train import control analyst console auditor; do
    servers_sql "CREATE ROLE u_$user LOGIN IN ROLE fraudd_$user" || fail "u_$user"
done
for user in ada bob lead; do servers_sql "CREATE ROLE $user LOGIN IN ROLE fraudd_analyst" || fail "$user"; done
sql owner "INSERT INTO team_routes VALUES (1, NULL, 'ecommerce', NULL, NULL, 'web'), (2, NULL, 'atm', NULL, NULL, 'cash');
           INSERT INTO team_members VALUES ('ada', 'web'), ('bob', 'cash'), ('lead', '*')" || fail "no teams"

# ---- each verb with its role ----
"$program" simulate --cards 120 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"
score_port=$(servers_free_port)
p=roles-$$
settings() { # settings USER
    cat >"$dir/$1.conf" <<END
brokers = "$BROKERS"; database = "$(as "$1")"; model = "$dir/model.fraudd"; partitions = 2;
log = "$p"; group = "$p-score"; sink-group = "$p-sink";
topics = { transactions = "$p-transactions"; labels = "$p-labels"; notices = "$p-notices";
  decisions = "$p-decisions"; alerts = "$p-alerts"; dead-letters = "$p-dead-letters"; journal = "$p-journal"; };
alert = { budget = 4000; };
sink = { linger = "100ms"; };
http = { listen = "127.0.0.1:$score_port"; sink-listen = "127.0.0.1:$((score_port + 1))"; console-listen = ""; };
END
}
for user in u_sink u_train u_import u_auditor u_console; do settings $user; done
for t in transactions decisions; do servers_topic "$p-$t" 2; done
for t in labels notices alerts dead-letters journal; do servers_topic "$p-$t" 1; done
may() { # may USER VERB ARGUMENTS..
    local user=$1
    shift
    OPENBLAS_NUM_THREADS=1 "$program" "$@" --config "$dir/$user.conf" >"$dir/out" 2>&1 || fail "$user: fraudd $*"
}
acts() { # acts USER ARGUMENTS..: fraudd alerts
    "$program" alerts "${@:2}" --database "$(as "$1")" >"$dir/out" 2>&1
}
for user in sink train import control analyst console auditor; do
    settings u_$user
    "$program" check --config "$dir/u_$user.conf" >"$dir/out" 2>&1
    grep -q "^ok      privileges: those of fraudd_$user, no more" "$dir/out" || fail "check of u_$user"
done
settings owner
"$program" check --config "$dir/owner.conf" >"$dir/out" 2>&1
grep -q "^ok      privileges: .* more than a daemon needs: the user owns the tables" "$dir/out" || fail "check of the owner"

"$program" score --config "$dir/u_sink.conf" >"$dir/score.log" 2>&1 & # needs no database
pids+=("$!")
"$program" sink --config "$dir/u_sink.conf" >"$dir/sink.log" 2>&1 &
pids+=("$!")
may u_sink produce "$dir/history.csv" --shift --labels
stored() { # rows and labels
    [ "$(sql owner 'SELECT count(*) FROM decisions')" = "$(curl -s "http://127.0.0.1:$score_port/metrics" |
        awk '$1 == "fraudd_decisions_total" { print $2 }')" ] && [ "$(sql owner 'SELECT count(*) FROM labels')" -gt 10 ] &&
        [ "$(sql owner 'SELECT count(*) FROM decisions')" -gt 5000 ]
}
until_true 120 "payments, decisions and labels stored" stored
! grep -qE 'write_failed|publish_failed|upkeep_failed' "$dir/sink.log" || fail "the sink"
[ "$(sql owner "SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass")" -gt 2 ] ||
    fail "no monthly partitions"
for team in web cash ''; do
    [ "$(sql owner "SELECT count(*) FROM cases WHERE team = '$team' AND state = 'open'")" -ge 3 ] || fail "few cases of team '$team'"
done

may u_train train --full --epochs 1 --train.maturity 1d
may u_train model list
version=$(sql owner "SELECT version FROM models LIMIT 1")
may u_train model promote "$version" --as tess
may u_train model export "$version" --out "$dir/exported"
printf 'tx_id,verdict,known\n%s,fraud,%s\n' "$(sql owner 'SELECT tx_id FROM transactions ORDER BY event_time LIMIT 1')" \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$dir/chargebacks.csv"
may u_import labels import "$dir/chargebacks.csv" --as irma
may u_import labels list
published() { [ "$(sql owner 'SELECT count(*) FROM label_outbox')" = 0 ]; }
until_true 20 "the label published" published
may u_auditor audit verify
may u_auditor audit list

# ---- teams ----
of() { sql owner "SELECT a.id FROM alerts a JOIN cases c ON c.id = a.case_id WHERE c.team = '$1' AND c.state = 'open' LIMIT 1"; }
web=$(of web) cash=$(of cash) free=$(of '')
seen() { sql "$1" "SELECT string_agg(DISTINCT team, ',' ORDER BY team) FROM $2"; }
[ "$(seen ada queue)" = ,web ] && [ "$(seen ada cases)" = ,web ] && [ "$(seen ada queue_cases)" = ,web ] || fail "ada sees $(seen ada queue)"
[ "$(seen bob queue)" = ,cash ] && [ "$(seen lead queue)" = ,cash,web ] && [ "$(seen u_analyst queue)" = '' ] || fail "what others see"
[ "$(sql ada "SELECT count(*) FROM alerts WHERE id IN ('$web', '$cash', '$free')")" = 2 ] || fail "ada's alerts"
[ "$(sql ada "SELECT count(*) FROM queue_payments('$cash', 30, 10)")" = 0 ] && [ "$(sql ada "SELECT count(*) FROM queue_payments('$web', 30, 10)")" -ge 1 ] ||
    fail "ada's payments"
acts ada list && ! grep -q "$cash" "$dir/out" || fail "ada's list"
acts ada show "$web" || fail "ada's look"
for verb in "show $cash" "claim --as ada --id $cash" "resolve $cash fraud --as ada" "snooze $cash --for 1h --as ada"; do
    # shellcheck disable=SC2086
    acts ada $verb && fail "ada: $verb"
    grep -q "there is no alert $cash" "$dir/out" || fail "ada: $verb"
done
acts ada claim --as ada || fail "ada's claim"
[ "$(sql ada "SELECT count(*) FROM queue_claim('ada', 100000, '15 min')")" -gt 2 ] || fail "ada's claims"
[ "$(sql owner "SELECT count(*) FROM cases WHERE claimed_by = 'ada' AND team = 'cash'")" = 0 ] &&
    [ "$(sql owner "SELECT count(*) FROM cases WHERE state = 'open' AND team IN ('web', '')")" = 0 ] || fail "what ada took"
acts ada resolve "$web" fraud --as ada --note called || fail "ada's verdict"
acts ada release "$free" --as ada || fail "ada's release"
[ "$(sql ada "SELECT count(*) FROM queue_history('$web')")" -ge 2 ] && [ "$(sql bob "SELECT count(*) FROM queue_history('$web')")" = 0 ] || fail "histories"
[ "$(sql owner "SELECT role FROM audit WHERE what = 'alert resolve'")" = ada ] || fail "the audit names another user"
# a case that moves to another team takes its alerts along
sql owner "UPDATE cases SET team = 'cash' WHERE id = (SELECT case_id FROM alerts WHERE id = '$free')"
[ "$(sql ada "SELECT count(*) FROM alerts WHERE id = '$free'")" = 0 ] && [ "$(sql bob "SELECT count(*) FROM alerts WHERE id = '$free'")" = 1 ] ||
    fail "a case that moved"
# a table of her own in the way of the functions
sql ada "CREATE TEMP TABLE team_members (member text, team text); INSERT INTO team_members VALUES ('ada', '*');
         CREATE TEMP TABLE cases (LIKE public.cases); SELECT count(*) FROM public.queue WHERE team = 'cash'" | grep -qx 0 ||
    fail "a temporary table counts"
[ "$(sql ada "SET fraudd.analyst = 'bob'; SELECT count(*) FROM queue WHERE team = 'cash'")" = 0 ] || fail "ada passes for bob"
[ "$(sql ada "SET ROLE fraudd_analyst; SELECT count(*) FROM queue WHERE team = 'cash'")" = 0 ] || fail "ada by SET ROLE"

console=$(servers_free_port)
page=http://127.0.0.1:$console
bob=$("$program" console --console.tokens "$dir/tokens" --grant bob 2>/dev/null) || fail "no token"
"$program" console --config "$dir/u_console.conf" --console.tokens "$dir/tokens" --console.listen "127.0.0.1:$console" \
    >"$dir/console.log" 2>&1 &
pids+=("$!")
ask() { # ask PATH [CURL OPTIONS..]: body in out
    curl -sf -m 20 -b "$dir/cookies" -c "$dir/cookies" -H "X-CSRF-Token: ${csrf:-}" -H "Origin: $page" "$page$1" "${@:2}" >"$dir/out"
}
until_true 20 "the console" ask /healthz
ask /api/login --data-urlencode "token=$bob" || fail "bob's login"
csrf=$(sed -n 's/.*"csrf": *"\([0-9a-f]*\)".*/\1/p' "$dir/out")
ask '/api/queue?list=open' && grep -q '"id"' "$dir/out" && ! grep -q "$web" "$dir/out" || fail "bob's list in the console"
finds() { ask "/api/queue?list=find&find=$(sql owner "SELECT tx_id FROM alerts WHERE id = '$1'")" && grep -q "$1" "$dir/out"; }
finds "$cash" && ! finds "$web" || fail "bob's search in the console"
ask "/api/alert?id=$cash" && grep -q '"payments": *\[{' "$dir/out" || fail "bob's look in the console"
ask "/api/alert?id=$web" && fail "bob looks at another team's"
ask /api/claim -d "id=$cash" && ask /api/resolve -d "id=$cash&verdict=fraud&change=no" || fail "bob's verdict in the console"
ask /api/resolve -d "id=$web&verdict=legitimate&change=yes" && fail "bob judges another team's"
ask /api/today || fail "today in the console"
until_true 20 "the verdicts' labels published" published

# ---- and nothing else ----
change_audit=("UPDATE audit SET who = 'x'" "DELETE FROM audit" "TRUNCATE audit" "INSERT INTO audit (who, what, object, role) VALUES ('a', 'b', 'c', 'd')"
    "DELETE FROM audit_chain" "ALTER TABLE audit DISABLE TRIGGER ALL" "CREATE TABLE mine (x int)" "DROP TABLE alerts"
    "INSERT INTO team_members VALUES (session_user, '*')" "INSERT INTO role_grants VALUES ('fraudd_sink', 'table', 'audit', 'ALL')"
    "SELECT drop_partitions_before(now())" "UPDATE models SET state = 'champion'")
for user in u_sink u_train u_import u_control u_analyst u_console u_auditor; do refused $user "${change_audit[@]}"; done
refused u_sink "UPDATE alerts SET verdict = 'fraud'" "DELETE FROM transactions" "SELECT * FROM cases" "SELECT weights FROM models" \
    "INSERT INTO label_outbox (source, number, tx_id, body) VALUES ('a', 1, 'b', '{}')" "SELECT model_promote('x', 'y')" \
    "SELECT queue_resolve('1', 'x', 'fraud', NULL)" "SELECT * FROM audit" "INSERT INTO verdicts (source) VALUES ('x')"
refused u_train "INSERT INTO transactions (log) VALUES ('x')" "INSERT INTO labels (source) VALUES ('x')" "DELETE FROM models" \
    "SELECT * FROM cases" "SELECT queue_claim('x', 1, '1 min')" "SELECT audit_seal()" "SELECT * FROM audit"
refused u_import "INSERT INTO labels (source) VALUES ('x')" "DELETE FROM label_outbox" "UPDATE verdicts SET who = 'x'" "SELECT * FROM alerts" \
    "SELECT queue_resolve('1', 'x', 'fraud', NULL)" "SELECT model_lock()"
for user in ada u_console; do
    refused $user "UPDATE alerts SET verdict = 'fraud'" "UPDATE cases SET team = ''" "SELECT * FROM transactions" "SELECT * FROM labels" \
        "SELECT * FROM audit" "SELECT weights FROM models" "SELECT label_send('a', 1, 'b', 'fraud', now(), now(), '{}', 'x')" \
        "SELECT * FROM team_members" "SELECT model_promote('x', 'y')" "SELECT audit_seal()"
done
sql u_control "INSERT INTO audit (who, what, object) VALUES ('ada', 'lists add', 'block')" || fail "u_control notes nothing"
refused u_control "SELECT * FROM audit" "SELECT * FROM alerts" "SELECT * FROM transactions" "SELECT model_lock()" "SELECT audit_seal()"
refused u_auditor "INSERT INTO alerts (log) VALUES ('x')" "UPDATE cases SET state = 'open'" "SELECT queue_resolve('1', 'x', 'fraud', NULL)" \
    "INSERT INTO audit (who, what, object) VALUES ('a', 'b', 'c')" "SELECT model_rollback('x')" "DELETE FROM audit_pending"
[ "$(sql u_auditor "SELECT count(*) > 0 FROM queue WHERE team = 'cash'")" = t ] || fail "the auditor sees all"
may u_auditor audit verify
for pid in "${pids[@]}"; do
    kill -TERM "$pid"
    wait "$pid" || fail "exit code $?"
done
exit 0
