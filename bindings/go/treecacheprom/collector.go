// Package treecacheprom tells Prometheus how caches stand, through the client library that Go programs have for it:
//
//	prometheus.MustRegister(treecacheprom.NewCollector(cache))
//
// The metrics are those that `treecache metrics` prints, under the same names. It is a module of its own, so that programs
// without Prometheus do not depend on its library.
package treecacheprom

import (
	"errors"
	"slices"
	"sync"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
	"github.com/prometheus/client_golang/prometheus"
)

// A metric is a figure of a cache, and how Prometheus is told of it.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*treecache.Stats) (float64, bool) // false when there is none
}

// The list of `treecache metrics`; TestMetricsAreThoseOfTheTool compares the two.
var metrics = []metric{
	gauge("treecache_in_step", "Whether nothing is known to be outstanding.", func(s *treecache.Stats) float64 {
		if s.State == treecache.StateInStep {
			return 1
		}
		return 0
	}),
	age("treecache_contact_age_seconds", "Time since the last word from a server.",
		func(s *treecache.Stats) time.Duration { return s.ContactAge }),
	age("treecache_cut_age_seconds", "How old what is read may be.",
		func(s *treecache.Stats) time.Duration { return s.CutAge }),
	gauge("treecache_zxid", "The zxid of the tree.", func(s *treecache.Stats) float64 { return float64(s.Zxid) }),
	gauge("treecache_nodes", "Nodes that can be read.", func(s *treecache.Stats) float64 { return float64(s.Nodes) }),
	gauge("treecache_data_bytes", "Bytes of data in them.", func(s *treecache.Stats) float64 { return float64(s.Bytes) }),
	counter("treecache_versions_total", "Versions published.", func(s *treecache.Stats) uint64 { return s.Versions }),
	counter("treecache_cuts_total", "Versions that were cuts.", func(s *treecache.Stats) uint64 { return s.Cuts }),
	counter("treecache_connections_total", "How often it has connected.",
		func(s *treecache.Stats) uint64 { return s.Connections }),
	counter("treecache_resyncs_total", "How often the tree was verified after a lost connection.",
		func(s *treecache.Stats) uint64 { return s.Resyncs }),
	counter("treecache_faults_total", "How often something went wrong.", func(s *treecache.Stats) uint64 { return s.Faults }),
}

func described(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"root"}, nil)
}

func gauge(name, help string, value func(*treecache.Stats) float64) metric {
	return metric{described(name, help), prometheus.GaugeValue,
		func(s *treecache.Stats) (float64, bool) { return value(s), true }}
}

// age is a gauge that has no value before there is something to count from.
func age(name, help string, value func(*treecache.Stats) time.Duration) metric {
	return metric{described(name, help), prometheus.GaugeValue,
		func(s *treecache.Stats) (float64, bool) { return value(s).Seconds(), value(s) >= 0 }}
}

func counter(name, help string, value func(*treecache.Stats) uint64) metric {
	return metric{described(name, help), prometheus.CounterValue,
		func(s *treecache.Stats) (float64, bool) { return float64(value(s)), true }}
}

// A Collector is a [prometheus.Collector] of the figures of caches, with the root of each as the label "root". A scrape looks at
// these figures and at no node; it asks no server, and works while none answers.
//
// Caches of the same root, but of other servers, are told apart by other labels. Make a Collector for each of the ensembles:
//
//	registerer := prometheus.WrapRegistererWith(prometheus.Labels{"ensemble": "eu"}, prometheus.DefaultRegisterer)
//	registerer.MustRegister(treecacheprom.NewCollector(cache))
type Collector struct {
	mu     sync.Mutex
	caches []*treecache.Cache
}

// NewCollector returns a Collector of these caches. They may be of any state.
func NewCollector(caches ...*treecache.Cache) *Collector {
	collector := &Collector{}
	for _, cache := range caches {
		collector.Add(cache)
	}
	return collector
}

// Add has the Collector tell of one more cache, until that is closed. Until then, the Collector keeps it alive.
func (c *Collector) Add(cache *treecache.Cache) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caches = append(c.caches, cache)
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	for _, metric := range metrics {
		descs <- metric.desc
	}
}

// Collect implements [prometheus.Collector]. A cache that is attached to a file tells nothing before the file is there, as its root
// is not known; one with a defect is an error of the scrape.
func (c *Collector) Collect(collected chan<- prometheus.Metric) {
	c.mu.Lock()
	caches := slices.Clone(c.caches)
	c.mu.Unlock()
	for _, cache := range caches {
		err := collect(cache, collected)
		if errors.Is(err, treecache.ErrClosed) {
			c.forget(cache)
		} else if err != nil && !errors.Is(err, treecache.ErrNotReady) {
			collected <- prometheus.NewInvalidMetric(metrics[0].desc, err)
		}
	}
}

func (c *Collector) forget(closed *treecache.Cache) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caches = slices.DeleteFunc(c.caches, func(cache *treecache.Cache) bool { return cache == closed })
}

func collect(cache *treecache.Cache, collected chan<- prometheus.Metric) error {
	stats, err := cache.Stats()
	if err != nil {
		return err
	}
	root, err := cache.Path()
	if err != nil {
		return err
	}
	for _, metric := range metrics {
		if value, ok := metric.value(&stats); ok {
			collected <- prometheus.MustNewConstMetric(metric.desc, metric.kind, value, root)
		}
	}
	return nil
}
