#!/bin/bash
# Secured connections: `score` and `sink` with a SASL_SSL broker (SCRAM) and a PostgreSQL with
# sslmode=verify-full, certificates of an authority made here.  It works; and a wrong password, a
# wrong authority, an expired certificate or another host's each end it with one line that says what
# to do, and exit code 77.  What comes to be wrong while it runs is waited for.
# The broker is a 3.9.1: librdkafka 2.0.2 has no SCRAM with Kafka 4.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE TEST_BROKERS
servers_scratch tls
fail() { echo "FAIL: $*"; tail -n 40 "$dir"/*.log "$dir/out" 2>/dev/null; exit 1; }

# ---- authorities and certificates ----
authority() { # authority NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -keyout "$dir/$1.key" -out "$dir/$1.pem" -subj "/CN=$1" 2>/dev/null
}
certificate() { # certificate NAME DAYS SUBJECT-ALTERNATIVE
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$dir/$1.key" -out "$dir/$1.csr" -subj "/CN=$1" 2>/dev/null &&
        echo "subjectAltName=$3" >"$dir/ext" &&
        openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ours.pem" -CAkey "$dir/ours.key" \
            -CAcreateserial -days "$2" -extfile "$dir/ext" -out "$dir/$1.pem" 2>/dev/null &&
        cat "$dir/$1.key" "$dir/$1.pem" >"$dir/$1.both"
}
authority ours && authority other && certificate good 2 IP:127.0.0.1 &&
    certificate expired -1 IP:127.0.0.1 && certificate elsewhere 2 DNS:elsewhere.invalid ||
    { echo "no certificates"; exit 1; }

# ---- servers: one broker, a listener for each certificate ----
secure=$(servers_free_port)
expired=$((secure + 1))
elsewhere=$(servers_free_port)
cat >"$dir/properties" <<END
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,EXPIRED:SASL_SSL,ELSEWHERE:SASL_SSL
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256
ssl.keystore.type=PEM
ssl.keystore.location=$dir/good.both
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location=$dir/expired.both
listener.name.elsewhere.ssl.keystore.type=PEM
listener.name.elsewhere.ssl.keystore.location=$dir/elsewhere.both
END
for name in secure expired elsewhere; do
    echo "listener.name.$name.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
done >>"$dir/properties"
export KAFKA_VERSION=3.9.1 KAFKA_PROPERTIES=$dir/properties
export KAFKA_LISTENERS=SECURE://127.0.0.1:$secure,EXPIRED://127.0.0.1:$expired,ELSEWHERE://127.0.0.1:$elsewhere
export KAFKA_FORMAT="--add-scram SCRAM-SHA-256=[name=daemon,password=right]"
servers_kafka && servers_postgres || { echo "no servers"; exit 1; }
data=$SERVERS_POSTGRES/data
serve_certificate() { # serve_certificate NAME: PostgreSQL's from now on
    cat "$dir/$1.pem" >"$data/server.crt" && cat "$dir/$1.key" >"$data/server.key" &&
        servers_sql "SELECT pg_reload_conf()" >/dev/null
}
touch "$data/server.crt" "$data/server.key"
chmod 600 "$data/server.key"
chown --reference="$data" "$data/server.crt" "$data/server.key"
{ printf 'hostssl all daemon 127.0.0.1/32 scram-sha-256\nhostnossl all daemon 127.0.0.1/32 reject\n'
  cat "$data/pg_hba.conf"; } >"$dir/hba" && cat "$dir/hba" >"$data/pg_hba.conf"
servers_sql "CREATE ROLE daemon LOGIN SUPERUSER PASSWORD 'right'" &&
    serve_certificate good && servers_sql "ALTER SYSTEM SET ssl = on" && servers_sql "SELECT pg_reload_conf()" >/dev/null ||
    fail "PostgreSQL does not serve TLS"
for t in transactions decisions; do servers_topic $t 2; done
for t in labels notices alerts dead-letters journal; do servers_topic $t 1; done

"$program" simulate --cards 300 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"
score_port=$(servers_free_port)
port=$(echo "$DATABASE" | sed 's/.*port=\([0-9]*\).*/\1/')
conf=$dir/fraudd.conf
kafka_secret=right kafka_ca=ours kafka_port=$secure pg_secret=right pg_ca=ours pg_mode=verify-full pg_host=127.0.0.1
settings() { # settings [NAME=VALUE..]: one with other values than these
    local $* # names above
    cat >"$conf" <<END
brokers = "127.0.0.1:$kafka_port";
database = "host=$pg_host port=$port user=daemon dbname=postgres sslmode=$pg_mode sslrootcert=$dir/$pg_ca.pem";
model = "$dir/model.fraudd";
partitions = 2;
http = { listen = "127.0.0.1:$score_port"; sink-listen = "127.0.0.1:$((score_port + 1))"; };
sink = { linger = "100ms"; };
kafka = { security_protocol = "sasl_ssl"; sasl_mechanism = "SCRAM-SHA-256"; sasl_username = "daemon";
  ssl_ca_location = "$dir/$kafka_ca.pem"; };
END
    # secrets are not in the settings, as etc/systemd/README.md has it
    export FRAUDD_KAFKA_SASL_PASSWORD=$kafka_secret PGPASSWORD=$pg_secret
}

# ---- refusals ----
expect() { # expect "WORDS" VERB ARGUMENTS..: it ends by itself with 77 and says one line, this one
    local words=$1 got
    shift
    timeout 60 "$program" "$@" --config "$conf" >"$dir/out" 2>&1
    got=$?
    [ "$got" -eq 77 ] || fail "fraudd $*: exit code $got, wanted 77"
    grep "^fraudd $1: " "$dir/out" | grep -qF -- "$words" || fail "fraudd $*: no line with \"$words\""
    [ "$(grep -vc ' level=info ' "$dir/out")" -eq 1 ] || fail "fraudd $*: more than one line"
    ! grep -q guess "$dir/out" || fail "a password was shown"
    cat "$dir/out"
}
settings
"$program" migrate --config "$conf" >"$dir/out" 2>&1 || fail "migrate over verify-full"
for verb in score sink; do
    settings kafka_secret=guess
    expect "Kafka at 127.0.0.1:$secure refused the user: SASL authentication error: Authentication failed" $verb
    grep -q "; check kafka.sasl.username, kafka.sasl.password and kafka.sasl.mechanism" "$dir/out" || fail "no remedy"
    settings kafka_ca=other
    expect "the certificate of Kafka at 127.0.0.1:$secure is not accepted: unable to get local issuer certificate; kafka.ssl.ca.location must" $verb
    settings kafka_port=$expired
    expect "the certificate of Kafka at 127.0.0.1:$expired is not accepted: certificate has expired; have it renewed" $verb
    settings kafka_port=$elsewhere
    expect "the certificate of Kafka at 127.0.0.1:$elsewhere is not accepted: IP address mismatch; name the broker" $verb
done
settings kafka_secret=guess
expect "Kafka at 127.0.0.1:$secure refused the user" produce "$dir/history.csv"
settings pg_secret=guess
expect "PostgreSQL at 127.0.0.1:$port refused user \"daemon\"; check the password" sink
settings pg_ca=other
expect "the certificate of PostgreSQL at 127.0.0.1:$port is not accepted: it has expired, or sslrootcert is not of" sink
settings pg_host=localhost
expect "no TLS connection to PostgreSQL at localhost:$port: " sink
grep -q 'does not match host name "localhost"' "$dir/out" || fail "the host's name is not told"
settings
serve_certificate expired
s_client() { openssl s_client -starttls postgres -connect 127.0.0.1:$port -CAfile "$dir/ours.pem" </dev/null 2>&1; }
says_expired() { s_client | grep -q 'certificate has expired'; }
until_true 10 "the command of the remedy says which" says_expired
expect "the certificate of PostgreSQL at 127.0.0.1:$port is not accepted: it has expired, or" sink
serve_certificate good
says_well() { s_client | grep -q 'Verification: OK'; }
until_true 10 "a good certificate again" says_well

# ---- check has a line for each, and all is well with none ----
settings kafka_secret=guess pg_secret=guess
"$program" check --config "$conf" >"$dir/out" 2>&1
[ $? -eq 77 ] && grep -q '^wrong   database: PostgreSQL .* refused user' "$dir/out" &&
    grep -q '^wrong   brokers: .*: Kafka at .* refused the user' "$dir/out" || fail "check"
settings
"$program" check --config "$conf" >"$dir/out" 2>&1
! grep -q '^wrong   database\|^wrong   brokers' "$dir/out" && grep -q '^ok      brokers' "$dir/out" || fail "check of a good site"

# ---- it works ----
start() { # start VERB
    "$program" "$1" --config "$conf" >"$dir/$1.log" 2>&1 &
    pids+=("$!")
}
start score
start sink
OPENBLAS_NUM_THREADS=1 "$program" produce --config "$conf" --shift --limit 3000 --rate 2000 "$dir/history.csv" \
    >"$dir/out" 2>&1 || fail "produce"
stored() { [ "$(servers_sql 'SELECT count(*) FROM decisions')" -eq "$1" ]; }
until_true 60 "3,000 decisions stored" stored 3000
[ "$(servers_sql "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'daemon'")" -ge 1 ] ||
    fail "the sink's connection is not encrypted"

# ---- what has worked is waited for ----
servers_tool kafka.admin.ConfigCommand --alter --entity-type users --entity-name daemon \
    --add-config 'SCRAM-SHA-256=[password=another]' >"$dir/out" 2>&1 || fail "no other password"
KAFKA_HOME=$SERVERS_KAFKA_HOME tests/kafka/kafka.sh stop
KAFKA_HOME=$SERVERS_KAFKA_HOME tests/kafka/kafka.sh start "${BROKERS##*:}" >/dev/null || fail "the broker did not come back"
until_true 30 "the refusal in the log" grep -q 'event=kafka_trouble .*refused the user' "$dir/score.log"
kill -0 "${pids[0]}" && kill -0 "${pids[1]}" || fail "ended by a refusal after all went well"
servers_tool kafka.admin.ConfigCommand --alter --entity-type users --entity-name daemon \
    --add-config 'SCRAM-SHA-256=[password=right]' >"$dir/out" 2>&1 || fail "no former password"
OPENBLAS_NUM_THREADS=1 "$program" produce --config "$conf" --shift --limit 500 --rate 2000 "$dir/history.csv" \
    >"$dir/out" 2>&1 || fail "produce"
until_true 60 "3,500 decisions stored" stored 3500
for pid in "${pids[@]}"; do
    kill -TERM "$pid"
    wait "$pid" || fail "exit code $?"
done
exit 0
