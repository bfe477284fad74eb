package treecache_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

func TestASnapshotStaysAsItWas(t *testing.T) {
	path := root(t, "a")
	cache := follow(t, open(t), path)
	before := snapshotOf(t, cache)
	zk.create(path+"/b", "b")
	zk.set(path+"/a", "new")
	check(t, cache.Sync(t.Context()))
	after := snapshotOf(t, cache)
	check(t, cache.Close())

	for snapshot, want := range map[*treecache.Snapshot][]string{
		before: {path, path + "/a"},
		after:  {path, path + "/a", path + "/b"},
	} {
		if is := paths(snapshot); !slices.Equal(is, want) {
			t.Fatal(is)
		}
		checkEqual(t, "length", snapshot.Len(), len(want))
		checkEqual(t, "cut", snapshot.IsCut(), true)
	}
	node, err := before.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "a")
	if before.Zxid() <= 0 || before.Zxid() >= after.Zxid() {
		t.Fatal(before.Zxid(), after.Zxid())
	}
}

func TestACacheBeginsWithASnapshotOfAClosedOne(t *testing.T) {
	path := root(t, "a")
	old, err := treecache.Open(hosts)
	check(t, err)
	snapshot := snapshotOf(t, follow(t, old, path))
	check(t, old.Close())
	nowhere, err := treecache.Open("127.0.0.1:1")
	check(t, err)
	t.Cleanup(func() { nowhere.Close() })
	latent := func(client *treecache.Client, path string) *treecache.Cache {
		cache, err := client.Cache(path)
		check(t, err)
		t.Cleanup(func() { cache.Close() })
		return cache
	}
	checkIs(t, latent(nowhere, "/elsewhere").StartFrom(snapshot), treecache.ErrInvalidArgument)

	warm := latent(nowhere, path)
	check(t, warm.StartFrom(snapshot))
	checkIs(t, warm.StartFrom(snapshot), treecache.ErrState)
	node, err := warm.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "a")
	state, age := warm.State()
	checkEqual(t, "state", state, treecache.StateWarm)
	checkEqual(t, "age", age, -time.Millisecond)
	checkEqual(t, "word", state.String(), "warm")

	zk.create(path+"/b", "b")
	client := open(t)
	cache := latent(client, path)
	check(t, cache.StartFrom(snapshotOf(t, warm)))
	check(t, cache.WaitInitialized(t.Context()))
	checkEqual(t, "length", snapshotOf(t, cache).Len(), 3)
	check(t, snapshot.Close())
	checkIs(t, latent(client, path).StartFrom(snapshot), treecache.ErrClosed)
}

func snapshotOf(t testing.TB, cache *treecache.Cache) *treecache.Snapshot {
	t.Helper()
	snapshot, err := cache.Snapshot()
	check(t, err)
	t.Cleanup(func() { snapshot.Close() })
	return snapshot
}

func paths(snapshot *treecache.Snapshot) []string {
	var paths []string
	for path := range snapshot.All() {
		paths = append(paths, path)
	}
	return paths
}

var leafy = []string{"a", "a/x", "a/x/1", "a/x/2", "a/y", "a.b", "b", "c", "c/z"}

// In the order of bytes among siblings, "a.b" is after "a", yet all of "a" is before it.
func TestAllNodesComeParentsFirstAndInOrder(t *testing.T) {
	path := root(t, leafy...)
	snapshot := snapshotOf(t, follow(t, open(t), path))
	all := paths(snapshot)
	checkEqual(t, "root", all[0], path)
	for i, name := range leafy {
		checkEqual(t, "path", all[i+1], path+"/"+name)
	}
	checkEqual(t, "length", len(all), snapshot.Len())
	for path, node := range snapshot.All() {
		same, err := snapshot.Get(path)
		check(t, err)
		checkEqual(t, "data", string(node.Data), string(same.Data))
		checkEqual(t, "Stat", node.Stat, same.Stat)
	}
}

func TestTheRootOfAllIsWalkedLikeAnyOther(t *testing.T) {
	path := root(t, "a")
	snapshot := snapshotOf(t, follow(t, open(t), "/"))
	all := paths(snapshot)
	checkEqual(t, "root", all[0], "/")
	if !slices.Contains(all, path) || !slices.Contains(all, path+"/a") || len(all) != snapshot.Len() {
		t.Fatal(all)
	}
}

func TestALoopMayEndEarly(t *testing.T) {
	path := root(t, leafy...)
	snapshot := snapshotOf(t, follow(t, open(t), path))
	for most := 1; most <= len(leafy)+1; most++ {
		count := 0
		for range snapshot.All() {
			if count++; count == most {
				break
			}
		}
		checkEqual(t, "count", count, most)
	}
}

func TestALoopMayPanicOrEndItsGoroutine(t *testing.T) {
	path := root(t, leafy...)
	snapshot := snapshotOf(t, follow(t, open(t), path))
	func() {
		defer func() { checkEqual(t, "recovered", recover(), any("enough")) }()
		for path := range snapshot.All() {
			if strings.HasSuffix(path, "/x/1") {
				panic("enough")
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for path := range snapshot.All() {
			if strings.HasSuffix(path, "/x/1") {
				runtime.Goexit()
			}
		}
		t.Error("the loop went on")
	}()
	<-done
	checkEqual(t, "length", len(paths(snapshot)), len(leafy)+1)
}

func TestALoopMayCloseItsSnapshot(t *testing.T) {
	path := root(t, leafy...)
	snapshot := snapshotOf(t, follow(t, open(t), path))
	count := 0
	for range snapshot.All() {
		check(t, snapshot.Close())
		count++
	}
	checkEqual(t, "count", count, len(leafy)+1)
	_, err := snapshot.Get(path)
	checkIs(t, err, treecache.ErrClosed)
}

func TestAWalkLeavesOutAndStops(t *testing.T) {
	path := root(t, leafy...)
	snapshot := snapshotOf(t, follow(t, open(t), path))
	walk := func(from string, visit func(name string) error) (string, error) {
		var names []string
		err := snapshot.Walk(from, func(p string, _ treecache.Node) error {
			name := strings.TrimPrefix(strings.TrimPrefix(p, path), "/")
			names = append(names, name)
			return visit(name)
		})
		return fmt.Sprint(names), err
	}

	names, err := walk(path+"/a", func(string) error { return nil })
	check(t, err)
	checkEqual(t, "below a", names, "[a a/x a/x/1 a/x/2 a/y]")

	names, err = walk(path, func(name string) error {
		if name == "a/x" || name == "c" || name == "b" {
			return treecache.SkipChildren
		}
		return nil
	})
	check(t, err)
	checkEqual(t, "with some left out", names, "[ a a/x a/y a.b b c]")

	enough := errors.New("enough")
	names, err = walk(path, func(name string) error {
		if name == "a/x/1" {
			return enough
		}
		return nil
	})
	checkEqual(t, "error", err, enough)
	checkEqual(t, "stopped", names, "[ a a/x a/x/1]")

	checkIs(t, snapshot.Walk(path+"/d", ignore), treecache.ErrNoNode)
	checkIs(t, snapshot.Walk("/other", ignore), treecache.ErrOutOfTree)
}

func TestADifferenceHasRemovalsFirst(t *testing.T) {
	path := root(t, "a", "a/x", "b")
	cache := follow(t, open(t), path)
	before := snapshotOf(t, cache)
	zk.delete(path + "/a")
	zk.set(path+"/b", "new")
	zk.create(path+"/c/y", "y")
	check(t, cache.Sync(t.Context()))
	after := snapshotOf(t, cache)

	var told []string
	var events []treecache.Event
	for event, err := range before.Diff(after) {
		check(t, err)
		told = append(told, event.Type.String()+" "+strings.TrimPrefix(event.Path, path))
		events = append(events, event)
		checkEqual(t, "zxid", event.Zxid, after.Zxid())
		checkEqual(t, "last", event.LastOfVersion, len(events) == 5)
	}
	checkEqual(t, "difference", strings.Join(told, ", "),
		"node removed /a/x, node removed /a, node updated /b, node added /c, node added /c/y")
	checkEqual(t, "removed", string(events[0].Node.Data), "a/x")
	checkEqual(t, "old", string(events[2].Old.Data), "b")
	checkEqual(t, "new", string(events[2].Node.Data), "new")
	if events[0].Old != nil || events[4].Old != nil || events[2].Old.Stat.Mzxid >= events[2].Node.Stat.Mzxid {
		t.Fatalf("%+v", events)
	}

	for range after.Diff(after) {
		t.Fatal("a snapshot differs from itself")
	}
	for event := range before.Diff(after) {
		checkEqual(t, "the first again", event.Path, events[0].Path)
		break
	}
}

func TestADifferenceNeedsOneRoot(t *testing.T) {
	path := root(t, "a")
	client := open(t)
	one, other := snapshotOf(t, follow(t, client, path)), snapshotOf(t, follow(t, client, path+"/a"))
	checkIs(t, lastError(one.Diff(other)), treecache.ErrInvalidArgument)

	check(t, other.Close())
	checkIs(t, lastError(one.Diff(other)), treecache.ErrClosed)
}

func BenchmarkAll(b *testing.B) {
	path := root(b)
	zk.fill(path, 1000)
	snapshot := snapshotOf(b, follow(b, open(b), path))
	for b.Loop() {
		for range snapshot.All() {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(snapshot.Len()), "ns/node")
}
