"""The collector for Prometheus: what a scrape has, beside what the program `treecache` prints."""

import os
import re
import subprocess
import sys
import tempfile
import tracemalloc

import pytest
from conftest import HOSTS, REPOSITORY, until
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from proxy import Proxy

from treecache import Client, InvalidArgumentError, State, TreeCache
from treecache.prometheus import TreeCacheCollector

TOOL = os.environ["TREECACHE_TEST_TOOL"]


def scrape(collector):
    """What Prometheus would read."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector)
    return generate_latest(registry).decode()


def tool(*arguments):
    return subprocess.run([TOOL, "metrics", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def samples(text):
    """The values by name, of a text with one cache in it."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.name not in found
            found[sample.name] = sample.value
    return found


def about(text):
    """The lines that say what the metrics are."""
    return sorted(re.findall("^# .*$", text, re.MULTILINE))


def test_the_metrics_are_those_of_the_tool(root, cache):
    text, want = scrape(TreeCacheCollector(cache)), tool(HOSTS, root)
    assert about(text) == about(want)
    assert f'treecache_nodes{{root="{root}"}} 4.0\n' in text
    text, want = samples(text), samples(want)
    assert text.keys() == want.keys() and len(text) == 11
    for name in ("nodes", "data_bytes", "connections_total"):
        assert text[f"treecache_{name}"] == want[f"treecache_{name}"]
    assert 0 < text["treecache_zxid"] <= want["treecache_zxid"]  # the tool's own session is a transaction
    assert (text["treecache_in_step"], text["treecache_nodes"]) == (1, 4)
    assert 0 <= text["treecache_cut_age_seconds"] < 30


def test_the_documentation_has_all_of_them(cache):
    page = (REPOSITORY / "docs" / "deploying.md").read_text()
    told = re.findall(r"^# TYPE (\w+) (\w+)$", scrape(TreeCacheCollector(cache)), re.MULTILINE)
    assert re.findall(r"^\| `(treecache_\w+)` \| (\w+) \|", page, re.MULTILINE) == told


def test_roots_are_escaped(zk, client):
    path = zk.create('/a "quoted" \\ größe')
    with client.cache(path) as cache:
        cache.wait_initialized(timeout=30)
        for text in (scrape(TreeCacheCollector(cache)), tool(HOSTS, path)):
            (line,) = re.findall("^treecache_nodes.*", text, re.MULTILINE)
            assert line.startswith(r'treecache_nodes{root="/a \"quoted\" \\ größe"} 1')


def test_closed_caches_are_forgotten(client, root, cache):
    collector = TreeCacheCollector(cache)
    with client.cache(f"{root}/a") as another:
        collector.add(another)
        another.wait_initialized(timeout=30)
        text = scrape(collector)
        assert f'treecache_nodes{{root="{root}"}} 4.0\n' in text and f'treecache_nodes{{root="{root}/a"}} 2.0\n' in text
        cache.close()
        assert samples(scrape(collector))["treecache_nodes"] == 2
    assert samples(scrape(collector)) == {}


def test_caches_of_the_same_root_need_labels(client, root, cache):
    with client.cache(root) as another:
        another.wait_initialized(timeout=30)
        with pytest.raises(InvalidArgumentError, match=f"two caches have the labels .*{root}"):
            scrape(TreeCacheCollector(cache, another))
        collector = TreeCacheCollector(cache)
        collector.add(another, {"ensemble": 'the "other" one'})
        text = scrape(collector)
        assert f'treecache_nodes{{root="{root}"}} 4.0\n' in text
        assert re.search(r'treecache_nodes{.*ensemble="the \\"other\\" one".*} 4.0\n', text)


def test_a_cache_that_is_not_started_has_no_age():
    with Client("127.0.0.1:1") as client:
        cache = client.cache("/nowhere")
        found = samples(scrape(TreeCacheCollector(cache)))
    assert found["treecache_nodes"] == found["treecache_in_step"] == 0
    assert not [name for name in found if "age" in name]


def test_attached_caches_are_told_too(client, root):
    with tempfile.TemporaryDirectory(prefix="treecache-", dir="/dev/shm") as folder:
        file = f"{folder}/tree"
        with TreeCache.attach(file) as attached:
            collector = TreeCacheCollector(attached)
            assert samples(scrape(collector)) == {}  # nobody knows the root yet
            with client.cache(root, {"share.file": file}):
                attached.wait_initialized(timeout=30)
                until(lambda: samples(scrape(collector)).get("treecache_in_step") == 1)
                text, want = samples(scrape(collector)), samples(tool("--attach", file))
                assert text.keys() == want.keys() and text["treecache_nodes"] == 4


def test_scrapes_go_on_while_the_server_is_away(root):
    proxy = Proxy(int(HOSTS.rpartition(":")[2]))
    with Client(f"127.0.0.1:{proxy.port}", {"session.timeout.ms": 2000}) as client, client.cache(root) as cache:
        collector = TreeCacheCollector(cache)
        until(lambda: cache.state == State.IN_STEP)
        proxy.drop()

        def is_old():
            found = samples(scrape(collector))
            assert found["treecache_nodes"] == 4
            return found["treecache_in_step"] == 0 and found["treecache_contact_age_seconds"] > 0.1

        until(is_old)
        assert samples(scrape(collector))["treecache_faults_total"] > 0


def test_a_scrape_copies_no_tree(zk, client, root, cache):
    for begin in range(0, 10_000, 1000):
        transaction = zk.transaction()
        for number in range(begin, begin + 1000):
            transaction.create(f"{root}/b/{number}", b"x" * 100)
        transaction.commit()
    until(lambda: cache.stats().nodes == 10_004)

    def peak(collector):
        scrape(collector)
        tracemalloc.start()
        try:
            scrape(collector)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    with client.cache(f"{root}/a") as small:
        small.wait_initialized(timeout=30)
        assert peak(TreeCacheCollector(cache)) < 2 * peak(TreeCacheCollector(small))


def test_what_is_missing_is_said():
    program = "import sys; sys.modules['prometheus_client'] = None; import treecache; import treecache.prometheus"
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0
    assert "ImportError: treecache.prometheus needs the package prometheus_client: pip install prometheus_client" in done.stderr
