"""The user of tool/tests/top: runs `treecache top` in terminals and without, and looks at what it shows.

    top.py TREECACHE SERVER_PORT

Asks for the server to "stop" and to "start" on standard output, and waits for "done" on standard input.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from kazoo.client import KazooClient

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/lib"))
from terminal import PATIENCE_S, Terminal  # noqa: E402

TREECACHE, PORT = sys.argv[1:]
HOSTS = f"127.0.0.1:{PORT}"
LEAVE_SCREEN = b"\x1b[?25h\x1b[?1049l"

zk = KazooClient(HOSTS, connection_retry={"max_tries": -1, "max_delay": 0.2}, command_retry={"max_tries": -1})


class Top(Terminal):
    """top in a terminal."""

    def __init__(self, *place, **terminal):
        place = (HOSTS, *place) if place[0].startswith("/") else place
        super().__init__([TREECACHE, "top", "--interval", "100", *place], **terminal)

    def row(self, name):
        """The number of the line that shows a node in the tree; None where there is none."""
        for number, line in enumerate(self.lines()):
            if re.match(rf".. +([▾▸] )?{re.escape(name)}( |$)", line):
                return number
        return None

    def line(self, name):
        row = self.row(name)
        return None if row is None else self.lines()[row]

    def looks(self, name):
        """The first character of a node's name, with its colours; None where the node is not shown."""
        row = self.row(name)
        return None if row is None else self.screen.buffer[row][self.lines()[row].index(name)]

    def wait_for_tree(self):
        # What is drawn last is at the bottom.
        self.wait_until("the tree", lambda: "IN STEP" in self.text() and "NODE" in self.text() and "q quit" in self.lines()[-1])
        return self

    def sees(self, text):
        self.wait_until(text, lambda: text in self.text())

    def is_marked(self, condition):
        """Whether what is seen of a change is seen in time: it fades after five seconds."""
        end = time.monotonic() + 10
        while not (is_seen := condition()) and time.monotonic() < end:
            self.look()
        return is_seen

    def stops_seeing(self, text):
        self.wait_until(f"the end of {text}", lambda: text not in self.text())

    def ends_well(self, code=0):
        self.wait_until("the end", self.has_ended)
        assert self.exit_code == code, f"exit code {self.exit_code}\n{self.output[-2000:].decode(errors='replace')}"
        assert LEAVE_SCREEN in self.output and self.is_as_before(), "the terminal is not as it was"
        self.end()


def run(*arguments, **environment):
    """`treecache top` without a terminal, to its end."""
    return subprocess.run([TREECACHE, "top", *arguments], env={**os.environ, **environment}, capture_output=True,
                          text=True, encoding="utf-8", timeout=PATIENCE_S)


def fresh(root, nodes=()):
    """A tree of its own for each test."""
    zk.create(root, b"")
    for path, data in dict(nodes).items():
        zk.create(f"{root}/{path}", data, makepath=True)
    return root


def in_some_try(what, attempt):
    """What is seen of a change fades, which may be too soon on a busy machine: so there is another one."""
    for number in range(5):
        if answer := attempt(number):
            return answer
    raise AssertionError(f"not seen in any try: {what}")


def it_shows_how_the_cache_stands_and_the_tree():
    root = fresh("/shown", {"a/x": b"hello", "b": b"B" * 3000})
    zk.create(f"{root}/session", b"", ephemeral=True)
    top = Top(root).wait_for_tree()
    top.sees(f"server {HOSTS}")
    for part in ["● IN STEP", root, "connections 1", "nodes 5", "data 2.9 KiB", "lags 0", "faults 0", "· a cut",
                 "events ", "changes ", "reads ", "batches ", "cuts "]:
        top.sees(part)
    assert re.search(r"session 0x[1-9a-f]", top.text()) and re.search(r"zxid 0x[1-9a-f]", top.text()), top.text()
    assert re.search(r"▾ a +0 +0 B +\S+ \S+ +1", top.line("a")), top.line("a")
    assert re.search(r" x +0 +5 B .* hello$", top.line("x")), top.line("x")
    assert re.search(r" b +0 +2.9 KiB .*  B+…$", top.line("b")), top.line("b")
    assert re.search(r" session .* E$", top.line("session")), top.line("session")
    assert [top.row(name) for name in [root, "a", "x", "b", "session"]] == list(range(top.row(root), top.row(root) + 5))
    top.press("q")
    top.ends_well()


def foreign_bytes_do_not_reach_the_terminal():
    root = fresh("/foreign", {"a": b"\x1b[2J\x07\x00\n\\ \xff\xc3", "größe": "日本 \u202e\u0301 ü".encode(),
                              "日本": b"end"})
    top = Top(root).wait_for_tree()
    assert top.line("a").endswith(r"\u{1b}[2J\u{7}\u{0}\n\\ \xff\xc3"), top.line("a")
    # pyte leaves the second half of a wide character empty.
    assert top.line("größe").replace(" ", "").endswith(r"日本\u{202e}\u{301}ü"), top.line("größe")
    assert b"\x1b[2J\x07" not in top.output and "\u202e".encode() not in top.output
    # A wide character takes two columns: the data of all begins in one column.
    columns = {top.screen.display[top.row(name)].index(data) for name, data in [("a", r"\u{1b}"), ("größe", "日")]}
    buffer = top.screen.buffer[top.row("日本")]
    assert len(columns) == 1 and buffer[columns.pop()].data == "e", top.text()
    top.press("q")
    top.ends_well()
    in_ascii = run("--once", HOSTS, root, LC_ALL="C")
    assert in_ascii.stdout.isascii() and r"gr\u{f6}\u{df}e" in in_ascii.stdout, in_ascii


def changes_are_seen_and_fade():
    marks = [("set", "~", "after"), ("new", "+", "born"), ("below", "-", "last words")]
    bright = [b"48;5;214", b"48;5;78"]  # a changed node, a new one

    def change(number):
        root = fresh(f"/changing{number}", {"still": b"", "set": b"before", "dropped/below": b"last words"})
        top = Top(root).wait_for_tree()
        assert top.looks("set").bg == "default"
        before = len(top.output)
        # All at once, as each is bright for a second only.
        changes = zk.transaction()
        changes.set_data(f"{root}/set", b"after")
        changes.create(f"{root}/new", b"born")
        changes.delete(f"{root}/dropped/below")
        changes.delete(f"{root}/dropped")
        changes.commit()

        def is_there(name, mark, data):
            line = top.line(name) or ""
            return line.startswith(mark) and line.endswith(data)

        is_marked = top.is_marked(lambda: all(is_there(*mark) for mark in marks))
        if is_marked and all(colour in top.output[before:] for colour in bright):
            return root, top
        top.end()
        return None

    root, top = in_some_try("changes, bright, and what has become of the nodes", change)
    assert top.looks("below").strikethrough
    assert top.looks("still").bg == top.looks("still").fg == "default"
    top.stops_seeing("last words")
    top.wait_until("nothing of it", lambda: top.row("dropped") is None)
    top.wait_until("no trace of a change", lambda: top.line("set")[0] == " " and top.looks("set").fg == "default")

    def create_again(_number):
        if zk.exists(f"{root}/dropped"):
            zk.delete(f"{root}/dropped")
        zk.create(f"{root}/dropped", b"again")
        return top.is_marked(lambda: (top.line("dropped") or "").startswith("+"))

    in_some_try("the node again", create_again)
    top.press("q")
    top.ends_well()


def keys_move_fold_sort_filter_and_pause():
    nodes = {f"folder/{number:03}": b"" for number in range(100)}
    root = fresh("/keys", {**nodes, "last": b"bottom"})
    top = Top(root, columns=80, rows=24).wait_for_tree()
    top.sees("1 of 103")
    for keys, place in [("j\x1b[B", "3 of 103"), ("k\x1bOA", "1 of 103"), ("G", "103 of 103"), ("\x1b[H", "1 of 103"),
                        ("\x1b[F", "103 of 103"), ("g", "1 of 103")]:
        top.press(keys)
        top.sees(f" {place}")
    assert top.row("last") is None
    top.press("\x1b[6~")
    top.stops_seeing(" 1 of 103")
    top.press("\x1b[5~")
    top.sees(" 1 of 103")
    top.press("j\r")
    top.sees("2 of 3")
    assert "▸ folder" in top.line("folder") and "bottom" in top.text(), top.text()
    top.press("\x1b[C")
    top.sees("2 of 103")
    top.press("j\x1b[D")  # from a leaf to its parent
    top.sees("2 of 103")
    top.press("\x1b[D")
    top.sees("2 of 3")

    top.press("/er/01")  # folds hide nothing that is looked for
    top.sees("/er/01_")
    top.wait_until("ten nodes and those above", lambda: top.row("010") and top.row("019") and not top.row("020"))
    top.press("\x7f\x7fo\x7f\n")
    top.sees("of 102")
    top.press("\x1b")
    top.sees("of 3")
    top.press("/nowhere\n")
    top.sees("No path has that in it")
    top.press("\x1b")
    top.sees("of 3")

    for beat in range(5):
        zk.set(f"{root}/last", f"beat {beat}".encode())
        top.wait_until(f"beat {beat}", lambda: (top.line("last") or "").endswith(f"beat {beat}"))
    zk.set(root, b"once")
    top.press("s")
    top.sees("HOTTEST FIRST")
    top.wait_until("the hottest first", lambda: top.row(f"{root}/last") == top.row(root) - 1)
    top.press("s")
    top.stops_seeing("HOTTEST FIRST")

    top.press("p")
    top.sees("PAUSED")
    zk.set(f"{root}/last", b"meanwhile")
    zk.create(f"{root}/meanwhile", b"")
    top.look(0.6)
    assert "meanwhile" not in top.text(), top.text()
    top.press("p")
    top.stops_seeing("PAUSED")
    top.wait_until("what was missed", lambda: top.row("meanwhile") and "meanwhile" in top.line("last"))
    top.press("\x03")  # Ctrl-C
    top.ends_well(130)


def a_resized_terminal_is_filled_to_its_edges():
    root = fresh("/resized", {f"{number:03}": b"long " * 100 for number in range(100)})
    top = Top(root).wait_for_tree()
    for columns, rows in [(60, 40), (130, 16), (40, 5), (10, 3), (1, 1), (100, 30)]:
        top.resize(columns, rows)
        keys = " ↑↓ move  ⏎ fold  s heat  / filter  p pause  q quit"
        top.wait_until(f"{columns} by {rows}", lambda: keys[:columns - 1] in top.lines()[-1] or rows < 4)
        top.look(0.15)
        assert len(top.lines()) == rows
    data = top.screen.display[top.row("003")]
    assert data.endswith("…") and len(data) == 100, data
    top.press("q")
    top.ends_well()


def many_changes_cost_no_frame_each():
    root = fresh("/many")
    for hundred in range(20):
        transaction = zk.transaction()
        for number in range(500):
            transaction.create(f"{root}/{hundred * 500 + number:05}")
        transaction.commit()
    top = Top(root).wait_for_tree()
    top.sees("nodes 10,001")
    before, began = len(top.output), time.monotonic()
    for written in [zk.set_async(f"{root}/{number:05}", b"new") for number in range(3000)]:
        written.get()
    top.press("s\x1b[F")  # among the rest, after those that changed
    top.sees("10,001 of 10,001")
    top.press("\x1b[H")
    top.wait_until("the last change", lambda: re.search(rf"^[~ ].+{root}/\d+ +1 +3 B .*new$", top.text(), re.M))
    # A line each would be a third of a million. The more time it takes, the more frames there are: ten a second.
    written, allowed = len(top.output) - before, 1000 * 1000 + 100 * 30 * 10 * (time.monotonic() - began)
    assert written < allowed, f"{written} bytes for 3,000 changes, and {allowed:.0f} would be too many"
    top.press("q")
    top.ends_well()


def a_server_that_goes_away_is_seen():
    root = fresh("/away", {"kept": b"through it all"})
    top = Top(root).wait_for_tree()
    ask("stop")
    top.sees("● SUSPENDED")
    top.sees("server none")
    top.wait_until("a fault", lambda: re.search(rf"^ .+ ago: .*127.0.0.1", top.text(), re.M))
    assert "through it all" in top.text() and "faults 0" not in top.text(), top.text()
    ask("start")
    zk.create(f"{root}/after", b"back again")
    top.wait_for_tree()
    top.sees("back again")
    assert re.search(r"connections ([2-9]|[1-9]\d)", top.text()), top.text()
    top.press("q")
    top.ends_well()


def it_stops_for_the_shell_and_is_continued():
    root = fresh("/stopped", {"a": b"first"})
    top = Top(root).wait_for_tree()

    def state():
        with open(f"/proc/{top.pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    for stop in [lambda: top.press("\x1a"), lambda: os.kill(top.pid, signal.SIGTSTP)]:
        stop()
        top.wait_until("the stop", lambda: state() == "T")
        top.look()
        assert top.output.count(LEAVE_SCREEN) == top.output.count(b"\x1b[?1049h"), "it has kept the screen"
        assert top.is_as_before()
        top.screen.reset()
        os.kill(top.pid, signal.SIGCONT)
        top.sees("first")
    os.kill(top.pid, signal.SIGSTOP)  # nobody can notice that one
    top.wait_until("the stop", lambda: state() == "T")
    top.screen.reset()
    os.kill(top.pid, signal.SIGCONT)
    top.sees("first")
    zk.set(f"{root}/a", b"second")
    top.sees("second")
    os.kill(top.pid, signal.SIGTERM)
    top.ends_well(128 + signal.SIGTERM)


def whatever_ends_it_the_terminal_is_as_before():
    root = fresh("/ended", {"a": b""})
    for number in [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]:
        top = Top(root).wait_for_tree()
        os.kill(top.pid, number)
        top.ends_well(128 + number)
    # If its terminal is gone, it ends too.
    top = Top(root).wait_for_tree()
    pid = top.pid
    os.close(top.keyboard)
    end = time.monotonic() + PATIENCE_S
    while os.path.exists(f"/proc/{pid}/exe"):
        assert time.monotonic() < end, "it goes on without a terminal"
        time.sleep(0.05)
    os.close(top.side)
    os.waitpid(top.shell, 0)


def colours_are_shown_where_they_are_wanted():
    root = fresh("/colours", {"a": b""})
    for environment, wanted in [({}, rb"\x1b\[38;5;77"), ({"TERM": "xterm", "COLORTERM": ""}, rb"\x1b\[38;5;2[;m]"),
                                ({"NO_COLOR": "1"}, None), ({"TERM": "vt100"}, None)]:
        top = Top(root, **environment).wait_for_tree()
        if wanted is not None:
            assert re.search(wanted, top.output), (environment, top.output)
        else:
            assert not re.search(rb"\x1b\[([0-9]+;)*[34][0-8](;[0-9]+)*m", top.output), (environment, top.output)
        top.press("q")
        top.ends_well()
    top = Top(root, TERM="dumb")
    top.wait_until("a line for each event", lambda: "added        /colours/a" in top.text())
    assert b"\x1b" not in top.output
    top.end()


def without_a_terminal_it_prints_lines():
    root = fresh("/lines", {"a": b"\x1b[31mred\n"})
    top = subprocess.Popen([TREECACHE, "top", HOSTS, root], stdout=subprocess.PIPE, text=True)
    lines = []

    def read_until(pattern):
        while not lines or not re.search(pattern, lines[-1]):
            lines.append(top.stdout.readline())
            assert lines[-1] != "", f"no {pattern} in {lines}"

    read_until(r"^in step$")
    assert [line for line in lines if not line.startswith("--")] == [
        "added        /lines  version 0  size 0 B\n",
        "added        /lines/a  version 0  size 9 B  \\u{1b}[31mred\\n\n", "initialized\n", "in step\n"], lines
    read_until(rf"^--  state IN STEP  server {HOSTS}  .*  nodes 2  data 9 B  events .*/s  changes 0/s  reads .*/s")
    zk.set(f"{root}/a", b"new")
    zk.delete(f"{root}/a")
    read_until(r"^removed +/lines/a ")
    top.terminate()
    rest, _ = top.communicate(timeout=PATIENCE_S)
    assert top.returncode == 128 + signal.SIGTERM
    assert "lost" not in rest, "the end of its own session"


def once_prints_one_frame():
    root = fresh("/once", {f"{number:03}": b"data" for number in range(100)})
    done = run("--once", HOSTS, root, LC_ALL="C.UTF-8", COLUMNS="90")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout, done
    assert lines[0] == f" ● IN STEP  {root}" and sum(line.endswith("  data") for line in lines) == 100, lines
    assert max(map(len, lines)) <= 90
    missing = run("--once", HOSTS, "/missing", LC_ALL="C.UTF-8")
    assert missing.returncode == 0 and zk.exists("/missing") is None, "looking has made the root"
    assert missing.stdout.startswith(" ● IN STEP  /missing  the root does not exist"), missing.stdout


def a_shared_tree_is_looked_into_without_a_session():
    root = fresh("/shared", {"a/x": b"hello", "b": b""})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file, settings = f"{folder}/tree", f"{folder}/agent.toml"
        with open(settings, "w", encoding="utf-8") as text:
            text.write(f"[[tree]]\nhosts = '{HOSTS}'\nroot = '{root}'\n'share.file' = '{file}'\n")
        agent = subprocess.Popen([TREECACHE, "agent", "--config", settings], stderr=subprocess.DEVNULL)
        try:
            top = Top("--attach", file).wait_for_tree()
            top.sees(f"file {file}")
            top.sees("hello")

            def change(_number):
                zk.set(f"{root}/a/x", b"again")
                return top.is_marked(lambda: (top.line("x") or "").startswith("~") and "again" in top.line("x"))

            in_some_try("a change", change)
            top.press("q")
            top.ends_well()
            part = run("--once", "--attach", file, f"{root}/a", LC_ALL="C.UTF-8").stdout.splitlines()
            assert part[0] == f" ● IN STEP  {root}/a" and part[-1].endswith(" again") and "  b " not in part, part
        finally:
            agent.terminate()
            agent.wait(PATIENCE_S)


def nonsense_is_answered_clearly():
    for arguments, code, words in [
        ([], 2, "HOSTS"), ([HOSTS, "/a", "/b"], 2, "'/b'"), (["--onec", HOSTS, "/a"], 2, "--onec"),
        (["--interval", "1s", HOSTS, "/a"], 2, "'1s'"), (["--interval", "0", HOSTS, "/a"], 2, "10..=60000"),
        (["--set", "no.such.key=1", HOSTS, "/a"], 2, "no.such.key"),
        (["--set", "auth=digest:me:hunter2", HOSTS, "/a"], 2, "TREECACHE_AUTH"),
        (["no hosts:at all", "/a"], 2, "no hosts:at all"), ([HOSTS, "not/a/path"], 2, "not/a/path"),
        (["--set", "limit.nodes=1", "--once", HOSTS, "/"], 7, "limit"),
        (["--timeout", "0.3", "--once", "127.0.0.1:1", "/"], 5, "no server was reached"),
    ]:
        done = run(*arguments)
        assert done.returncode == code and words in done.stderr and done.stdout == "", (arguments, done)
        assert "hunter2" not in done.stderr, done
    over_the_screen = Top("--verbose", HOSTS, "/")
    over_the_screen.wait_until("the end", over_the_screen.has_ended)
    assert over_the_screen.exit_code == 2 and "2>top.log" in over_the_screen.text(), over_the_screen.text()
    over_the_screen.end()


def ask(command):
    print(command, flush=True)
    answer = sys.stdin.readline()
    assert answer == "done\n", answer


def main():
    logging.disable()  # kazoo tells that the server went away, which it is to do
    zk.start()
    for test in [it_shows_how_the_cache_stands_and_the_tree, foreign_bytes_do_not_reach_the_terminal,
                 changes_are_seen_and_fade, keys_move_fold_sort_filter_and_pause,
                 a_resized_terminal_is_filled_to_its_edges, many_changes_cost_no_frame_each,
                 it_stops_for_the_shell_and_is_continued, whatever_ends_it_the_terminal_is_as_before,
                 colours_are_shown_where_they_are_wanted, without_a_terminal_it_prints_lines, once_prints_one_frame,
                 a_shared_tree_is_looked_into_without_a_session, nonsense_is_answered_clearly,
                 a_server_that_goes_away_is_seen]:
        name = test.__name__
        began = time.monotonic()
        test()
        print(f"{name.replace('_', ' ')}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    zk.stop()


if __name__ == "__main__":
    main()
