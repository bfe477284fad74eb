"""How caches stand, for Prometheus, through the package `prometheus_client`:

    from prometheus_client import REGISTRY
    from treecache.prometheus import TreeCacheCollector

    REGISTRY.register(TreeCacheCollector(cache))

The metrics are those that `treecache metrics` prints, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Callable, Optional, Union

from ._cache import TreeCache
from ._values import State, Stats
from .errors import ClosedError, InvalidArgumentError, NotReadyError

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise ImportError("treecache.prometheus needs the package prometheus_client: pip install prometheus_client") from missing

_Family = Union[type[GaugeMetricFamily], type[CounterMetricFamily]]


def _seconds(milliseconds: Optional[int]) -> Optional[float]:
    return None if milliseconds is None else milliseconds / 1000


# The list of `treecache metrics`; test_prometheus.py compares the two. None: there is no value.
_METRICS: list[tuple[str, _Family, str, Callable[[Stats], Optional[float]]]] = [
    (
        "treecache_in_step",
        GaugeMetricFamily,
        "Whether nothing is known to be outstanding.",
        lambda stats: stats.state == State.IN_STEP,
    ),
    (
        "treecache_contact_age_seconds",
        GaugeMetricFamily,
        "Time since the last word from a server.",
        lambda stats: _seconds(stats.contact_age_ms),
    ),
    (
        "treecache_cut_age_seconds",
        GaugeMetricFamily,
        "How old what is read may be.",
        lambda stats: _seconds(stats.cut_age_ms),
    ),
    ("treecache_zxid", GaugeMetricFamily, "The zxid of the tree.", lambda stats: stats.zxid),
    ("treecache_nodes", GaugeMetricFamily, "Nodes that can be read.", lambda stats: stats.nodes),
    ("treecache_data_bytes", GaugeMetricFamily, "Bytes of data in them.", lambda stats: stats.bytes),
    ("treecache_versions_total", CounterMetricFamily, "Versions published.", lambda stats: stats.versions),
    ("treecache_cuts_total", CounterMetricFamily, "Versions that were cuts.", lambda stats: stats.cuts),
    ("treecache_connections_total", CounterMetricFamily, "How often it has connected.", lambda stats: stats.connections),
    (
        "treecache_resyncs_total",
        CounterMetricFamily,
        "How often the tree was verified after a lost connection.",
        lambda stats: stats.resyncs,
    ),
    ("treecache_faults_total", CounterMetricFamily, "How often something went wrong.", lambda stats: stats.faults),
]


class TreeCacheCollector(Collector):
    """A collector of the figures of caches, with the root of each as the label `root`.

    A scrape looks at these figures and at no node; it asks no server, and works while none answers.
    """

    def __init__(self, *caches: TreeCache) -> None:
        self._caches: dict[TreeCache, Mapping[str, str]] = {cache: {} for cache in caches}

    def add(self, cache: TreeCache, labels: Optional[Mapping[str, str]] = None) -> None:
        """Tells of one more cache, until that is closed. Until then, the collector keeps it alive.

        labels: more of them, which tell apart caches of the same root, but of other servers: {"ensemble": "eu"}.
        """
        self._caches = {**self._caches, cache: dict(labels or {})}

    def collect(self) -> Iterator[Union[GaugeMetricFamily, CounterMetricFamily]]:
        """What prometheus_client calls for a scrape.

        A cache that is attached to a file tells nothing before the file is there, as its root is not known. Raises
        InvalidArgumentError when two caches have the same labels, and StateError in the child of a fork, if a cache was made
        before that.
        """
        told = list(self._told())
        for name, family, about, value in _METRICS:
            metric = family(name, about)
            for labels, stats in told:
                if (number := value(stats)) is not None:
                    metric.add_sample(name, labels, number)
            yield metric

    def _told(self) -> Iterator[tuple[dict[str, str], Stats]]:
        met: set[frozenset[tuple[str, str]]] = set()
        for cache, more in self._caches.items():
            try:
                labels, stats = {"root": cache.path, **more}, cache.stats()
            except NotReadyError:
                continue
            except ClosedError:
                self._caches = {other: labels for other, labels in self._caches.items() if other is not cache}
                continue
            key = frozenset(labels.items())
            if key in met:
                raise InvalidArgumentError(f"two caches have the labels {labels}: add() one of them with others")
            met.add(key)
            yield labels, stats
