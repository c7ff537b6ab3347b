#!/bin/bash
# The analysts' page in a real browser (Chromium), over a real PostgreSQL, with alerts whose every text
# is an attack: nothing of it runs, all of it is shown as text, nothing leaves for another host; and
# the page works by keys, from login to verdict.
set -u
cd "$(dirname "$0")/../.." || exit 2
command -v chromedriver >/dev/null || { echo "skipped: no chromedriver (Debian: chromium-driver)"; exit 0; }
. tests/integration/servers.sh
program=$PWD/build/release/fraudd
for name in ${!FRAUDD_@}; do unset "$name"; done
unset TEST_DATABASE
dir=$(mktemp -d /tmp/fraudd-test-page-XXXXXX)
served=
end() {
    [ -z "$served" ] || kill "$served" 2>/dev/null
    servers_stop
    rm -rf "$dir"
}
trap end EXIT
servers_postgres || { echo "no PostgreSQL"; exit 1; }
trap end EXIT
"$program" migrate --database "$DATABASE" >/dev/null || { echo "no schema"; exit 1; }

# a merchant, a card, a reason, a device and a note, each an attack of its own
psql -q -d "$DATABASE" -v ON_ERROR_STOP=1 <<'END' || { echo "no alerts"; exit 1; }
INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, currency, exponent,
                    amount_ref, score, outcome, model, body)
SELECT 'log-1', 0, i, now() - i * interval '1 min', 'tx' || i, e, 10000, 'EUR', 2, 10000, .9 - i / 100.0,
       'review', e, jsonb_build_object('id', 'log-1/0/' || i, 'tx', 'tx' || i, 'card', e, 'ts', iso_time(now()),
           'amount', 10000, 'currency', 'EUR', 'exponent', 2, 'merchant', e, 'terminal', e, 'device', e, 'ip', e,
           'country', 'DE', 'channel', 'ecommerce', 'type', 'purchase',
           'reasons', jsonb_build_array(jsonb_build_object('group', e, 'weight', 2.5, 'text', e)))
FROM unnest(ARRAY['<img src=x onerror="window.hit=1">', '<script>window.hit=2</script>',
                  '"><svg onload=window.hit=3>', 'javascript:window.hit=4', '{{constructor.constructor("window.hit=5")()}}',
                  '<iframe src="http://evil.example/6"></iframe>', '</textarea><b id=broken>']) WITH ORDINALITY AS x (e, i);
INSERT INTO transactions (event_time, log, part, log_offset, tx_id, card, type, amount_minor, currency, exponent,
                          amount_ref, merchant, country, channel)
SELECT event_time, log, part, log_offset, tx_id, card, 'purchase', amount_minor, currency, exponent, amount_ref,
       card, 'DE', 'ecommerce' FROM alerts;
END
token=$("$program" console --console.tokens "$dir/tokens" --grant ada 2>/dev/null) || { echo "no token"; exit 1; }
port=$(servers_free_port)
"$program" console --console.tokens "$dir/tokens" --database "$DATABASE" --console.listen "127.0.0.1:$port" \
    --http.console-listen= >"$dir/log" 2>&1 &
served=$!
for _ in $(seq 100); do curl -s -o /dev/null "http://127.0.0.1:$port/healthz" && break; sleep .1; done

PYTHONPATH=tests/support python3 - "http://127.0.0.1:$port" "$token" <<'END' || { tail -n 5 "$dir/log"; exit 1; }
import json, sys, time
import webdriver

page, token = sys.argv[1:]
browser = webdriver.Browser()
try:
    browser.go(page + "/")
    browser.wait("return document.getElementById('login').open")
    browser.run("document.getElementById('token').focus()")
    browser.type(token)
    browser.press(webdriver.ENTER)
    browser.wait("return document.querySelectorAll('#list > *').length >= 7")
    browser.run("document.activeElement.blur()")
    seen = ""
    for _ in range(8):  # each alert's pane
        browser.wait("return document.querySelector('#detail').innerText.length > 100")
        seen += browser.text("#detail") + browser.text("#list")
        browser.press("j")
        browser.run("return new Promise((done) => setTimeout(done, 400))")
    for text in ('<img src=x onerror="window.hit=1">', "<script>window.hit=2</script>", '"><svg onload=window.hit=3>',
                 "javascript:window.hit=4", '<iframe src="http://evil.example/6">', "</textarea><b id=broken>"):
        assert text in seen, f"not shown as text: {text}"
    assert browser.run("return window.hit ?? null") is None, "a text ran as a script"
    made = browser.run("return document.querySelectorAll('main img, main script, main iframe, #broken, [onload], [onerror],"
                       " a[href^=javascript]').length")
    assert made == 0, f"{made} elements were made of texts"

    # by keys: claim the most urgent, write a note that is an attack, judge it
    browser.press("n")
    browser.wait("return document.getElementById('note') !== null")
    while True:  # until the pane is drawn for the last time
        browser.run("document.getElementById('note').dataset.seen = '1'")
        time.sleep(1)
        if browser.run("return document.getElementById('note')?.dataset.seen === '1'"):
            break
    browser.press("m")
    browser.wait("return document.activeElement.id === 'note'")
    browser.type("<img src=x onerror=window.hit=7>")
    browser.press(webdriver.ESCAPE, "f")
    browser.wait("return document.getElementById('count-resolved').textContent === '1'")
    end = time.monotonic() + 15
    while "onerror=window.hit=7" not in browser.text("#detail"):
        assert time.monotonic() < end, browser.text("#detail")
        browser.press("z")
        time.sleep(1)
    assert browser.run("return window.hit ?? null") is None, "a note ran as a script"

    # what left: this page alone; what complained: nobody
    hosts = set()
    for line in browser.log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            if url.startswith("http"):  # not the browser's own first page
                hosts.add(url.split("/")[2])
    assert hosts == {page.split("/")[2]}, hosts
    # the session is asked for before the login: 401
    errors = [line["message"] for line in browser.log("browser") if line["level"] == "SEVERE" and "401" not in line["message"]]
    assert not errors, errors
finally:
    browser.close()
END
[ "$(servers_sql "SELECT verdict || ' ' || note FROM alerts WHERE verdict IS NOT NULL")" = 'fraud <img src=x onerror=window.hit=7>' ] ||
    { echo "FAIL: the verdict is not stored"; servers_sql "SELECT * FROM queue WHERE verdict IS NOT NULL"; exit 1; }
exit 0
