#!/bin/bash
# The console under attack, on a real PostgreSQL: no token, an expired one, a revoked one, forged
# requests from other pages, markup and SQL in every field, requests that are too large, too slow or
# too many.  And what it is for: claim, verdict, audit, label.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE # one of our own
dir=$(mktemp -d /tmp/fraudd-test-console-XXXXXX)
served=
end() {
    [ -z "$served" ] || kill "$served" 2>/dev/null
    servers_stop
    rm -rf "$dir"
}
trap end EXIT
fail() { echo "FAIL: $*"; tail -n 5 "$dir/body" "$dir/head" "$dir/log"; exit 1; }
servers_postgres || { echo "no PostgreSQL"; exit 1; }
trap end EXIT
"$program" migrate --database "$DATABASE" >/dev/null || fail "no schema"

port=$(servers_free_port)
page=http://127.0.0.1:$port
tokens=$dir/tokens
grant() { "$program" console --console.tokens "$tokens" --grant "$@" 2>/dev/null; }
ada=$(grant ada) || fail "no token"
grace=$(grant grace) || fail "no second token"
vic=$(grant vic --role viewer) || fail "no viewer's token"
[ "$(stat -c %a "$tokens")" = 600 ] || fail "the tokens file is open to others"
grep -q "$ada" "$tokens" && fail "the tokens file holds a token"
grant 'eve;drop' >/dev/null && fail "a name with a semicolon"
chmod 644 "$tokens"
refused_start() { # refused_start FILE CODE "WORDS": it does not start with this tokens file
    "$program" console --console.tokens "$1" --http.console-listen= >"$dir/out" 2>&1
    if [ $? -ne "$2" ] || ! grep -qF -- "$3" "$dir/out"; then
        fail "tokens file $1: $(cat "$dir/out")"
    fi
}
refused_start "$tokens" 77 'chmod 600'
chmod 600 "$tokens"
refused_start "$dir/none" 66 '--grant NAME'
echo 'eve analyst never 00' >"$dir/broken"
chmod 600 "$dir/broken"
refused_start "$dir/broken" 78 'line 1: the expiry is no time'

start() {
    "$program" console --console.tokens "$tokens" --database "$DATABASE" \
        --console.listen "127.0.0.1:$port" --http.console-listen= "$@" >>"$dir/log" 2>&1 &
    served=$!
    for _ in $(seq 100); do
        curl -s -o "$dir/body" "$page/healthz" && return
        kill -0 "$served" 2>/dev/null || fail "it ended"
        sleep .05
    done
    fail "it does not start"
}
start

# ask PATH [CURL OPTIONS..]: $code, $dir/body, $dir/head
ask() {
    local path=$1
    shift
    code=$(curl -s -m 20 -o "$dir/body" -D "$dir/head" -w '%{http_code}' "$@" "$page$path")
}
wants() { [ "$code" = "$1" ] || fail "$2: $code instead of $1"; }
says() { grep -qF -- "$1" "$dir/body" || fail "$2: no \"$1\""; }
login() { # login TOKEN FILE: cookies in FILE, the CSRF token in $csrf
    ask /api/login -c "$2" --data-urlencode "token=$1"
    csrf=$(sed -n 's/.*"csrf": *"\([0-9a-f]*\)".*/\1/p' "$dir/body")
}
post() { # post COOKIES CSRF PATH DATA..: as the page does
    local cookies=$1 secret=$2 path=$3
    shift 3
    ask "$path" -b "$cookies" -H "X-CSRF-Token: $secret" -H "Origin: $page" \
        -H 'Sec-Fetch-Site: same-origin' "$@"
}

# alerts whose every text is markup, and one that is SQL
evil='<img src=x onerror=alert(1)><script>alert(2)</script>'
psql -q -d "$DATABASE" -v evil="$evil" -v ON_ERROR_STOP=1 <<'END' || fail "no alerts"
INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, currency, exponent,
                    amount_ref, score, outcome, model, body)
SELECT 'log-1', 0, i, now() - i * interval '1 min', 'tx' || i,
       CASE i WHEN 1 THEN :'evil' WHEN 2 THEN '''; DROP TABLE alerts; --' ELSE 'card' || i END,
       10000, 'EUR', 2, 10000, .9 - i / 1000.0, 'review', 'm1',
       jsonb_build_object('id', 'log-1/0/' || i, 'tx', 'tx' || i, 'card', 'card' || i,
                          'ts', iso_time(now()), 'amount', 10000, 'currency', 'EUR', 'exponent', 2,
                          'merchant', :'evil'::text, 'device', :'evil'::text, 'type', 'purchase',
                          'reasons', jsonb_build_array(jsonb_build_object('group', 'amount',
                              'weight', 2.5, 'text', :'evil'::text)))
FROM generate_series(1, 120) i
END

# without a session: the page's own files and nothing else, and every answer has the policy
for path in / /app.js /style.css /healthz; do
    ask $path
    wants 200 "$path"
    grep -q "^Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'" "$dir/head" ||
        fail "$path has no policy"
    grep -qi '^X-Content-Type-Options: nosniff' "$dir/head" || fail "$path may be sniffed"
done
for path in /api/session '/api/queue?list=open' '/api/alert?id=log-1/0/1' /api/today; do
    ask "$path"
    wants 401 "$path without a session"
    ask "$path" -b "fraudd=$(printf %064d 0)"
    wants 401 "$path with an invented session"
done
for path in /api/claim /api/release /api/resolve /api/logout; do
    ask $path -d id=log-1/0/1
    wants 401 "$path without a session"
done
for path in /../etc/passwd /%2e%2e/etc/passwd /api/ /api/queue/ /console/app.js; do
    ask "$path" --path-as-is
    [ "$code" = 404 ] || [ "$code" = 401 ] || fail "$path: $code"
done
grep -qE '<style|<script>|style="|onclick|http://|https://' daemon/console/index.html &&
    fail "the page has inline parts or names another host"

# login
login "$ada" "$dir/ada"
wants 200 "login"
ada_csrf=$csrf
grep -qE '^Set-Cookie: fraudd=[0-9a-f]{64}; Path=/; Max-Age=[0-9]+; HttpOnly; SameSite=Strict' "$dir/head" ||
    fail "the cookie is $(grep -i set-cookie "$dir/head")"
login "$grace" "$dir/grace"
grace_csrf=$csrf
login "$vic" "$dir/vic"
vic_csrf=$csrf
for wrong in "$(printf %064d 1)" "${ada}x" "' OR 1=1 --" ''; do
    login "$wrong" "$dir/wrong"
    wants 403 "login with \"$wrong\""
done
ask /api/login -d "token=$ada" -H 'Origin: https://evil.example'
wants 403 "login from another page"

# a token that expires while it is used, and one that is taken away
short=$(grant short --valid 60s)
sed -i "/^short /s/ 20[^ ]*Z/ $(date -u -d '+8 seconds' +%Y-%m-%dT%H:%M:%SZ)/" "$tokens"
login "$short" "$dir/short"
wants 200 "login before expiry"
ask /api/session -b "$dir/short"
wants 200 "before expiry"
sleep 8.2
ask /api/session -b "$dir/short"
wants 401 "a stolen cookie after its token's expiry"
login "$short" "$dir/short"
wants 403 "an expired token"
gone=$(grant gone)
login "$gone" "$dir/gone"
wants 200 "login before the token is taken away"
sed -i '/^gone /d' "$tokens"
ask /api/session -b "$dir/gone"
wants 401 "a session whose token was taken away"

# what it is for
ask '/api/queue?list=open' -b "$dir/ada"
wants 200 "the queue"
says '"id": "log-1/0/1"' "the queue"
[ "$(grep -c '"id"' "$dir/body")" -ge 1 ] || fail "no alert"
post "$dir/ada" "$ada_csrf" /api/claim -d id=log-1/0/5
wants 200 "claim"
post "$dir/grace" "$grace_csrf" /api/claim -d id=log-1/0/5
wants 409 "somebody else's alert"
says 'is claimed by ada' "somebody else's alert"
post "$dir/ada" "$ada_csrf" /api/resolve -d 'id=log-1/0/5&verdict=fraud&change=no' --data-urlencode "note=$evil"
wants 200 "verdict"
[ "$(servers_sql "SELECT state || verdict || resolved_by FROM queue WHERE id = 'log-1/0/5'")" = resolvedfraudada ] ||
    fail "the verdict is not stored"
[ "$(servers_sql "SELECT count(*) FROM label_outbox WHERE tx_id = 'tx5'")" = 1 ] || fail "no label"
[ "$(servers_sql "SELECT string_agg(who || ' ' || what, ',' ORDER BY id) FROM audit WHERE who = 'ada'")" = \
    'ada case claim,ada alert resolve' ] || fail "the audit"
post "$dir/ada" "$ada_csrf" /api/resolve -d 'id=log-1/0/5&verdict=legitimate&change=no'
wants 409 "another verdict without saying so"
post "$dir/ada" "$ada_csrf" /api/resolve -d 'id=log-1/0/5&verdict=legitimate&change=yes'
wants 200 "another verdict"

# a viewer looks
ask '/api/alert?id=log-1/0/6' -b "$dir/vic"
wants 200 "a viewer's look"
for path in claim release resolve; do
    post "$dir/vic" "$vic_csrf" /api/$path -d 'id=log-1/0/6&verdict=fraud&change=no'
    wants 403 "a viewer's $path"
done

# forged by another page: a form there sends the cookie at most, never the header
forged=(-b "$dir/ada" -d 'id=log-1/0/7&verdict=fraud&change=no')
ask /api/resolve "${forged[@]}"
wants 403 "no CSRF token"
ask /api/resolve "${forged[@]}" -H "X-CSRF-Token: $grace_csrf"
wants 403 "another session's CSRF token"
ask /api/resolve "${forged[@]}" -H "X-CSRF-Token: ${ada_csrf%?}"
wants 403 "a CSRF token cut short"
ask /api/resolve "${forged[@]}" -H "X-CSRF-Token: $ada_csrf" -H 'Origin: https://evil.example'
wants 403 "another origin"
ask /api/resolve "${forged[@]}" -H "X-CSRF-Token: $ada_csrf" -H "Sec-Fetch-Site: cross-site"
wants 403 "another site"
ask "/api/resolve?id=log-1/0/7&verdict=fraud&change=no" -b "$dir/ada" -H "X-CSRF-Token: $ada_csrf"
wants 404 "a change by GET"
ask /api/session -b "$dir/ada" -H "Host: evil.example:$port"
wants 421 "another name for this address"
[ "$(servers_sql "SELECT state FROM queue WHERE id = 'log-1/0/7'")" = open ] || fail "a forged verdict"

# markup: it comes as JSON text, never as a page
ask '/api/alert?id=log-1/0/1' -b "$dir/ada"
wants 200 "an alert of markup"
grep -qi '^Content-Type: application/json' "$dir/head" || fail "markup is no JSON"
python3 - "$dir/body" "$evil" <<'END' || fail "markup came back changed"
import json, sys
a = json.load(open(sys.argv[1]))
assert a["alert"]["merchant"] == a["alert"]["card"] == a["reasons"][0]["text"] == sys.argv[2]
END
for path in "/$evil" "/api/alert?id=$evil" "/api/queue?list=$evil"; do
    ask "${path// /%20}" -b "$dir/ada" --globoff
    grep -qi '^Content-Type: application/json' "$dir/head" || fail "an error page of $path is no JSON"
done

# SQL through every field
tables=$(servers_sql "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
before=$(servers_sql "SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM alerts a")
# shellcheck disable=SC2016,SC1003
for sql in "' OR '1'='1" "'; DROP TABLE alerts; --" "1); DELETE FROM alerts; --" '$1' '\' "%27%20OR%201=1" \
    "x' UNION SELECT weights::text FROM models --" "log-1/0/8' --" "infinity'::float8 --" $'\x01' "$(printf '\377\376')"; do
    for field in list find key id; do
        set -- -G --data-urlencode "$field=$sql"
        [ $field = list ] || set -- "$@" -d "list=$([ $field = find ] && echo find || echo open)"
        ask /api/queue -b "$dir/ada" "$@"
        [ "$code" = 400 ] || { [ "$code" = 200 ] && [[ $field =~ ^(id|find)$ ]]; } ||
            fail "$field=$sql in the queue: $code"
        [ $field != find ] || [ "$code" = 400 ] || [ "$sql" = "'; DROP TABLE alerts; --" ] ||
            says '"alerts":[]' "find=$sql"
    done
    ask /api/alert -b "$dir/ada" -G --data-urlencode "id=$sql"
    [ "$code" = 404 ] || [ "$code" = 400 ] || fail "id=$sql of an alert: $code"
    for path in claim release; do
        post "$dir/ada" "$ada_csrf" /api/$path --data-urlencode "id=$sql"
        [ "$code" = 404 ] || [ "$code" = 400 ] || fail "id=$sql to $path: $code"
    done
    for field in id verdict change; do
        set -- --data-urlencode "$field=$sql"
        [ $field = id ] || set -- "$@" -d id=log-1/0/9999
        [ $field = verdict ] || set -- "$@" -d verdict=fraud
        [ $field = change ] || set -- "$@" -d change=no
        post "$dir/ada" "$ada_csrf" /api/resolve "$@"
        [ "$code" = 404 ] || [ "$code" = 400 ] || fail "$field=$sql to resolve: $code"
    done
    grep -qiE 'select|syntax|relation|sqlstate' "$dir/body" && fail "an answer quotes a statement"
done
ask '/api/queue?list=find&find=card%009' -b "$dir/ada"
wants 400 "a zero inside a value"
[ "$(servers_sql "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" = "$tables" ] || fail "a table is gone"
[ "$(servers_sql "SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM alerts a")" = "$before" ] || fail "alerts changed"
# a note is text, whatever is in it
post "$dir/ada" "$ada_csrf" /api/claim -d id=log-1/0/9
note="'; UPDATE alerts SET verdict = 'fraud'; -- \$1 \\"
post "$dir/ada" "$ada_csrf" /api/resolve -d 'id=log-1/0/9&verdict=legitimate&change=no' --data-urlencode "note=$note"
wants 200 "a note of SQL"
[ "$(servers_sql "SELECT note FROM alerts WHERE id = 'log-1/0/9'")" = "$note" ] || fail "the note changed"

# too large
head -c 9000 /dev/zero | tr '\0' x >"$dir/large"
post "$dir/ada" "$ada_csrf" /api/resolve -d @"$dir/large"
wants 413 "a large body"
post "$dir/ada" "$ada_csrf" /api/resolve -H 'Content-Length: 99999999999999999999' -d x
[ "$code" = 413 ] || [ "$code" = 400 ] || [ "$code" = 000 ] || fail "a length beyond numbers: $code"
post "$dir/ada" "$ada_csrf" /api/resolve -H 'Transfer-Encoding: chunked' -d x
wants 411 "a body without length"
post "$dir/ada" "$ada_csrf" /api/resolve -d 'id=log-1/0/10&verdict=fraud&change=no' -d "note=$(head -c 1001 "$dir/large")"
wants 400 "a long note"
ask "/api/alert?id=$(head -c 600 "$dir/large")" -b "$dir/ada"
wants 400 "a long name"
ask /api/session -b "$dir/ada" -H "X-Large: $(cat "$dir/large")$(cat "$dir/large")"
[ "$code" = 431 ] || [ "$code" = 413 ] || [ "$code" = 000 ] || fail "large headers: $code"
ask /api/session -X DELETE -b "$dir/ada"
wants 405 "DELETE"

# too slow: a byte a second holds a connection for a bounded time, and others are served meanwhile
slow() { # slow FIRST-BYTES: prints seconds until the server ends it
    local begun=$SECONDS
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf '%s' "$1" >&3
    for _ in $(seq 40); do
        { printf 'x' >&3; } 2>/dev/null || break
        IFS= read -r -t 1 -n 1 -u 3 _
        [ $? -gt 128 ] || break
    done
    exec 3>&-
    echo $((SECONDS - begun))
}
trap '' PIPE
slow $'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ' >"$dir/slow1" &
one=$!
slow $'POST /api/login HTTP/1.1\r\nHost: 127.0.0.1:'"$port"$'\r\nContent-Length: 5000\r\n\r\n' >"$dir/slow2" &
two=$!
for _ in $(seq 30); do # connections that say nothing
    (exec 3<>"/dev/tcp/127.0.0.1/$port" && sleep 3) &
done
sleep 1
ask /api/session -b "$dir/ada"
wants 200 "an analyst beside slow ones"
wait $one $two
for f in slow1 slow2; do
    [ "$(cat "$dir/$f")" -le 16 ] || fail "a slow request held its connection for $(cat "$dir/$f") s"
done

# too many
codes=$(for _ in $(seq 14); do
    curl -s -o /dev/null -w '%{http_code} ' -d "token=$(printf %064d 2)" "$page/api/login"
done)
[[ $codes == *429* ]] || fail "guessing tokens: $codes"
ask /api/session -b "$dir/ada"
wants 200 "an analyst while somebody guesses"
seq 3000 | sed "s|.*|url = $page/healthz\noutput = /dev/null|" >"$dir/many"
curl -s -K "$dir/many" -w '%{http_code}\n' | sort | uniq -c >"$dir/codes"
grep -q ' 429$' "$dir/codes" || fail "3000 requests at once: $(cat "$dir/codes")"
sleep 2

# the database goes away: an answer, and back it works
ask /api/session -b "$dir/ada"
wants 200 "an analyst after the flood"
servers_sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'" >/dev/null
ask '/api/queue?list=open' -b "$dir/ada"
wants 200 "the queue after the connections were cut"

# log out; restart: sessions end
post "$dir/grace" "$grace_csrf" /api/logout -d x=
wants 200 "logout"
ask /api/session -b "$dir/grace"
wants 401 "after logout"
kill -TERM "$served"
wait "$served" || fail "it does not end well"
start --console.name fraud.example.org
ask /api/session -b "$dir/ada"
wants 401 "a session of the process before"
ask /api/login -H 'Host: fraud.example.org' -H 'Origin: https://fraud.example.org' -d "token=$ada"
wants 200 "login behind a proxy"
grep -qE '^Set-Cookie: __Host-fraudd=[0-9a-f]{64}; Path=/; .*; Secure' "$dir/head" || fail "a cookie for HTTP"
grep -qE "$ada|$vic|card5|DROP TABLE" "$dir/log" && fail "the log has a token, a card or a statement's value"
echo "console: every attack was refused"
