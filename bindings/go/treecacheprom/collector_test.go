package treecacheprom_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
	"github.com/libtreecache/libtreecache/bindings/go/internal/malloc"
	"github.com/libtreecache/libtreecache/bindings/go/treecacheprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// What the tests work on: a ZooKeeper, an independent client that writes to it, and the program treecache.
var (
	hosts   = os.Getenv("TREECACHE_TEST_HOSTS")
	python  = os.Getenv("TREECACHE_TEST_PYTHON")
	program = os.Getenv("TREECACHE_TEST_TOOL")
)

func TestMain(m *testing.M) {
	if hosts == "" || python == "" || program == "" {
		fmt.Fprintln(os.Stderr, "the tests need a ZooKeeper, a Python with kazoo and the program: run bindings/go/test")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

const patience = 30 * time.Second

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came about: ", what)
		}
	}
}

// write has the independent client do something; see testdata/zookeeper.py.
func write(t testing.TB, commands ...map[string]any) {
	t.Helper()
	var lines strings.Builder
	for _, command := range commands {
		check(t, json.NewEncoder(&lines).Encode(command))
	}
	writer := exec.Command(python, "../testdata/zookeeper.py", hosts)
	writer.Stdin, writer.Stderr = strings.NewReader(lines.String()), os.Stderr
	output, err := writer.Output()
	check(t, err)
	if want := strings.Repeat("null\n", len(commands)); string(output) != want {
		t.Fatalf("the writer failed: %s", output)
	}
}

// root makes a root of the test's own, with so many children.
func root(t testing.TB, children int) string {
	t.Helper()
	path := "/prom-" + t.Name()
	write(t, map[string]any{"op": "fill", "path": path, "count": children})
	t.Cleanup(func() { write(t, map[string]any{"op": "delete", "path": path}) })
	return path
}

// follow returns a cache that is in step, and closed with the test.
func follow(t testing.TB, hosts, path string, options ...treecache.CacheOption) *treecache.Cache {
	t.Helper()
	client, err := treecache.Open(hosts, treecache.WithSessionTimeout(20*time.Second))
	check(t, err)
	t.Cleanup(func() { client.Close() })
	cache, err := client.Cache(path, options...)
	check(t, err)
	t.Cleanup(func() { cache.Close() })
	check(t, cache.Start())
	check(t, cache.WaitInitialized(t.Context()))
	eventually(t, "in step", func() bool {
		state, _ := cache.State()
		return state == treecache.StateInStep
	})
	return cache
}

// scrape returns what Prometheus would read.
func scrape(registry prometheus.Gatherer) (string, error) {
	families, err := registry.Gather()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return "", err
		}
	}
	return text.String(), nil
}

// scraped is scrape, of a collector that is registered nowhere else.
func scraped(t testing.TB, collector prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	check(t, registry.Register(collector))
	text, err := scrape(registry)
	check(t, err)
	return text
}

// scrapedInStep is scraped, of a cache that is in step then: a pause takes it out of step for a moment.
func scrapedInStep(t testing.TB, collector prometheus.Collector) string {
	t.Helper()
	var text string
	eventually(t, "a scrape in step", func() bool {
		text = scraped(t, collector)
		return sample(t, text, "treecache_in_step") == 1
	})
	return text
}

// sample returns the value of a metric, NaN when it has none.
func sample(t testing.TB, text, name string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + `\{.*\} (.+)$`).FindStringSubmatch(text)
	if found == nil {
		return math.NaN()
	}
	value, err := strconv.ParseFloat(found[1], 64)
	check(t, err)
	return value
}

// about returns the lines of a text that say what the metrics are, sorted.
func about(text string) []string {
	lines := regexp.MustCompile(`(?m)^# .*$`).FindAllString(text, -1)
	slices.Sort(lines)
	return lines
}

// names returns the metrics that have a value.
func names(text string) []string {
	var names []string
	for _, line := range strings.Split(text, "\n") {
		if name, _, ok := strings.Cut(line, "{"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// tool returns what `treecache metrics` prints.
func tool(t testing.TB, arguments ...string) string {
	t.Helper()
	command := exec.Command(program, append([]string{"metrics"}, arguments...)...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	check(t, err)
	return string(output)
}

func TestMetricsAreThoseOfTheTool(t *testing.T) {
	path := root(t, 3)
	is, want := scrapedInStep(t, treecacheprom.NewCollector(follow(t, hosts, path))), tool(t, hosts, path)
	if about, want := about(is), about(want); !slices.Equal(about, want) {
		t.Errorf("%q, and not %q", about, want)
	}
	if names, want := names(is), names(want); len(names) != 11 || !slices.Equal(names, want) {
		t.Errorf("%q, and not %q", names, want)
	}
	for _, name := range []string{"treecache_nodes", "treecache_data_bytes", "treecache_connections_total"} {
		if value, want := sample(t, is, name), sample(t, want, name); value != want {
			t.Errorf("%s: %v, and not %v", name, value, want)
		}
	}
	// The tool's own session is a transaction.
	if zxid := sample(t, is, "treecache_zxid"); zxid <= 0 || zxid > sample(t, want, "treecache_zxid") {
		t.Error("zxid: ", zxid)
	}
	if sample(t, is, "treecache_nodes") != 4 {
		t.Error(is)
	}
	if age := sample(t, is, "treecache_cut_age_seconds"); age < 0 || age > patience.Seconds() {
		t.Error("age: ", age)
	}
}

func TestRootsAreEscaped(t *testing.T) {
	path := "/a \"quoted\" \\ größe"
	write(t, map[string]any{"op": "create", "path": path, "data": ""})
	defer write(t, map[string]any{"op": "delete", "path": path})
	is, want := scraped(t, treecacheprom.NewCollector(follow(t, hosts, path))), tool(t, hosts, path)
	for _, text := range []string{is, want} {
		if !strings.Contains(text, `treecache_nodes{root="/a \"quoted\" \\ größe"} 1`+"\n") {
			t.Error(text)
		}
	}
}

func TestCachesAreToldApartAndClosedOnesAreForgotten(t *testing.T) {
	path := root(t, 1)
	write(t, map[string]any{"op": "create", "path": path + "/000000/x", "data": ""})
	one, another := follow(t, hosts, path), follow(t, hosts, path+"/000000")
	collector := treecacheprom.NewCollector(one)
	collector.Add(another)
	text := scraped(t, collector)
	for _, line := range []string{`{root="` + path + `"} 3`, `{root="` + path + `/000000"} 2`} {
		if !strings.Contains(text, "\ntreecache_nodes"+line+"\n") {
			t.Error(line, text)
		}
	}
	one.Close()
	if text = scraped(t, collector); strings.Contains(text, `root="`+path+`"`) || sample(t, text, "treecache_nodes") != 2 {
		t.Error(text)
	}
	another.Close()
	if text = scraped(t, collector); text != "" {
		t.Error(text)
	}
}

func TestCachesOfTheSameRootNeedLabels(t *testing.T) {
	path := root(t, 1)
	caches := []*treecache.Cache{follow(t, hosts, path), follow(t, hosts, path)}
	registry := prometheus.NewPedanticRegistry()
	check(t, registry.Register(treecacheprom.NewCollector(caches...)))
	if _, err := scrape(registry); err == nil || !strings.Contains(err.Error(), path) {
		t.Error("two of them are one: ", err)
	}
	registry = prometheus.NewPedanticRegistry()
	for i, cache := range caches {
		labels := prometheus.Labels{"ensemble": strconv.Itoa(i)}
		check(t, prometheus.WrapRegistererWith(labels, registry).Register(treecacheprom.NewCollector(cache)))
	}
	text, err := scrape(registry)
	check(t, err)
	for i := range caches {
		if line := fmt.Sprintf("\ntreecache_nodes{ensemble=\"%d\",root=\"%s\"} 2\n", i, path); !strings.Contains(text, line) {
			t.Error(line, text)
		}
	}
}

func TestCachesThatAreNotStartedHaveNoAge(t *testing.T) {
	client, err := treecache.Open("127.0.0.1:1")
	check(t, err)
	defer client.Close()
	cache, err := client.Cache("/nowhere")
	check(t, err)
	defer cache.Close()
	text := scraped(t, treecacheprom.NewCollector(cache))
	if sample(t, text, "treecache_nodes") != 0 || sample(t, text, "treecache_in_step") != 0 || strings.Contains(text, "age_seconds") {
		t.Error(text)
	}
}

func TestAttachedCachesAreToldToo(t *testing.T) {
	folder, err := os.MkdirTemp("/dev/shm", "treecache-")
	check(t, err)
	defer os.RemoveAll(folder)
	path, file := root(t, 3), folder+"/tree"
	attached, err := treecache.Attach(file)
	check(t, err)
	defer attached.Close()
	collector := treecacheprom.NewCollector(attached)
	if text := scraped(t, collector); text != "" {
		t.Error("nobody knows the root: ", text)
	}
	follow(t, hosts, path, treecache.WithShareFile(file))
	check(t, attached.WaitInitialized(t.Context()))
	eventually(t, "the attached one is in step", func() bool {
		text := scraped(t, collector)
		return sample(t, text, "treecache_in_step") == 1 && sample(t, text, "treecache_nodes") == 4
	})
	is, want := scraped(t, collector), tool(t, "--attach", file)
	if names, want := names(is), names(want); !slices.Equal(names, want) {
		t.Errorf("%q, and not %q", names, want)
	}
}

// A line is a connection to the server that can be cut.
type line struct {
	net.Listener
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (l *line) serve() {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", hosts)
		l.mu.Lock()
		if err != nil || l.cut {
			conn.Close()
		} else {
			l.conns = append(l.conns, conn, server)
			go io.Copy(conn, server)
			go io.Copy(server, conn)
		}
		l.mu.Unlock()
	}
}

func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, conn := range l.conns {
		conn.Close()
	}
}

func TestScrapesGoOnWhileTheServerIsAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	line := &line{Listener: listener}
	defer line.sever()
	go line.serve()
	collector := treecacheprom.NewCollector(follow(t, listener.Addr().String(), root(t, 3)))
	scrapedInStep(t, collector)
	line.sever()
	eventually(t, "the cache is out of step and grows old", func() bool {
		text := scraped(t, collector)
		return sample(t, text, "treecache_in_step") == 0 && sample(t, text, "treecache_nodes") == 4 &&
			sample(t, text, "treecache_contact_age_seconds") > 0.1 && sample(t, text, "treecache_faults_total") > 0
	})
}

// What a scrape allocates is the same, however large the tree is.
func TestScrapesCopyNoTree(t *testing.T) {
	large := root(t, 20_000)
	small := large + "/000000"
	allocated := func(path string) uint64 {
		collector := treecacheprom.NewCollector(follow(t, hosts, path))
		scrapes := func() {
			for range 100 {
				collector.Collect(make(chan prometheus.Metric, 100))
			}
		}
		scrapes()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		inC := malloc.InUse()
		scrapes()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc + uint64(max(0, malloc.InUse()-inC))
	}
	if large, small := allocated(large), allocated(small); large > small+small/2 {
		t.Errorf("a hundred scrapes take %d bytes for 20,000 nodes, and %d for one", large, small)
	}
}
