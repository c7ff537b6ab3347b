#!/bin/bash
# A schema registry behind TLS and a password, with certificates of an authority made here: it is
# read; and a wrong authority, an expired certificate or another host's, a wrong password, none, and a
# file of it that others can read each give one line that says what to look at: of `check`, and of
# `score`, which waits as long as the registry says no.
# shellcheck disable=SC2154 # port_NAME: serve sets them
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
servers_scratch registry-tls
fail() { echo "FAIL: $*"; cat "$dir/out" "$dir"/*.stub 2>/dev/null; exit 1; }

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

# ---- registries ----
serve() { # serve NAME CERTIFICATE SCHEMA TYPE: sets port_NAME
    local port
    port=$(servers_free_port)
    tests/support/registry_stub.py "$port" "$dir/$2.both" fraudd:right "etc/wire/$3" "$4" >"$dir/$1.stub" 2>&1 &
    pids+=("$!")
    until_true 30 "registry $1" grep -q ready "$dir/$1.stub"
    eval "port_$1=$port"
}
serve avro good transaction.avsc AVRO
serve protobuf good transaction.proto PROTOBUF
serve expired expired transaction.avsc AVRO
serve elsewhere elsewhere transaction.avsc AVRO

# ---- what `check` says ----
secret() { (umask 077; printf '%s\n' "$2" >"$dir/$1.user"); }
secret right fraudd:right
secret guess fraudd:guess
secret open fraudd:right
chmod 644 "$dir/open.user"
expect() { # expect "WORDS" FORMAT PORT CA USER-FILE: its one line about the registry
    local lines
    cat >"$dir/fraudd.conf" <<END
brokers = "127.0.0.1:1"; database = "host=127.0.0.1 port=1"; model = "$dir/none";
transactions = { format = "$2"; };
registry = { url = "https://127.0.0.1:$3"; ca-file = "$dir/$4.pem"; user-file = "$5"; };
END
    timeout 60 "$program" check --config "$dir/fraudd.conf" >"$dir/out" 2>&1
    lines=$(grep -c '^[a-z]* *format: ' "$dir/out")
    [ "$lines" -eq 1 ] || fail "$lines lines about the registry, wanted: $1"
    grep '^[a-z]* *format: ' "$dir/out" | grep -qF -- "$1" || fail "no \"$1\""
    ! grep -q 'guess\|right' "$dir/out" || fail "a password was shown"
    grep '^[a-z]* *format: ' "$dir/out"
}
for format in avro protobuf; do
    eval "port=\$port_$format"
    expect "the latest schema of transactions-value at https://127.0.0.1:$port has id 7 and fits" \
        $format "$port" ours "$dir/right.user"
done
expect "unable to get local issuer certificate; look at registry.ca-file" avro "$port_avro" other "$dir/right.user"
expect "certificate has expired; look at registry.ca-file and the registry's certificate" \
    avro "$port_expired" ours "$dir/right.user"
expect "no alternative certificate subject name matches" avro "$port_elsewhere" ours "$dir/right.user"
expect "answers with HTTP status 401; look at registry.user-file" avro "$port_avro" ours "$dir/guess.user"
expect "answers with HTTP status 401; look at registry.user-file" avro "$port_avro" ours ""
expect "registry.user-file" avro "$port_avro" ours "$dir/open.user"
expect "registry.user-file" avro "$port_avro" ours "$dir/none.user"
expect "look at registry.ca-file" avro "$port_avro" none "$dir/right.user"

# ---- what `score` says ----
servers_kafka || fail "no broker"
score_port=$(servers_free_port)
p=registry-tls-$$
for t in transactions decisions journal notices labels alerts dead-letters; do servers_topic $p-$t 1; done
"$program" simulate --cards 300 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"
printf 'c1~\0\0\0\0\7no payment\n' | servers_tool org.apache.kafka.tools.ConsoleProducer --topic $p-transactions \
    --property parse.key=true --property key.separator='~' >"$dir/out" 2>&1 || fail "nothing sent"
score_settings() { # score_settings PORT CA USER-FILE
    cat >"$dir/score.conf" <<END
brokers = "$BROKERS"; model = "$dir/model.fraudd"; log = "$p"; group = "$p";
topics = { transactions = "$p-transactions"; labels = "$p-labels"; notices = "$p-notices";
  decisions = "$p-decisions"; alerts = "$p-alerts"; dead-letters = "$p-dead-letters"; journal = "$p-journal"; };
http = { listen = "127.0.0.1:$score_port"; };
transactions = { format = "avro"; };
registry = { url = "https://127.0.0.1:$1"; ca-file = "$dir/$2.pem"; user-file = "$3"; };
END
}
metric() { curl -s --max-time 5 "http://127.0.0.1:$score_port/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
asked_often() {
    local n
    n=$(metric fraudd_registry_failures_total)
    [ "${n:-0}" -ge 2 ]
}
lines() { grep -v ' level=info ' "$dir/out"; }
waits() { # waits "WORDS" PORT CA USER-FILE: its one line, and after a second or more that line again
    score_settings "$2" "$3" "$4"
    "$program" score --config "$dir/score.conf" >"$dir/out" 2>&1 &
    pids+=("$!")
    until_true 60 "score asks the registry again: $1" asked_often
    kill -TERM "${pids[-1]}"
    wait "${pids[-1]}" || fail "score ends with $?"
    unset 'pids[-1]'
    lines | head -1 | grep -F " event=registry_away url=https://127.0.0.1:$2 id=7 " | grep -qF -- "$1" || fail "no \"$1\""
    [ "$(lines | grep -vc ' event=registry_away ')" -eq 0 ] || fail "other lines than that"
    ! grep -q 'guess\|fraudd:right' "$dir/out" || fail "a password was shown"
    lines | head -1
}
refuses() { # refuses "WORDS" CODE USER-FILE: it does not start, and says one line
    local got
    score_settings "$port_avro" ours "$3"
    timeout 60 "$program" score --config "$dir/score.conf" >"$dir/out" 2>&1
    got=$?
    [ "$got" -eq "$2" ] || fail "score: exit code $got, wanted $2"
    [ "$(lines | wc -l)" -eq 1 ] || fail "score: more than one line"
    lines | grep -F 'fraudd score: ' | grep -qF -- "$1" || fail "no \"$1\""
    lines
}
waits "unable to get local issuer certificate; look at registry.ca-file" "$port_avro" other "$dir/right.user"
waits "certificate has expired; look at registry.ca-file and the registry's certificate" "$port_expired" ours "$dir/right.user"
waits "no alternative certificate subject name matches" "$port_elsewhere" ours "$dir/right.user"
waits "answers with HTTP status 401; look at registry.user-file" "$port_avro" ours "$dir/guess.user"
waits "answers with HTTP status 401; look at registry.user-file" "$port_avro" ours ""
refuses "registry.user-file" 77 "$dir/open.user"
refuses "registry.user-file" 66 "$dir/none.user"
# .. and with the right ones the message is read; it is no payment
score_settings "$port_avro" ours "$dir/right.user"
"$program" score --config "$dir/score.conf" >"$dir/out" 2>&1 &
pids+=("$!")
is_read() { [ "$(metric 'fraudd_dead_letters_total{reason="malformed"}')" = 1 ]; }
until_true 60 "the message is read" is_read
exit 0
