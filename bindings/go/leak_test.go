package treecache_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
	"github.com/libtreecache/libtreecache/bindings/go/internal/malloc"
)

// use does everything once, leaves loops early, and closes what it has opened. latent is a cache of the same path that
// was not started.
func use(t *testing.T, cache, latent *treecache.Cache, path string) {
	queue, err := cache.Queue(treecache.WithCapacity(10), treecache.WithFaults())
	check(t, err)
	nextOf(t, queue, treecache.Initialized)
	// Every round has a tree of its own: what holds on to one of another round holds memory that nothing else does.
	zk.replace(path + "/b")
	nextOf(t, queue, treecache.NodeRemoved)
	next(t, queue)
	check(t, queue.Close())
	for range cache.Events(t.Context()) {
		break
	}
	_, err = cache.Queue(treecache.WithCapacity(-1))
	checkIs(t, err, treecache.ErrInvalidArgument)

	_, err = cache.Get(path + "/b")
	check(t, err)
	_, err = cache.Children(path)
	check(t, err)
	_, err = cache.ChildrenData(path)
	check(t, err)
	_, err = cache.Stats()
	check(t, err)
	_, err = cache.Get(path + "/none")
	checkIs(t, err, treecache.ErrNoNode)

	snapshot, err := cache.Snapshot()
	check(t, err)
	empty, err := latent.Snapshot()
	check(t, err)
	for range snapshot.All() {
	}
	for path := range snapshot.All() {
		if strings.HasSuffix(path, "/x/1") {
			break
		}
	}
	for range empty.Diff(snapshot) {
	}
	for range empty.Diff(snapshot) {
		break
	}
	_, err = snapshot.Get(path + "/b")
	check(t, err)
	_, err = snapshot.ChildrenData(path)
	check(t, err)
	check(t, empty.Close())
	check(t, snapshot.Close())
}

func TestNothingLeaks(t *testing.T) {
	path := root(t, leafy...)
	client := open(t)
	cache := follow(t, client, path)
	latent := made(t, client, path)

	if !strings.Contains(os.Getenv("GLIBC_TUNABLES"), "glibc.malloc.tcache_count=0") {
		t.Fatal("threads keep what they have freed, which looks like a leak: set GLIBC_TUNABLES=glibc.malloc.tcache_count=0")
	}
	// What is forgotten in each round shows each time. What is kept for later use (for the largest of its kind) grows
	// now and then, and comes to an end.
	const rounds = 100
	var grown int64
	for range 10 {
		before := malloc.InUse()
		for range rounds {
			use(t, cache, latent, path)
		}
		if grown = malloc.InUse() - before; grown < rounds*8 {
			return
		}
	}
	t.Errorf("%d bytes more in C after %d rounds, again and again", grown, rounds)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

func TestClientsLeaveNothingBehind(t *testing.T) {
	path := root(t, leafy...)
	cycle := func() {
		client, err := treecache.Open(hosts)
		check(t, err)
		cache, err := client.Cache(path)
		check(t, err)
		latent, err := client.Cache(path)
		check(t, err)
		check(t, cache.Start())
		check(t, cache.WaitInitialized(t.Context()))
		use(t, cache, latent, path)
		check(t, cache.Close())
		check(t, client.Close())
		check(t, latent.Close())
	}
	cycle()
	goroutines, files, threads := runtime.NumGoroutine(), descriptors(t), len(libraryThreads())
	for range 20 {
		cycle()
	}
	// There may be fewer of them, as what tests before have left to the garbage collector goes when it comes. A thread that
	// has been joined may still be on its way out.
	eventually(t, "threads of the library end", func() bool { return len(libraryThreads()) <= threads })
	eventually(t, "descriptors are closed", func() bool { return descriptors(t) <= files })
	eventually(t, "goroutines end", func() bool {
		time.Sleep(time.Millisecond)
		return runtime.NumGoroutine() <= goroutines
	})
}
