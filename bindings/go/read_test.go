package treecache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

func TestReadsFindWhatZooKeeperHas(t *testing.T) {
	path := root(t, "b", "a", "a/x", "größe")
	zk.set(path+"/a", "new")
	cache := follow(t, open(t), path)
	snapshot, err := cache.Snapshot()
	check(t, err)
	defer snapshot.Close()

	for _, source := range []interface {
		Get(string) (treecache.Node, error)
		Children(string) ([]string, error)
		ChildrenData(string) ([]treecache.Child, error)
	}{cache, snapshot} {
		node, err := source.Get(path + "/a")
		check(t, err)
		checkEqual(t, "data", string(node.Data), "new")
		stat := node.Stat
		if stat.Version != 1 || stat.Cversion != 1 || stat.Aversion != 0 || stat.NumChildren != 1 ||
			stat.DataLength != 3 || stat.EphemeralOwner != 0 || stat.Czxid <= 0 || stat.Mzxid <= stat.Czxid ||
			stat.Pzxid <= stat.Czxid || stat.Pzxid >= stat.Mzxid {
			t.Fatalf("%+v", stat)
		}
		if age := time.Since(stat.Ctime); stat.Mtime.Before(stat.Ctime) || age < 0 || age > time.Hour {
			t.Fatalf("%+v", stat)
		}

		names, err := source.Children(path)
		check(t, err)
		if !slices.Equal(names, []string{"a", "b", "größe"}) {
			t.Fatal(names)
		}
		names, err = source.Children(path + "/b")
		check(t, err)
		checkEqual(t, "children of b", len(names), 0)

		children, err := source.ChildrenData(path)
		check(t, err)
		checkEqual(t, "children", len(children), 3)
		for i, data := range []string{"new", "b", "größe"} {
			checkEqual(t, children[i].Name, string(children[i].Node.Data), data)
		}
		checkEqual(t, "Stat", children[0].Node.Stat, stat)
	}
}

func TestNodesOfEverySizeAreRead(t *testing.T) {
	path := root(t)
	var names []string
	for at, size := range []int{0, 1, 511, 512, 513, 100_000, 900_000} {
		name := strings.Repeat("n", 1+at*at*20) // paths of every length, too
		names = append(names, name)
		zk.create(path+"/"+name, strings.Repeat("x", size))
	}
	cache := follow(t, open(t), path)
	snapshot, err := cache.Snapshot()
	check(t, err)
	defer snapshot.Close()
	for _, get := range []func(string) (treecache.Node, error){cache.Get, snapshot.Get} {
		for _, name := range names {
			node, err := get(path + "/" + name)
			check(t, err)
			checkEqual(t, "length", len(node.Data), int(node.Stat.DataLength))
			checkEqual(t, "data", string(node.Data), strings.Repeat("x", len(node.Data)))
			checkEqual(t, "nil", node.Data == nil, node.Stat.DataLength == 0)
		}
	}
}

func TestReadsSayWhyNot(t *testing.T) {
	path := root(t, "a")
	cache := follow(t, open(t), path)
	for node, want := range map[string]treecache.Status{
		path + "/b":     treecache.ErrNoNode,
		path + "bar":    treecache.ErrOutOfTree,
		"/":             treecache.ErrOutOfTree,
		"/no/such":      treecache.ErrOutOfTree,
		path + "/a/../": treecache.ErrInvalidArgument,
	} {
		_, err := cache.Get(node)
		checkIs(t, err, want)
		var e *treecache.Error
		var status treecache.Status
		if !errors.As(err, &e) || e.Path != node || e.Op != "get" || !errors.As(err, &status) || status != want {
			t.Fatalf("%#v", err)
		}
		_, err = cache.Children(node)
		checkIs(t, err, want)
		_, err = cache.ChildrenData(node)
		checkIs(t, err, want)
		if errors.Is(err, treecache.ErrClosed) {
			t.Fatal("it is everything at once: ", err)
		}
	}
	_, err := cache.Get(path + "/b")
	checkEqual(t, "text", err.Error(), "treecache: get "+path+"/b: no such node")

	notStarted := made(t, open(t), path)
	_, err = notStarted.Get(path)
	checkIs(t, err, treecache.ErrNotReady)
}

func TestStatusesHaveNames(t *testing.T) {
	for status := treecache.Status(-17); status < 0; status++ {
		if status == -7 || status == -8 {
			continue // a timeout and a deadlock in a callback: not of this package
		}
		if status.Error() == "" || status.Error() == status.String() {
			t.Error(status.String())
		}
	}
	checkEqual(t, "name", treecache.ErrNoNode.String(), "TC_ERR_NO_NODE")
	checkEqual(t, "an unknown one", treecache.Status(-1000).Error(), "TC_ERR_UNKNOWN")
}

func TestWhatMayNotBeReadIsListed(t *testing.T) {
	path := root(t, "open")
	zk.createPrivate(path+"/private", "secret")
	cache := follow(t, open(t), path)

	_, err := cache.Get(path + "/private")
	checkIs(t, err, treecache.ErrNoPermission)
	children, err := cache.ChildrenData(path)
	check(t, err)
	if len(children) != 2 || children[0].Node == nil || children[1] != (treecache.Child{Name: "private"}) {
		t.Fatalf("%+v", children)
	}
	snapshot, err := cache.Snapshot()
	check(t, err)
	defer snapshot.Close()
	checkEqual(t, "paths", fmt.Sprint(paths(snapshot)), fmt.Sprint([]string{path, path + "/open"}))

	entitled := follow(t, open(t, treecache.WithAuth("digest", "go:password")), path)
	node, err := entitled.Get(path + "/private")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "secret")
}

func TestDataIsTheCallersOwn(t *testing.T) {
	path := root(t, "a")
	cache := follow(t, open(t), path)
	node, err := cache.Get(path + "/a")
	check(t, err)
	node.Data[0] = '!'
	again, err := cache.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(again.Data), "a")
}

func TestNodesWithoutDataHaveNil(t *testing.T) {
	path := root(t)
	zk.create(path+"/empty", "")
	node, err := follow(t, open(t), path).Get(path + "/empty")
	check(t, err)
	if node.Data != nil || node.Stat.Czxid == 0 {
		t.Fatalf("%+v", node)
	}
}

func TestAfterSyncOneReadsWhatWasWritten(t *testing.T) {
	path := root(t)
	cache := follow(t, open(t), path)
	for i := range 100 {
		zk.set(path, strconv.Itoa(i))
		check(t, cache.Sync(t.Context()))
		node, err := cache.Get(path)
		check(t, err)
		checkEqual(t, "data", string(node.Data), strconv.Itoa(i))
	}
}

func TestSyncEndsWithItsContextAndItsConnection(t *testing.T) {
	path := root(t)
	proxy := newProxy(t)
	cache := follow(t, openAt(t, proxy.hosts()), path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checkIs(t, cache.Sync(ctx), context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, cache.Sync(ctx))

	proxy.drop()
	eventually(t, "sync without a connection", func() bool {
		return errors.Is(cache.Sync(t.Context()), treecache.ErrConnection)
	})
	proxy.restore()
	eventually(t, "sync with a connection", func() bool { return cache.Sync(t.Context()) == nil })
}

func TestStatsCount(t *testing.T) {
	path := root(t, "a", "b")
	cache := made(t, open(t), path)
	stats, err := cache.Stats()
	check(t, err)
	if stats.State != treecache.StateLatent || stats.Nodes != 0 || stats.CutAge >= 0 || stats.Versions != 0 {
		t.Fatalf("%+v", stats)
	}

	check(t, cache.Start())
	check(t, cache.WaitInitialized(t.Context()))
	snapshot, err := cache.Snapshot()
	check(t, err)
	defer snapshot.Close()
	eventually(t, "in step", func() bool {
		stats, err = cache.Stats()
		check(t, err)
		return stats.State == treecache.StateInStep
	})
	if stats.Nodes != 3 || stats.Bytes != uint64(len("rootab")) || stats.Zxid != snapshot.Zxid() ||
		stats.Versions == 0 || stats.Cuts == 0 || stats.Cuts > stats.Versions ||
		stats.Reads < 3 || stats.Batches == 0 ||
		stats.Connections != 1 || stats.SessionID == 0 || stats.Server != hosts || stats.Resyncs != 0 ||
		stats.ContactAge < 0 || stats.CutAge < 0 || stats.CutAge > patience {
		t.Fatalf("%+v", stats)
	}
}

// What it costs to read a node of 128 bytes: by one goroutine, and by several that read the same.
func BenchmarkGet(b *testing.B) {
	path := root(b, "a", "a/b")
	zk.set(path+"/a/b", strings.Repeat("x", 128))
	cache := follow(b, open(b), path)
	path += "/a/b"
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cache.Get(path); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("several", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := cache.Get(path); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
