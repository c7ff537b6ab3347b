#!/bin/bash
# Watching: a real Prometheus scrapes score and sink under load; promtool finds the pages, the alert
# rules and their tests right; every expression of rules and dashboard is answered, the dashboard's
# with data; healthy daemons raise no alert, and one that is killed does.  `fraudd top` shows the same.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
servers_scratch watch
fail() { echo "FAIL: $*"; tail -n 12 "$dir"/*.log "$dir/out" 2>/dev/null | cut -c1-300; exit 1; }

# ---- without daemons ----
promtool check rules etc/prometheus/fraudd.rules.yml >"$dir/out" 2>&1 || fail "the rules"
sed "s|RULES|$PWD/etc/prometheus/fraudd.rules.yml|" tests/support/fraudd.rules.test.yml >"$dir/rules.test.yml"
promtool test rules "$dir/rules.test.yml" >"$dir/out" 2>&1 || fail "the tests of the rules"

# ---- daemons, load, Prometheus ----
servers_kafka && servers_postgres || { echo "no servers"; exit 1; }
unset TEST_DATABASE
"$program" simulate --cards 200 --days 60 --out "$dir/history.csv" 2>/dev/null &&
    OPENBLAS_NUM_THREADS=1 "$program" train --input "$dir/history.csv" --until 2026-02-25 --epochs 1 \
        --out "$dir/model.fraudd" >"$dir/out" 2>&1 || fail "no model"
score_port=$(servers_free_port)
sink_port=$((score_port + 1))
prometheus_port=$(servers_free_port)
p=watch-$$
cat >"$dir/fraudd.conf" <<END
brokers = "$BROKERS"; database = "$DATABASE"; model = "$dir/model.fraudd"; partitions = 4;
log = "$p"; group = "$p-score"; sink-group = "$p-sink"; alert = { budget = 1000; };
topics = { transactions = "$p-transactions"; labels = "$p-labels"; notices = "$p-notices";
  decisions = "$p-decisions"; alerts = "$p-alerts"; dead-letters = "$p-dead-letters"; journal = "$p-journal"; };
state = { dir = "$dir/state"; every = "2s"; };
http = { listen = "127.0.0.1:$score_port"; sink-listen = "127.0.0.1:$sink_port"; };
END
mkdir "$dir/state"
for t in transactions decisions; do servers_topic "$p-$t" 4; done
for t in labels notices alerts dead-letters journal; do servers_topic "$p-$t" 1; done
"$program" migrate --config "$dir/fraudd.conf" >"$dir/out" 2>&1 || fail "migrate"
cat >"$dir/prometheus.yml" <<END
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["$dir/rules.yml"]
scrape_configs:
  - {job_name: fraudd-score, static_configs: [{targets: ["127.0.0.1:$score_port"]}]}
  - {job_name: fraudd-sink, static_configs: [{targets: ["127.0.0.1:$sink_port"]}]}
END
sed 's/for: [0-9]*m/for: 2s/' etc/prometheus/fraudd.rules.yml >"$dir/rules.yml" # nobody waits 15 minutes here
promtool check config "$dir/prometheus.yml" >"$dir/out" 2>&1 || fail "the configuration"
for verb in score sink; do
    "$program" $verb --config "$dir/fraudd.conf" >"$dir/$verb.log" 2>&1 &
    pids+=("$!")
done
ready() { [ "$(curl -s -o "$dir/out" -w '%{http_code}' "http://127.0.0.1:$1/readyz")" = 200 ]; }
until_true 60 "score is ready" ready "$score_port"
until_true 60 "the sink is ready" ready "$sink_port"
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" \
    --web.listen-address="127.0.0.1:$prometheus_port" >"$dir/prometheus.log" 2>&1 &
pids+=("$!")
OPENBLAS_NUM_THREADS=1 "$program" produce --config "$dir/fraudd.conf" --shift --labels --rate 500 "$dir/history.csv" \
    >"$dir/produce.log" 2>&1 &
pids+=("$!")
for port in $score_port $sink_port; do
    curl -s "http://127.0.0.1:$port/metrics" | promtool check metrics >"$dir/out" 2>&1 || fail "a page of metrics"
done

asked() { # asked EXPRESSION: rows of the answer; fails where it is none
    curl -s "http://127.0.0.1:$prometheus_port/api/v1/query" --data-urlencode "query=$1" >"$dir/answer" &&
        grep -q '"status":"success"' "$dir/answer" && grep -o '"metric":' "$dir/answer" | wc -l
}
# at least N of a value
value() { asked "$1" >/dev/null && sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p' "$dir/answer"; }
scraped() { [ "$(value 'count(up{job=~"fraudd-.*"} == 1)')" = 2 ]; }
until_true 30 "both scraped" scraped
flows() { [ "$(value 'sum(rate(fraudd_decisions_total[15s])) > bool 100')" = 1 ] && [ "$(value 'sum(rate(fraudd_sink_rows_total[15s])) > bool 100')" = 1 ]; }
until_true 60 "payments flow" flows

# ---- `fraudd top` in a pipe: plain lines ----
"$program" top --config "$dir/fraudd.conf" --count 2 --every 1s >"$dir/top" 2>&1 || { cat "$dir/top"; fail "top"; }
grep -q 'score .*payments/s' "$dir/top" && ! grep -q "$(printf '\033')" "$dir/top" || { cat "$dir/top"; fail "top in a pipe"; }

# ---- and in a terminal: a page, and q ends it ----
python3 - "$program" "$dir/fraudd.conf" >"$dir/out" 2>&1 <<'END' || fail "top in a terminal"
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
    os.execv(sys.argv[1], [sys.argv[1], "top", "--config", sys.argv[2], "--every", "500ms"])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
seen, until, asked = b"", time.time() + 30, False
while time.time() < until:
    if select.select([fd], [], [], 0.2)[0]:
        try:
            seen += os.read(fd, 65536)
        except OSError:
            break  # it ended
    if not asked and seen.count(b"payments/s") >= 3 and "█".encode() in seen:
        asked = os.write(fd, b"q") == 1
_, status = os.waitpid(pid, 0)
print(seen.decode(errors="replace"))
assert status == 0, status
assert asked and seen.startswith(b"\033[?1049h") and seen.rstrip().endswith(b"\033[?1049l"), "begin and end"
assert b"SINK  1 of 1 answer" in seen and b"fraudd top  20" in seen and b"threshold " in seen
END

# ---- every expression ----
python3 - <<'END' >"$dir/expressions"
import json
d = json.load(open("etc/grafana/fraudd.json"))
for panel in d["panels"]:
    for t in panel["targets"]:
        print(t["expr"].replace("$__rate_interval", "15s").replace("$score", "fraudd-score").replace("$sink", "fraudd-sink"))
print(d["annotations"]["list"][0]["expr"])
END
count=0
while IFS= read -r expr; do
    rows=$(asked "$expr") || fail "Prometheus does not take: $expr: $(cat "$dir/answer")"
    case $expr in # what is only there while something is wrong
    *'> 0') ;;
    *) [ "$rows" -ge 1 ] || fail "no data: $expr" ;;
    esac
    count=$((count + 1))
done <"$dir/expressions"
[ $count -gt 50 ] || fail "$count expressions"
curl -s "http://127.0.0.1:$prometheus_port/api/v1/rules" >"$dir/answer"
[ "$(grep -o '"health":"ok"' "$dir/answer" | wc -l)" -eq "$(grep -c '  - alert:' etc/prometheus/fraudd.rules.yml)" ] ||
    fail "rules that cannot be evaluated: $(cat "$dir/answer")"
# the history is of simulated months, and the smallest budget may be spent
firing() { value 'count(ALERTS{alertstate="firing", alertname!~"FrauddModelOld|FrauddBudgetSpent|FrauddSlow"}) or vector(0)'; }
[ "$(firing)" = 0 ] || fail "alarms in good health: $(asked 'ALERTS{alertstate="firing"}'; cat "$dir/answer")"

# ---- what is wrong is told ----
kill -9 "${pids[1]}"
wait "${pids[1]}" 2>/dev/null
down() { [ "$(value 'count(ALERTS{alertstate="firing", alertname="FrauddDown", job="fraudd-sink"})')" = 1 ]; }
until_true 30 "FrauddDown for the sink" down
"$program" top --config "$dir/fraudd.conf" --count 1 >"$dir/top" 2>&1
[ $? -eq 0 ] && grep -q "^sink .*does not answer" "$dir/top" || { cat "$dir/top"; fail "top without a sink"; }
exit 0
