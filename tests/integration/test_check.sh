#!/bin/bash
# `fraudd check` on a real Kafka and PostgreSQL: it finds what is wrong, and the commands that it
# prints mend it, run as they are.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE # one without a schema is wanted
dir=$(mktemp -d /tmp/fraudd-test-check-XXXXXX)
trap 'servers_stop; rm -rf "$dir"' EXIT
servers_kafka && servers_postgres || { echo "no servers"; exit 1; }
trap 'servers_stop; rm -rf "$dir"' EXIT
p=check-$$
fail() { echo "FAIL: $*"; cat "$dir/out"; exit 1; }

# a model, small and quick
"$program" simulate --cards 300 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"

settings() { # settings PREFIX DATABASE
    cat >"$dir/fraudd.conf" <<END
brokers = "$BROKERS";
database = "$2";
model = "$dir/model.fraudd";
partitions = 4;
topics = { transactions = "$1-transactions"; labels = "$1-labels"; notices = "$1-notices";
  decisions = "$1-decisions"; alerts = "$1-alerts"; dead-letters = "$1-dead-letters";
  journal = "$1-journal"; };
END
}
check() { "$program" check --config "$dir/fraudd.conf" >"$dir/out" 2>&1; }
expect() { # expect CODE "LINE".. : exit code of the next check and lines it must have
    local code=$1 got
    shift
    check
    got=$?
    [ "$got" -eq "$code" ] || fail "exit code $got, wanted $code"
    for line in "$@"; do
        grep -qF -- "$line" "$dir/out" || fail "no line with \"$line\""
    done
    ! grep -qv '^\(ok     \|wrong  \|remedy \) ' "$dir/out" || fail "a line of another form"
}

# what the remedies call, as an operator has it
mkdir "$dir/bin"
for tool in kafka-topics.sh:org.apache.kafka.tools.TopicCommand kafka-configs.sh:kafka.admin.ConfigCommand; do
    printf '#!/bin/sh\nexec "%s/tests/kafka/kafka.sh" tool %s "$@"\n' "$PWD" "${tool#*:}" >"$dir/bin/${tool%%:*}"
done
ln -s "$program" "$dir/bin/fraudd"
chmod +x "$dir"/bin/*
mend() { # runs every remedy of the last check
    sed -n 's/^remedy  //p' "$dir/out" | while IFS= read -r command; do
        case $command in
        kafka-*|fraudd*)
            PATH=$dir/bin:$PATH sh -c "$command" >"$dir/tool" 2>&1 </dev/null ||
                { echo "FAIL: $command"; cat "$dir/tool"; exit 1; } ;;
        "set partitions"*)
            sed -i "s/^partitions = .*/$(echo "$command" | sed 's/^set \(partitions = [0-9]*;\).*/\1/')/" "$dir/fraudd.conf" ;;
        GRANT*|ALTER*|REVOKE*)
            servers_sql "$command" || exit 1 ;;
        *)
            echo "FAIL: nobody knows how to run: $command"; exit 1 ;;
        esac
    done || exit 1
}

# 1. a bare site: nothing is there
settings "$p" "$DATABASE"
expect 66 "wrong   schema: " "ok      model: $dir/model.fraudd is version 20260225-" \
    "wrong   topic $p-transactions: does not exist (setting topics.transactions)" \
    "wrong   topic $p-dead-letters: does not exist" "ok      brokers: $BROKERS answer"
[ "$(grep -c '^remedy' "$dir/out")" -eq 8 ] || fail "8 remedies wanted"
mend
expect 0 "ok      topic $p-transactions: 4 partitions, kept 60 days" "ok      topic $p-labels: 1 partition, kept for ever" \
    "ok      topic $p-decisions: 4 partitions, kept 7 days" "ok      schema: up to this program" "ok      privileges: all that the verbs need, and more than a daemon needs"
! grep -q '^remedy\|^wrong' "$dir/out" || fail "something is still wrong"

# 2. a site that somebody made by hand
q=$p-odd
servers_topic $q-transactions 6 retention.ms=3600000
servers_topic $q-labels 2
servers_topic $q-notices 1 retention.bytes=1000000 max.message.bytes=100000
servers_topic $q-decisions 2
servers_topic $q-alerts 1 cleanup.policy=compact
servers_topic $q-journal 2
servers_topic $q-dead-letters 1 min.insync.replicas=2
settings "$q" "$DATABASE"
expect 1 "topic $q-transactions: 6 partitions, the setting partitions says 4" \
    "topic $q-transactions: retention.ms=3600000, must be at least 5184000000 ms" \
    "topic $q-labels: 2 partitions, must be 1" "topic $q-journal: 2 partitions, must be 1" "topic $q-notices: retention.bytes=1000000 cuts it short" \
    "topic $q-notices: max.message.bytes=100000, must be at least" \
    "topic $q-decisions: 2 partitions, transactions has 6" "topic $q-alerts: cleanup.policy=compact" \
    "topic $q-dead-letters: min.insync.replicas=2 with 1 replica: nothing can be written"
mend
expect 0 "ok      topic $q-decisions: 6 partitions"

# 3. a user who may nothing, and one who is the owner's equal
servers_sql "CREATE ROLE poor LOGIN"
settings "$p" "${DATABASE/user=fraudd/user=poor}"
servers_sql "GRANT SELECT ON migrations TO poor"
expect 77 "wrong   privileges: the user has none of the roles" "remedy  GRANT fraudd_sink TO poor;"
mend
expect 0 "user \"poor\"" "ok      privileges: those of fraudd_sink, no more"
servers_sql "REVOKE INSERT ON alerts FROM fraudd_sink; GRANT DELETE ON audit TO poor; ALTER ROLE poor BYPASSRLS"
expect 77 "wrong   privileges: the user lacks INSERT on table alerts" "remedy  GRANT INSERT ON table alerts TO poor;" \
    "wrong   privileges: the user needs no DELETE on table audit" "the user needs no attribute BYPASSRLS"
mend
expect 0 "ok      privileges: those of fraudd_sink, no more"
servers_sql "REVOKE INSERT ON alerts FROM poor; GRANT INSERT ON alerts TO fraudd_sink"

# 4. a password that is not the one, nobody there
data=$SERVERS_POSTGRES/data
servers_sql "CREATE ROLE keyed LOGIN PASSWORD 'right'"
{ echo "host all keyed 127.0.0.1/32 scram-sha-256"; cat "$data/pg_hba.conf"; } >"$dir/hba" && cat "$dir/hba" >"$data/pg_hba.conf"
servers_sql "SELECT pg_reload_conf()" >/dev/null
settings "$p" "${DATABASE/user=fraudd/user=keyed} password=guess"
for _ in 1 2 3 4 5 6 7 8 9 10; do check; [ $? -eq 77 ] && break; sleep 0.2; done
expect 77 "wrong   database: PostgreSQL at 127.0.0.1:" 'refused user "keyed"; check the password'
! grep -q guess "$dir/out" || fail "the password was shown"
settings "$p" "${DATABASE/dbname=postgres/dbname=none}"
expect 66 'wrong   database: ' '"none" does not exist; create it'
settings "$p" "host=127.0.0.1 port=1"
sed -i 's/^brokers.*/brokers = "127.0.0.1:1";/' "$dir/fraudd.conf"
expect 69 "wrong   database: cannot reach PostgreSQL at 127.0.0.1:1" "wrong   brokers: 127.0.0.1:1: no Kafka broker answered"
exit 0
