package treecache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

// A replica is what one gets by applying events to an empty map, and objects to those that cannot be.
type replica map[string]string

func (r replica) apply(t testing.TB, event treecache.Event) {
	t.Helper()
	_, known := r[event.Path]
	parent := event.Path[:strings.LastIndexByte(event.Path, '/')+1]
	_, parentKnown := r[strings.TrimSuffix(parent, "/")]
	switch event.Type {
	case treecache.NodeAdded:
		if known || !parentKnown && len(r) > 0 || event.Old != nil {
			t.Fatalf("%+v", event)
		}
		r[event.Path] = string(event.Node.Data)
	case treecache.NodeUpdated:
		if !known || event.Old == nil || string(event.Old.Data) != r[event.Path] {
			t.Fatalf("%+v", event)
		}
		r[event.Path] = string(event.Node.Data)
	case treecache.NodeRemoved:
		if !known || string(event.Node.Data) != r[event.Path] {
			t.Fatalf("%+v", event)
		}
		for path := range r {
			if strings.HasPrefix(path, event.Path+"/") {
				t.Fatalf("%s goes before %s", event.Path, path)
			}
		}
		delete(r, event.Path)
	}
}

func (r replica) checkEquals(t testing.TB, snapshot *treecache.Snapshot) {
	t.Helper()
	tree := replica{}
	for path, node := range snapshot.All() {
		tree[path] = string(node.Data)
	}
	if !maps.Equal(r, tree) {
		t.Fatalf("replayed: %v\nthe tree: %v", r, tree)
	}
}

func openQueue(t testing.TB, cache *treecache.Cache, options ...treecache.QueueOption) *treecache.Queue {
	t.Helper()
	queue, err := cache.Queue(options...)
	check(t, err)
	t.Cleanup(func() { queue.Close() })
	return queue
}

func next(t testing.TB, queue *treecache.Queue) treecache.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	event, err := queue.Next(ctx)
	check(t, err)
	return event
}

// nextOf skips events of other types.
func nextOf(t testing.TB, queue *treecache.Queue, kind treecache.EventType) treecache.Event {
	t.Helper()
	for {
		if event := next(t, queue); event.Type == kind {
			return event
		}
	}
}

func TestEventsComeInOrderAndGiveTheTree(t *testing.T) {
	path := root(t, "a", "a/x")
	cache := made(t, open(t), path)
	queue := openQueue(t, cache)
	check(t, cache.Start())

	tree := replica{}
	for event := next(t, queue); event.Type != treecache.InStep; event = next(t, queue) {
		tree.apply(t, event)
	}
	tree.checkEquals(t, snapshotOf(t, cache))

	zk.create(path+"/b", "b")
	event := next(t, queue)
	if event.Type != treecache.NodeAdded || event.Path != path+"/b" || string(event.Node.Data) != "b" ||
		event.Old != nil || event.Zxid < event.Node.Stat.Czxid || !event.LastOfVersion || event.Fault != nil {
		t.Fatalf("%+v", event)
	}
	zk.set(path+"/b", "new")
	event = next(t, queue)
	if event.Type != treecache.NodeUpdated || string(event.Node.Data) != "new" || string(event.Old.Data) != "b" ||
		event.Old.Stat.Version != 0 || event.Node.Stat.Version != 1 {
		t.Fatalf("%+v", event)
	}
	zk.delete(path + "/a")
	for _, want := range []string{path + "/a/x", path + "/a"} {
		event = next(t, queue)
		if event.Type != treecache.NodeRemoved || event.Path != want || string(event.Node.Data) != want[len(path)+1:] {
			t.Fatalf("%+v", event)
		}
	}
}

func TestALateQueueIsToldTheTreeSoFar(t *testing.T) {
	path := root(t, leafy...)
	cache := follow(t, open(t), path)
	tree := replica{}
	for event, err := range cache.Events(t.Context()) {
		check(t, err)
		tree.apply(t, event)
		if event.Type == treecache.Initialized {
			break
		}
	}
	tree.checkEquals(t, snapshotOf(t, cache))
}

func TestAStormArrivesWhole(t *testing.T) {
	const count = 2000
	path := root(t)
	cache := follow(t, open(t), path)
	queue := openQueue(t, cache)
	zk.fill(path, count)
	tree := replica{}
	for len(tree) < count+1 {
		tree.apply(t, next(t, queue))
	}
	tree.checkEquals(t, snapshotOf(t, cache))
	zk.delete(path)
	for len(tree) > 0 {
		tree.apply(t, next(t, queue))
	}
	zk.create(path, "")
}

func TestASlowConsumerContinuesByDifference(t *testing.T) {
	path := root(t)
	cache := follow(t, open(t), path)
	queue := openQueue(t, cache, treecache.WithCapacity(5))
	tree := replica{}
	tree.apply(t, next(t, queue))
	for i := range 200 {
		zk.create(path+"/"+strconv.Itoa(i), "")
	}
	zk.set(path, "done")
	check(t, cache.Sync(t.Context()))

	for upToDate := false; !upToDate; {
		event := next(t, queue)
		tree.apply(t, event)
		upToDate = event.LastOfVersion && tree[path] == "done"
	}
	tree.checkEquals(t, snapshotOf(t, cache))
	stats, err := cache.Stats()
	check(t, err)
	if stats.Lags == 0 {
		t.Fatalf("it did not lag: %+v", stats)
	}
}

func TestEachEventGoesToOneOfManyConsumers(t *testing.T) {
	const count, consumers = 2000, 8
	path := root(t)
	cache := follow(t, open(t), path)
	queue := openQueue(t, cache)
	nextOf(t, queue, treecache.NodeAdded)

	var seen sync.Map
	var left atomic.Int64
	left.Store(count)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for range consumers {
		all.Go(func() {
			for {
				event, err := queue.Next(ctx)
				if errors.Is(err, treecache.ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
				if event.Type != treecache.NodeAdded {
					continue
				}
				if _, twice := seen.LoadOrStore(event.Path, true); twice {
					t.Error("told twice: ", event.Path)
				}
				if left.Add(-1) == 0 {
					queue.Close()
				}
			}
		})
	}
	zk.fill(path, count)
	all.Wait()
	checkEqual(t, "not told", left.Load(), 0)
}

func TestCloseEndsNextForEverybody(t *testing.T) {
	path := root(t)
	cache := follow(t, open(t), path)
	for _, close := range []func(*treecache.Cache, *treecache.Queue){
		func(_ *treecache.Cache, queue *treecache.Queue) { queue.Close() },
		func(cache *treecache.Cache, _ *treecache.Queue) { cache.Close() },
	} {
		queue := openQueue(t, cache)
		nextOf(t, queue, treecache.Initialized)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for {
					if _, err := queue.Next(t.Context()); err != nil {
						if !errors.Is(err, treecache.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		close(cache, queue)
		within(t, "Next of a closed queue", all.Wait)
		_, err := queue.Next(t.Context())
		checkIs(t, err, treecache.ErrClosed)
	}
}

func TestWhatWaitsInAClosedCacheIsDropped(t *testing.T) {
	path := root(t, leafy...)
	cache := follow(t, open(t), path)
	queue := openQueue(t, cache)
	next(t, queue)
	check(t, cache.Close())
	_, err := queue.Next(t.Context())
	checkIs(t, err, treecache.ErrClosed)
}

// A cancellation ends the wait that it is for and no other, and no event is lost or passed by.
func TestCancellationsGoAstrayNowhere(t *testing.T) {
	const count = 300
	path := root(t)
	cache := follow(t, open(t), path)
	queue := openQueue(t, cache)
	nextOf(t, queue, treecache.Initialized)

	var told atomic.Int64
	done, cancelAll := context.WithCancel(t.Context())
	defer cancelAll()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for told.Load() < count {
				ctx, cancel := context.WithTimeout(done, time.Duration(i*i)*10*time.Microsecond)
				event, err := queue.Next(ctx)
				if err == nil && event.Type == treecache.NodeUpdated {
					told.Add(1)
				} else if err != nil && ctx.Err() == nil {
					t.Error("an error of somebody else: ", err)
				}
				cancel()
				if done.Err() != nil {
					t.Error("an event was lost")
					return
				}
			}
		})
	}
	for i := range count {
		zk.set(path, strconv.Itoa(i))
		check(t, cache.Sync(t.Context())) // so that each is an event of its own
	}
	defer time.AfterFunc(patience, cancelAll).Stop()
	all.Wait()
	checkEqual(t, "told", told.Load(), count)
}

// An endingContext ends when it is asked for the second time whether it has ended, behind what is to happen just before.
type endingContext struct {
	context.Context
	asked  int
	before func()
}

func (c *endingContext) Err() error {
	if c.asked++; c.asked == 1 {
		return nil
	} else if c.asked == 2 {
		c.before()
	}
	return context.DeadlineExceeded
}

func TestWhatHasComeWhenAWaitEndsIsTaken(t *testing.T) {
	path := root(t, "a")
	cache := made(t, open(t), path)
	queue := openQueue(t, cache)
	check(t, cache.Start())
	nextOf(t, queue, treecache.InStep)

	ctx := &endingContext{Context: context.Background(), before: func() {
		zk.set(path+"/a", "new")
		check(t, cache.Sync(t.Context()))
	}}
	event, err := queue.Next(ctx)
	check(t, err)
	checkEqual(t, "the event", inWords(event), "~"+path+"/a")
	_, err = queue.Next(&endingContext{Context: context.Background(), before: func() {}})
	checkIs(t, err, context.DeadlineExceeded)
}

func TestANextThatWaitsHoldsNoThread(t *testing.T) {
	const count = 100
	path := root(t)
	cache := follow(t, open(t), path)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting, all sync.WaitGroup
	threads := threadCount(t)
	for range count {
		queue := openQueue(t, cache)
		nextOf(t, queue, treecache.Initialized)
		waiting.Add(1)
		all.Go(func() {
			waiting.Done()
			for {
				if _, err := queue.Next(ctx); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	waiting.Wait()
	time.Sleep(20 * time.Millisecond) // they may have begun, or not: then there is less to see
	if now := threadCount(t); now > threads+count/2 {
		t.Errorf("%d threads, %d before", now, threads)
	}
	cancel()
	within(t, "cancelled waits", all.Wait)
}

func threadCount(t *testing.T) int {
	tasks, err := os.ReadDir("/proc/self/task")
	check(t, err)
	return len(tasks)
}

func TestALostConnectionIsToldAndMadeUpFor(t *testing.T) {
	path := root(t, "a")
	proxy := newProxy(t)
	cache := follow(t, openAt(t, proxy.hosts()), path)
	queue := openQueue(t, cache, treecache.WithFaults())
	nextOf(t, queue, treecache.Initialized)

	proxy.drop()
	nextOf(t, queue, treecache.ConnectionSuspended)
	state, _ := cache.State()
	if state != treecache.StateSuspended && state != treecache.StateLost {
		t.Fatal(state)
	}
	node, err := cache.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "a")
	fault := nextOf(t, queue, treecache.Fault).Fault
	checkIs(t, fault, treecache.ErrConnection)
	if fault.Op != "fault" || fault.Message == "" || !strings.Contains(fault.Error(), fault.Message) {
		t.Fatalf("%+v", fault)
	}

	zk.delete(path + "/a")
	zk.create(path+"/b", "b")
	proxy.restore()
	nextOf(t, queue, treecache.ConnectionReconnected)
	checkEqual(t, "removed", nextOf(t, queue, treecache.NodeRemoved).Path, path+"/a")
	checkEqual(t, "added", nextOf(t, queue, treecache.NodeAdded).Path, path+"/b")
	nextOf(t, queue, treecache.InStep)
	stats, err := cache.Stats()
	check(t, err)
	if stats.Resyncs == 0 || stats.Connections < 2 {
		t.Fatalf("%+v", stats)
	}
}

func TestAClosedClientIsToldBeforeTheEnd(t *testing.T) {
	path := root(t)
	client := open(t)
	cache := follow(t, client, path)
	queue := openQueue(t, cache)
	check(t, client.Close())
	nextOf(t, queue, treecache.ConnectionLost)
	for range 2 {
		_, err := queue.Next(t.Context())
		checkIs(t, err, treecache.ErrClosed)
	}
}

func TestAStoppedCacheSaysWhyAtTheEnd(t *testing.T) {
	path := root(t)
	cache := follow(t, open(t), path, treecache.WithLimits(3, 0))
	for i := range 10 {
		zk.create(fmt.Sprint(path, "/", i), "")
	}
	var last error
	within(t, "the events of a cache beyond its limit", func() { last = lastError(cache.Events(t.Context())) })
	checkIs(t, last, treecache.ErrLimit)
	state, _ := cache.State()
	checkEqual(t, "state", state, treecache.StateClosed)

	loading := made(t, open(t), path, treecache.WithLimits(3, 0))
	check(t, loading.Start())
	checkIs(t, loading.WaitInitialized(t.Context()), treecache.ErrLimit)
}

func TestTypesAndStatesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for kind := treecache.Fault; kind <= treecache.InStep; kind++ {
		seen[kind.String()] = true
	}
	for state := treecache.StateLatent; state <= treecache.StateClosed; state++ {
		seen["state "+state.String()] = true
	}
	checkEqual(t, "names", len(seen), 9+7)
	checkEqual(t, "an unknown type", treecache.EventType(99).String(), "event 99")
	checkEqual(t, "an unknown state", treecache.State(99).String(), "state 99")
}

func BenchmarkEvents(b *testing.B) {
	path := root(b)
	zk.fill(path, 1000)
	cache := follow(b, open(b), path)
	for b.Loop() {
		count := 0
		for _, err := range cache.Events(b.Context()) {
			check(b, err)
			if count++; count == 1000 {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}

// inWords returns an event as "+/path", "~/path", "-/path" or the name of its type.
func inWords(event treecache.Event) string {
	signs := map[treecache.EventType]string{
		treecache.NodeAdded: "+", treecache.NodeUpdated: "~", treecache.NodeRemoved: "-",
	}
	if sign, isOfNode := signs[event.Type]; isOfNode {
		return sign + event.Path
	}
	return event.Type.String()
}

func TestAQueueTellsWhatIsWanted(t *testing.T) {
	path := root(t, "a", "a/x", "b")
	cache := follow(t, open(t), path)
	type wanted struct {
		options []treecache.QueueOption
		told    []string
	}
	nodes := treecache.WithEvents(treecache.NodeAdded, treecache.NodeUpdated, treecache.NodeRemoved)
	changes := treecache.WithEvents(treecache.NodeUpdated, treecache.Initialized)
	all := []wanted{
		{[]treecache.QueueOption{treecache.WithUnder(path + "/a"), nodes}, []string{"+/a", "+/a/x", "-/a/x", "~/a"}},
		{[]treecache.QueueOption{treecache.WithUnder(path+"/b", path+"/a", path+"/a/x"), nodes},
			[]string{"+/a", "+/a/x", "+/b", "-/a/x", "~/a", "~/b"}},
		{[]treecache.QueueOption{treecache.WithUnder(path + "/a"), treecache.WithDepth(0), nodes}, []string{"+/a", "~/a"}},
		{[]treecache.QueueOption{treecache.WithoutInitial(), nodes}, []string{"-/a/x", "~/a", "~/b"}},
		{[]treecache.QueueOption{treecache.WithAfterInitialized(), changes}, []string{"initialized", "~/a", "~/b"}},
		{[]treecache.QueueOption{treecache.WithoutInitial(), changes}, []string{"~/a", "~/b"}},
	}
	queues := make([]*treecache.Queue, len(all))
	for i, want := range all {
		queues[i] = openQueue(t, cache, want.options...)
	}
	zk.delete(path + "/a/x")
	zk.set(path+"/a", "new")
	zk.set(path+"/b", "new")
	for i, want := range all {
		for _, told := range want.told {
			if strings.HasPrefix(told[1:], "/") {
				told = told[:1] + path + told[1:]
			}
			if event := inWords(next(t, queues[i])); event != told {
				t.Fatalf("queue %d tells %s, not %s", i, event, told)
			}
		}
	}
}

func TestWhatCannotBeWantedIsNamed(t *testing.T) {
	path := root(t)
	cache := follow(t, open(t), path)
	for value, option := range map[string]treecache.QueueOption{
		"/elsewhere":  treecache.WithUnder(path, "/elsewhere"),
		"a/b":         treecache.WithUnder("a/b"),
		"-1":          treecache.WithDepth(-1),
		"added,fault": treecache.WithEvents(treecache.NodeAdded, treecache.Fault),
	} {
		queue, err := cache.Queue(option)
		var e *treecache.Error
		if queue != nil || !errors.As(err, &e) || e.Status != treecache.ErrInvalidArgument ||
			!strings.HasPrefix(e.Key, "listen.") || !strings.Contains(e.Message, strconv.Quote(value)) {
			t.Fatalf("%s: %+v", value, err)
		}
	}
}
