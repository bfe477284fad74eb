"""Chromium without a screen, by its DevTools protocol over two pipes: no other program, and no package, is needed."""

import base64
import contextlib
import json
import os
import select
import subprocess
import tempfile
import time

PATIENCE_S = 60  # nothing takes that long


class Browser:
    """A browser with one page, which remembers all that the page complains of."""

    def __init__(self, width, height):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        its_end, self.out = os.pipe()
        self.into, its_out = os.pipe()
        options = ["--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "--disable-gpu", "--no-first-run",
                   "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars", "--force-color-profile=srgb"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # it refuses to start otherwise
        # It reads commands from descriptor 3, and writes to 4.
        shell = f'exec "$@" 3<&{its_end} 4>&{its_out} {its_end}<&- {its_out}>&-'
        command = ["bash", "-c", shell, "bash", "chromium-headless-shell", *options, "about:blank"]
        self.log = open(os.path.join(self.profile.name, "log"), "w+b")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        pass_fds=(its_end, its_out))
        os.close(its_end)
        os.close(its_out)
        self.buffer, self.last_id, self.session = b"", 0, None
        self.complaints, self.dialogs, self.requested = [], [], set()
        target = self.call("Target.createTarget", url="about:blank", width=width, height=height)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        # What the page may not do is told to whoever listens in it, also if nothing else tells of it.
        self.call("Page.addScriptToEvaluateOnNewDocument", source="""
            window.violations = []; window.executed = [];
            document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI));
        """)
        self.size(width, height)

    def call(self, method, **parameters):
        self.last_id += 1
        number = self.last_id
        message = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = self.next(end)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def next(self, end):
        """The next message; what the page complains of is remembered."""
        while b"\0" not in self.buffer:
            assert select.select([self.into], [], [], max(0, end - time.monotonic()))[0], "the browser says nothing"
            read = os.read(self.into, 1 << 20)
            if not read:
                self.log.seek(0)
                raise AssertionError(f"the browser has ended: {self.log.read()[-2000:].decode(errors='replace')}")
            self.buffer += read
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded":
            entry = parameters["entry"]
            self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(parameters["message"])
        elif method == "Network.requestWillBeSent":
            self.requested.add(parameters["request"]["url"])
        return message

    def eval(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{script}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def wait_until(self, what, script):
        end = time.monotonic() + PATIENCE_S
        while not self.eval(script):
            if time.monotonic() > end:
                text = self.eval("document.body?.innerText")
                raise AssertionError(f"not in time: {what}\n{script}\n{text}\n{self.complaints}")
            time.sleep(0.05)

    def size(self, width, height, scale=1, is_mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=is_mobile)

    def colours(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait_until(url, f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def click(self, script, times=1):
        """With the mouse, in the middle of what a script finds."""
        box = self.eval(f"""(() => {{
            const e = {script}; e.scrollIntoView({{block: "nearest"}}); const b = e.getBoundingClientRect();
            return [b.left + b.width / 2, b.top + b.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=times)

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            extra = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **extra)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, file):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(file, "wb") as out:
            out.write(base64.b64decode(data))

    def end(self):
        with contextlib.suppress(OSError):
            os.close(self.out)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.into)
        self.log.close()
        self.profile.cleanup()
