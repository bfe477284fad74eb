"""What tests/prometheus/run has a Prometheus do: scrape an agent of two trees, and answer.

    dashboard.py TREECACHE PORT-OF-ZOOKEEPER PID-OF-ZOOKEEPER FOLDER
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from kazoo.client import KazooClient

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 60  # nothing takes that long
ROOTS = ["/flags", "/services"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(log, *command):
    """What it says is shown if something fails."""
    with log.open("w+") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield
        except BaseException:
            print(f"{log.name}: {log.read_text()}", file=sys.stderr)
            raise
        finally:
            process.terminate()


def block(name):
    """A block of docs/deploying.md, word for word."""
    page = (REPOSITORY / "docs/deploying.md").read_text()
    return re.search(rf"<!-- commands {name} -->\n```yaml\n(.*?)```", page, re.S)[1]


class Prometheus:
    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/api/v1/"

    def ask(self, what, **parameters):
        url = self.address + what + "?" + urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return json.load(answer)["data"]

    def values(self, expression):
        return [float(found["value"][1]) for found in self.ask("query", query=expression)["result"]]

    def until(self, expression, expected):
        """Waits until the values of an expression are as expected, and returns them."""
        end, values = time.monotonic() + PATIENCE_S, None
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # it is not there yet
                values = self.values(expression)
                if expected(values):
                    return values
            time.sleep(0.2)
        raise AssertionError(f"{expression} is {values}")

    def until_rules_are_well(self, count):
        """Waits until there are so many rules, each has been evaluated, and none says anything."""
        end, states = time.monotonic() + PATIENCE_S, None
        while states != count * [("ok", "inactive")]:
            assert time.monotonic() < end, states
            time.sleep(0.2)
            rules = self.ask("rules")["groups"][0]["rules"]
            states = [(rule["health"], rule["state"]) for rule in rules]


def main(treecache, zookeeper_port, zookeeper_pid, folder):
    folder = Path(folder)
    zk = KazooClient(f"127.0.0.1:{zookeeper_port}")
    zk.start()
    for root in ROOTS:
        zk.create(root + "/a", b"1", makepath=True)
    zk.stop()

    agent_port, port = free_port(), free_port()
    trees = [
        f'[[tree]]\nclient = "main"\nroot = "{root}"\n"share.file" = "{folder}{root}"\n' for root in ROOTS
    ]
    client = f'[client.main]\nhosts = "127.0.0.1:{zookeeper_port}"\n"session.timeout.ms" = 20000\n'
    (folder / "agent.toml").write_text("\n".join([f'health = "127.0.0.1:{agent_port}"\n', client, *trees]))
    scrapes = block("prometheus-agent")
    assert "127.0.0.1:7180" in scrapes
    often = "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
    (folder / "prometheus.yml").write_text(often + scrapes.replace("127.0.0.1:7180", f"127.0.0.1:{agent_port}"))
    (folder / "rules.yml").write_text(block("prometheus-rules"))
    subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], check=True)

    prometheus = Prometheus(port)
    with (
        running(folder / "agent.log", treecache, "agent", "--config", folder / "agent.toml"),
        running(folder / "prometheus.log", "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ):
        prometheus.until("treecache_in_step", lambda values: values == [1, 1])
        # What is asked of a counter needs two scrapes.
        prometheus.until("count_over_time(treecache_nodes[1m])", lambda values: values and min(values) >= 3)

        dashboard = json.loads((REPOSITORY / "packaging/grafana/treecache.json").read_text())
        asked = {
            (panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$root", ".*").replace("$instance", ".*"))
            for panel in dashboard["panels"]
            for target in panel["targets"]
        }
        for title, expression in sorted(asked):
            # After a scrape that took too long there is nothing, until the next one.
            print(f"{title}: {prometheus.until(expression, bool)}")
        said = {values[0]: values[1] for values in ((v["name"], v["query"]) for v in dashboard["templating"]["list"])}
        assert said["root"]["query"] == 'label_values(treecache_in_step{instance=~"$instance"}, root)'
        assert prometheus.ask("label/root/values", **{"match[]": "treecache_in_step"}) == ROOTS

        # A tree that has not been scraped yet is an empty one.
        prometheus.until_rules_are_well(3)

        # The server goes: both trees are out of step, and grow older.
        os.kill(int(zookeeper_pid), signal.SIGKILL)
        out_of_step = next(expression for title, expression in asked if title == "Trees not in step")
        oldest = next(expression for title, expression in asked if title == "Oldest tree")
        prometheus.until(out_of_step, lambda values: values == [2])
        prometheus.until(oldest, lambda values: values and values[0] > 3)
        print("without a server: both trees are out of step, and their age grows")


main(*sys.argv[1:])
