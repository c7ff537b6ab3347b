"""A headless Chromium for tests: the few calls of the WebDriver protocol that they need, over
chromedriver (Debian's chromium-driver), with nothing but Python's own library."""
import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.request

ENTER, ESCAPE, DOWN = "\ue007", "\ue00c", "\ue015"


class Browser:
    def __init__(self, width=1280, height=800, dark=False):
        self.home = tempfile.TemporaryDirectory(prefix="fraudd-chromium-")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "HOME": self.home.name, "TMPDIR": self.home.name})
        self.session = ""
        for line in self.driver.stdout:
            if "successfully on port " in line:
                self.base = "http://127.0.0.1:" + line.rsplit("port ", 1)[1].rstrip(".\n")
                break
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 "--disable-dev-shm-usage", f"--window-size={width},{height}",
                 f"--user-data-dir={self.home.name}/profile", "--lang=en", "--no-first-run",
                 "--disable-background-networking"]
        if dark:
            flags.append("--blink-settings=preferredColorScheme=0")
        session = self.call("POST", "session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.session = "session/" + session["sessionId"] + "/"
        self.resize(width, height)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.base}/{self.session}{path}".rstrip("/"), method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"].split("\n")[0]) from None

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            self.home.cleanup()

    def go(self, url):
        self.call("POST", "url", {"url": url})

    def resize(self, width, height):
        """The page's own size, whatever the window's frame."""
        self.command("Emulation.setDeviceMetricsOverride",
                     {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def command(self, name, params):
        return self.call("POST", "goog/cdp/execute", {"cmd": name, "params": params})

    def run(self, script, *args):
        return self.call("POST", "execute/sync", {"script": script, "args": list(args)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? null", selector)

    def press(self, *keys):
        """Keys as a keyboard gives them, to whatever has the focus."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "actions",
                  {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    def type(self, text):
        self.press(*text)

    def wait(self, script, *args, seconds=15):
        """Until the script's value is true; returns it."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script, *args)
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {script} {args}")
            time.sleep(0.03)

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("GET", "screenshot")))

    def log(self, kind):
        """New lines of the console ("browser") or of the network ("performance")."""
        return self.call("POST", "se/log", {"type": kind})
