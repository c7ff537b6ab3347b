#!/bin/bash
# A schema registry behind TLS and a password, with certificates of an authority made here: it is
# read; and a wrong authority, an expired certificate or another host's, a wrong password, none, and a
# file of it that others can read each give one line that says what to look at.
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
exit 0
