#!/bin/bash
# The command line without any server: every verb has help with an example, and what is wrong is
# told in one line that names what, which value and what to do, with the documented exit code.
set -u
cd "$(dirname "$0")/../.." || exit 2
program=build/release/fraudd
dir=$(mktemp -d /tmp/fraudd-test-cli-XXXXXX)
holder=
trap '[ -z "$holder" ] || kill "$holder" 2>/dev/null; rm -rf "$dir"' EXIT
for name in ${!FRAUDD_@}; do unset "$name"; done
bad=0

# expect CODE "WORDS" ARGUMENTS..: exit code, one line of error (log lines aside) with the words
expect() {
    local code=$1 words=$2 got lines
    shift 2
    timeout 30 "$program" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    grep -v '^ts=\|^usage:\|^$' "$dir/err" >"$dir/told"
    lines=$(wc -l <"$dir/told")
    if [ "$got" -ne "$code" ] || ! grep -qF -- "$words" "$dir/told" || [ "$lines" -ne 1 ]; then
        echo "FAIL: fraudd $*: exit code $got (wanted $code), $lines lines (wanted 1) with \"$words\":"
        cat "$dir/err"
        bad=1
    fi
}

# help
"$program" --help >"$dir/help" || bad=1
verbs=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$dir/help")
[ "$(echo "$verbs" | wc -w)" -ge 10 ] || { echo "FAIL: --help lists too few verbs"; bad=1; }
for verb in $verbs; do
    "$program" "$verb" --help >"$dir/out" 2>&1 || { echo "FAIL: $verb --help: exit code $?"; bad=1; }
    grep -q "^usage: fraudd $verb" "$dir/out" || { echo "FAIL: $verb --help has no usage"; bad=1; }
    actions=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$dir/out")
    if grep -q '^actions:' "$dir/out"; then
        for action in $actions; do
            "$program" "$verb" "$action" --help | grep -q '^example' ||
                { echo "FAIL: $verb $action --help has no example"; bad=1; }
        done
    else
        grep -q '^example' "$dir/out" || { echo "FAIL: $verb --help has no example"; bad=1; }
    fi
done

# command line: 64
"$program" >/dev/null 2>&1
[ $? -eq 64 ] || { echo "FAIL: no verb"; bad=1; }
expect 64 'there is no verb "scorn"' scorn
expect 64 'do you mean "alert.budget"?' score --alert.bugdet=5
expect 64 '--model needs a value' score --model
expect 64 '"abc" is not allowed; give a whole number from 0 to 1e+07' score --alert.budget=abc
expect 64 'log-level = "loud" is not allowed; give debug, info, warn or error' score --log-level=loud
expect 64 '"k1:0" is no address; give host:port' score --brokers=k1:0
expect 64 'give numbers and a port such as 127.0.0.1:9464' sink --http.sink-listen=nowhere
expect 64 '"surplus" is not expected' migrate surplus

# settings: 78, with file and line; a file that is not there: 66
printf 'log-level = "info";\nalert = {\n  budget = -1;\n};\n' >"$dir/bounds.conf"
printf 'topics = {\n  labels = "alerts";\n};\n' >"$dir/clash.conf"
printf 'brokers = "a";\nbrockers = "b";\n' >"$dir/name.conf"
printf 'brokers = "a";\ngroup = ;\n' >"$dir/syntax.conf"
for verb in score sink; do
    expect 78 "$dir/bounds.conf line 3: alert.budget" $verb --config "$dir/bounds.conf"
    expect 78 "topics.labels and topics.alerts are both \"alerts\"" $verb --config "$dir/clash.conf"
    expect 78 "$dir/name.conf line 2: there is no setting \"brockers\"; do you mean \"brokers\"?" \
        $verb --config "$dir/name.conf"
    expect 78 "$dir/syntax.conf line 2: syntax error" $verb --config="$dir/syntax.conf"
    expect 66 "cannot open $dir/none.conf: No such file" $verb --config "$dir/none.conf"
done
FRAUDD_ALERT_FLOOR=7 expect 78 'environment (FRAUDD_ALERT_FLOOR): alert.floor = "7"' score
"$program" check --config "$dir/bounds.conf" >"$dir/out" 2>&1
[ $? -eq 78 ] && grep -q "^wrong   settings: $dir/bounds.conf line 3" "$dir/out" ||
    { echo "FAIL: check of bad settings"; cat "$dir/out"; bad=1; }

# model: 78 none named, 66 not there, 65 spoilt
score=(score --http.listen= --brokers 127.0.0.1:1)
expect 78 'no model is named; give --model FILE' "${score[@]}"
expect 66 "cannot open $dir/none.fraudd" "${score[@]}" --model "$dir/none.fraudd"
head -c 5000 /dev/urandom >"$dir/noise.fraudd"
expect 65 "model $dir/noise.fraudd" "${score[@]}" --model "$dir/noise.fraudd"
: >"$dir/empty.fraudd"
expect 65 "model $dir/empty.fraudd" "${score[@]}" --model "$dir/empty.fraudd"

# a history that is none: 65
: >"$dir/empty.csv"
echo 'tx_id,ts,card_id,amount,fraud' >"$dir/header.csv"
{ cat "$dir/header.csv"; echo '1,noon,c,5.00,0'; } >"$dir/time.csv"
{ cat "$dir/header.csv"; echo '1,2026-01-01'; } >"$dir/short.csv"
printf 'a,b\n1,2\n' >"$dir/columns.csv"
printf '%s\n"1,2026' "$(cat "$dir/header.csv")" >"$dir/quote.csv"
gzip -c "$dir/time.csv" | head -c 40 >"$dir/cut.csv.gz"
while read -r file words; do
    expect 65 "$words" train --input "$dir/$file" --until 2026-03-01 --out "$dir/never.fraudd"
    [ "$file" = header.csv ] || # a history without payments is judged by what it lacks
        expect 65 "$words" backtest --input "$dir/$file" --features "$dir/never" --from 2026-03-01 --to 2026-03-02
done <<END
empty.csv is empty; its first line must name the columns
header.csv 0 payments before the end date
time.csv line 2: ts "noon" is not a time
short.csv line 2 has 2 fields; the header names 5
columns.csv the header has no column "tx_id"
quote.csv line 2 has 1 fields
cut.csv.gz cut.csv.gz
END
[ ! -e "$dir/never.fraudd" ] || { echo "FAIL: a model of nothing"; bad=1; }

# an address in use: 77
python3 - "$dir/port" <<'END' &
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
open(sys.argv[1] + ".new", "w").write(str(s.getsockname()[1]))
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
END
holder=$!
for _ in $(seq 100); do [ -s "$dir/port" ] && break; sleep 0.1; done
port=$(cat "$dir/port")
expect 77 "http.listen: cannot listen on 127.0.0.1:$port: another program does" \
    score --http.listen="127.0.0.1:$port"
expect 77 "http.sink-listen: cannot listen on 127.0.0.1:$port: another program does" \
    sink --http.sink-listen="127.0.0.1:$port"

# nobody answers: 69; also where the broker takes connections and never says a word
begun=$SECONDS
timeout 30 "$program" check --brokers "127.0.0.1:$port" --database 'host=127.0.0.1 port=1' >"$dir/out" 2>&1
[ $? -eq 78 ] && grep -q "^wrong   brokers: 127.0.0.1:$port: no Kafka broker answered" "$dir/out" ||
    { echo "FAIL: check of a broker that hangs"; cat "$dir/out"; bad=1; }
# as long again for what runs beside
awk -v took=$((SECONDS - begun)) -v cores="$(nproc)" '{ exit !(took <= 10 * (1 + $1 / cores)) }' /proc/loadavg || { echo "FAIL: check took $((SECONDS - begun)) s of a broker that hangs"; bad=1; }
expect 69 'cannot reach PostgreSQL at 127.0.0.1:1 (database "x")' \
    sink --http.sink-listen= --database 'host=127.0.0.1 port=1 dbname=x'
expect 69 'cannot reach PostgreSQL at 127.0.0.1:1' migrate --database 'host=127.0.0.1 port=1'
expect 69 'no Kafka broker answered' produce --brokers 127.0.0.1:1 tests/unit/test_cli.sh

# a full disk: 74; no such folder: 66
expect 74 'cannot write /dev/full: No space left on device; the disk is full: make room' \
    simulate --cards 100 --days 10 --out /dev/full
expect 66 "$dir/none/out.csv: No such file or directory" \
    simulate --cards 100 --days 10 --out "$dir/none/out.csv"

exit $bad
