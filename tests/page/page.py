"""The user of tests/page/run: opens the page of `treecache serve`, and looks at what it shows.

    page.py PROGRAM SERVER_PORT WORK [PICTURES]

Asks for the server to "stop" and to "start" on standard output, and waits for "done" on standard input.
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time

from browser import Browser
from kazoo.client import KazooClient

PROGRAM, PORT, WORK, *PICTURES = sys.argv[1:]
HOSTS = f"127.0.0.1:{PORT}"
logging.disable(logging.CRITICAL)

# What would act, if a page took it for anything but text. (A name has no slash in it.)
TAG = "<img src=x onerror=executed.push(1)>"
SCRIPT = f"<script>executed.push(2)</script>{TAG}<svg onload=executed.push(3)>\u202egpj.exe"
EVIL_NAMES = [TAG, "<svg onload=executed.push(4)>", "\u202egnp.exe", "a&b <b>bold"]
ROW = """[...document.querySelectorAll("#tree .row")].find((row) => row.querySelector(".name").textContent === {})"""


def say(message):
    print(message, file=sys.stderr, flush=True)


def ask(command):
    print(command, flush=True)
    assert sys.stdin.readline() == "done\n", command


def text(words):
    return json.dumps(words)


class Serve:
    """The program, which serves."""

    def __init__(self, listen="127.0.0.1:0", hosts=HOSTS):
        command = [PROGRAM, "serve", "--set", "session.timeout.ms=10000", "--listen", listen, hosts, "/shop"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(f"{WORK}/serve.log", "a"), text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), f"{self.url!r}: {open(f'{WORK}/serve.log').read()}"

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 128 + signal.SIGTERM


class Page(Browser):
    def sees_state(self, state):
        self.wait_until(state, f'document.querySelector("#state").textContent === {text(state)}')

    def sees_notice(self, words):
        self.wait_until(words, f'!document.querySelector("#notice").hidden && '
                               f'document.querySelector("#notice").textContent.includes({text(words)})')

    def sees_row(self, name):
        self.wait_until(f"a row {name}", f"!!({ROW.format(text(name))})")

    def sees_no_row(self, name):
        self.wait_until(f"no row {name}", f"!({ROW.format(text(name))})")

    def twist(self, name):
        self.sees_row(name)
        self.click(ROW.format(text(name)) + '.querySelector(".twist")')

    def choose(self, name):
        self.sees_row(name)
        self.click(ROW.format(text(name)) + '.querySelector(".name")')

    def sees_data(self, words):
        self.wait_until(f"data {words}", f'document.querySelector("#node-data").textContent === {text(words)}')

    def is_well(self):
        """Nothing was executed, refused or complained of, and nobody else was asked."""
        assert self.eval("[violations.length, executed.length]") == [0, 0], self.eval("[violations, executed]")
        # The browser notes each answer that is an error: a node that is gone is one.
        complaints = [said for said in self.complaints if not ("404" in said and "/api/" in said)]
        assert not complaints and not self.dialogs, (complaints, self.dialogs)

    def fits(self):
        wide = self.eval("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"wider than the screen: {wide}"


def fill(zk):
    services = {"cart": 3, "checkout": 2, "payment": 4, "search": 2}
    for service, instances in services.items():
        zk.create(f"/shop/services/{service}", json.dumps({"port": 8000 + len(service)}).encode(), makepath=True)
        for number in range(instances):
            zk.create(f"/shop/services/{service}/10.0.{number}.{len(service)}:8080", b"up", ephemeral=number % 2 == 0)
    settings = {"database": {"url": "postgres://db.internal/shop", "pool": 20}, "features": {"new-checkout": False}}
    zk.create("/shop/config", json.dumps(settings, indent=2).encode())
    zk.create("/shop/certificate", bytes(range(256)))
    zk.create("/shop/evil", SCRIPT.encode())
    for name in EVIL_NAMES:
        zk.create(f"/shop/evil/{name}", name.encode())
    zk.create("/shop/orders")
    requests = [zk.create_async(f"/shop/orders/order-{number:05}", b"3 apples") for number in range(2500)]
    for request in requests:
        request.get()


def look_at_the_tree(page, zk):
    page.sees_state("in step")
    page.sees_row("services")
    assert page.eval('document.querySelector("#notice").hidden')
    page.twist("services")
    page.twist("cart")
    page.sees_row("10.0.0.4:8080")
    page.choose("10.0.0.4:8080")
    page.sees_data("up")
    assert "ephemeral" in page.eval('document.querySelector("#node-stat").innerText')
    # By keys alone.
    page.eval(ROW.format('"services"') + ".focus()")
    page.press("ArrowLeft")
    page.sees_no_row("cart")
    page.press("ArrowRight")
    page.sees_row("cart")
    page.press("ArrowDown")
    page.press("Enter")
    page.sees_data('{"port": 8004}')
    assert page.eval("document.activeElement.treeNode.path") == "/shop/services/cart"
    page.press("/")
    assert page.eval("document.activeElement.id") == "search"
    page.choose("certificate")
    page.wait_until("a dump", 'document.querySelector("#node-data").textContent.startsWith("000000  00 01 02 03")')


def look_at_long_lists(page):
    page.twist("orders")
    page.sees_row("order-00000")
    page.sees_no_row("order-00200")
    page.click("""[...document.querySelectorAll("#tree .more button")].find((b) => b.textContent === "200 more")""")
    page.sees_row("order-00399")
    page.sees_no_row("order-00400")
    # What is found far behind is shown without what is between.
    page.eval('document.querySelector("#search").focus()')
    page.type("ORDER-0177")
    page.wait_until("ten paths", 'document.querySelectorAll("#found-list button").length === 10')
    page.click("""document.querySelectorAll("#found-list button")[3]""")
    page.sees_row("order-01773")
    page.sees_no_row("order-00000")
    page.wait_until("it is chosen", ROW.format('"order-01773"') + """.ariaSelected === "true" """)
    page.sees_data("3 apples")
    page.click("""[...document.querySelectorAll("#tree .more button")].find((b) => b.textContent === "from the first")""")
    page.sees_row("order-00000")
    page.eval('document.querySelector("#search").focus()')
    page.press("Escape")
    page.wait_until("no results", 'document.querySelector("#found").hidden')
    page.twist("orders")


def look_at_what_would_act(page):
    page.twist("evil")
    for name in EVIL_NAMES:
        shown = name.replace("\u202e", "\\u{202e}")
        page.choose(shown)
        page.sees_data(shown)
    page.choose("evil")
    page.sees_data(SCRIPT.replace("\u202e", "\\u{202e}"))
    assert page.eval('document.querySelectorAll("#node-data .escaped").length') == 1
    page.eval('document.querySelector("#search").focus()')
    page.type("<img")
    page.wait_until("it is found", 'document.querySelectorAll("#found-list button").length === 1')
    page.press("Escape")
    assert page.eval('document.querySelectorAll("main img, main script, main b, main svg:not(figure svg)").length') == 0
    # What would run, if the page had such a mistake, is refused by the browser; that is seen, so it would have been above.
    refused = page.eval("""(() => { try { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); return "done" }
                                    catch (error) { return error.name } })()""")
    assert refused == "TypeError", refused
    page.wait_until("a violation", "violations.length > 0")
    assert page.eval("violations")[0].startswith("require-trusted-types-for"), page.eval("violations")
    page.eval("violations.length = 0; 1")
    page.complaints.clear()
    page.twist("evil")


def look_at_changes(page, zk):
    page.choose("config")
    zk.set("/shop/config", b"changed")
    page.sees_data("changed")
    zk.create("/shop/added", b"1")
    page.sees_row("added")
    page.wait_until("it is told", """document.querySelector("#feed li").innerText.includes("/shop/added")""")
    zk.delete("/shop/added")
    page.sees_no_row("added")
    zk.create(f"/shop/{TAG}2", b"")
    page.sees_row(f"{TAG}2")
    page.wait_until("it is told", f"""document.querySelector("#feed li button").textContent === {text(f"/shop/{TAG}2")}""")
    zk.delete(f"/shop/{TAG}2")
    zk.delete("/shop/config")
    page.wait_until("it is gone", """document.querySelector("#node-note").textContent.startsWith("This node is gone")""")
    page.sees_data("changed")
    zk.create("/shop/config", b"again")
    page.sees_data("again")
    # More than anybody reads.
    for first in range(0, 3000, 500):
        many = zk.transaction()
        for number in range(first, first + 500):
            many.create(f"/shop/orders/late-{number:05}", b"a pear")
        many.commit()
    page.wait_until("some are left out", 'document.querySelectorAll("#feed .left-out").length > 0')
    page.wait_until("all are counted", """document.querySelector("#nodes").textContent === "5,525" """)
    page.wait_until("the last one is told", """document.querySelector("#feed li").innerText.includes("late-02999")""")
    assert page.eval('document.querySelectorAll("#feed li").length') <= 200
    page.wait_until("they are plotted", """/[1-9]/.test(document.querySelector("#plot-changes .axis").children[1].textContent)""")


def look_when_the_server_goes(page, zk):
    ask("stop")
    page.sees_state("suspended")
    page.sees_notice("Not in step: no connection to the server. What is shown is ")
    page.wait_until("it gets older", """parseFloat(document.querySelector("#age").textContent) > 2""")
    page.choose("certificate")
    page.wait_until("it can still be read", 'document.querySelector("#node-data").textContent.startsWith("000000")')
    if PICTURES:
        page.picture(f"{PICTURES[0]}/suspended.png")
    ask("start")
    page.sees_state("in step")
    page.wait_until("no notice", 'document.querySelector("#notice").hidden')
    assert zk.exists("/shop")


def look_when_the_program_goes(page, serve):
    address = serve.url.split("/")[2]
    serve.end()
    page.sees_state("no connection")
    page.sees_notice("No connection to treecache serve")
    if PICTURES:
        page.picture(f"{PICTURES[0]}/gone.png")
    page.complaints.clear()  # that nobody answers
    page.eval("window.isOld = true")
    serve = Serve(address)
    # Another process: the page comes anew.
    page.wait_until("a new page", "window.isOld === undefined")
    page.sees_state("in step")
    page.sees_row("services")
    page.complaints.clear()
    return serve


def take_pictures(page, zk):
    """After some minutes of a shop's life."""
    say("Taking pictures")
    page.twist("services")
    page.twist("checkout")
    chance, end = random.Random(7), time.monotonic() + 240
    extra = []
    while time.monotonic() < end:
        for _ in range(chance.choice([0, 1, 1, 2, 3, 9])):
            if chance.random() < 0.25:
                extra.append(zk.create("/shop/services/checkout/10.0.9.", b"up", sequence=True, ephemeral=True))
            elif extra and chance.random() < 0.15:
                zk.delete(extra.pop())
            else:
                zk.set(f"/shop/services/{chance.choice(['cart', 'search', 'payment'])}", b"%d" % chance.randrange(9999))
        time.sleep(0.4 + 0.4 * chance.random())
        page.eval("1")  # takes what it says meanwhile
    settings = {"database": {"url": "postgres://db.internal/shop", "pool": 20}, "features": {"new-checkout": False}}
    zk.set("/shop/config", json.dumps(settings, indent=2).encode())
    page.choose("config")
    page.wait_until("its data", """document.querySelector("#node-data").textContent.includes("postgres")""")
    for scheme in ("light", "dark"):
        page.colours(scheme)
        page.size(1280, 800, scale=1.5)
        time.sleep(1)
        page.picture(f"{PICTURES[0]}/{scheme}.png")
    page.size(390, 844, scale=2, is_mobile=True)
    time.sleep(1)
    page.picture(f"{PICTURES[0]}/telephone.png")
    page.eval("""document.querySelector("#plots").scrollIntoView()""")
    time.sleep(1)
    page.picture(f"{PICTURES[0]}/telephone-plots.png")


def main():
    zk = KazooClient(HOSTS, connection_retry={"max_tries": -1, "max_delay": 0.2}, command_retry={"max_tries": -1})
    zk.start()
    fill(zk)
    serve, page = Serve(), None
    try:
        page = Page(1280, 800)
        page.go(serve.url)
        for step in (lambda: look_at_the_tree(page, zk), lambda: look_at_long_lists(page), lambda: look_at_what_would_act(page),
                     lambda: look_at_changes(page, zk)):
            step()
            page.is_well()
        for width, height in ((1280, 800), (800, 600), (390, 844), (320, 568)):
            page.size(width, height)
            page.fits()
        page.size(1280, 800)
        look_when_the_server_goes(page, zk)
        page.is_well()
        serve = look_when_the_program_goes(page, serve)
        if PICTURES:
            take_pictures(page, zk)
        page.is_well()
        assert all(url.startswith((serve.url, "about:")) for url in page.requested), page.requested
        say("The page shows what is there, as text, and says when it does not know")
    finally:
        if page is not None:
            page.end()
        if serve.process.poll() is None:
            serve.process.kill()
            serve.process.wait()
        zk.stop()


if __name__ == "__main__":
    main()
