package treecache_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
	"github.com/libtreecache/libtreecache/bindings/go/internal/malloc"
)

// writeTo keeps the tree at root in a file, until the process is ended.
func writeTo(file, root string) {
	client, err := treecache.Open(hosts, treecache.WithSessionTimeout(2*time.Second))
	if err != nil {
		panic(err)
	}
	cache, err := client.Cache(root, treecache.WithShareFile(file))
	if err != nil {
		panic(err)
	}
	if err := cache.Start(); err != nil {
		panic(err)
	}
	select {}
}

// startWriter has another process keep the tree at root in a file. What it returns kills that process, which says no word.
func startWriter(t *testing.T, file, root string) (kill func()) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "TREECACHE_TEST_WRITE="+file, "TREECACHE_TEST_ROOT="+root)
	command.Stderr = os.Stderr
	check(t, command.Start())
	kill = func() {
		if command.ProcessState == nil {
			command.Process.Kill()
			command.Wait()
		}
	}
	t.Cleanup(kill)
	return kill
}

// sharedFile returns a name for a file, in a folder in memory.
func sharedFile(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "treecache-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder + "/tree"
}

func attach(t *testing.T, file string, options ...treecache.CacheOption) *treecache.Cache {
	t.Helper()
	cache, err := treecache.Attach(file, options...)
	check(t, err)
	t.Cleanup(func() { cache.Close() })
	return cache
}

func TestAttachedCachesReadWhatAnotherProcessKeeps(t *testing.T) {
	path, file := root(t, "a", "a/x", "b"), sharedFile(t)
	startWriter(t, file, path)
	threads := len(libraryThreads())
	cache := attach(t, file, treecache.With("events.capacity", "1000"))
	check(t, cache.WaitInitialized(t.Context()))
	node, err := cache.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "a")
	children, err := cache.Children(path)
	check(t, err)
	checkEqual(t, "children", strings.Join(children, " "), "a b")
	_, err = cache.Get("/elsewhere")
	checkIs(t, err, treecache.ErrOutOfTree)
	before := snapshotOf(t, cache)
	checkEqual(t, "paths", strings.Join(paths(before), " "), path+" "+path+"/a "+path+"/a/x "+path+"/b")
	checkEqual(t, "cut", before.IsCut(), true)

	zk.set(path+"/a", "new")
	eventually(t, "the new data", func() bool {
		node, err := cache.Get(path + "/a")
		return err == nil && string(node.Data) == "new"
	})
	for event, err := range before.Diff(snapshotOf(t, cache)) {
		check(t, err)
		checkEqual(t, "difference", event.Path, path+"/a")
	}
	eventually(t, "in step", func() bool {
		state, age := cache.State()
		return state == treecache.StateInStep && age >= 0 && age < patience
	})
	// There may be fewer of them, as what tests before have left to the garbage collector goes when it comes.
	if now := len(libraryThreads()); now > threads {
		t.Errorf("%d threads of the library, %d before", now, threads)
	}

	err = cache.Sync(t.Context())
	checkIs(t, err, treecache.ErrUnsupported)
	checkEqual(t, "error", err.Error(), "treecache: sync "+file+": the cache is attached to a file, and has no server to ask")
	checkIs(t, cache.Start(), treecache.ErrState)
	check(t, cache.Close())
	checkIs(t, cache.WaitInitialized(t.Context()), treecache.ErrClosed)
	_, err = cache.Get(path)
	checkIs(t, err, treecache.ErrClosed)
}

func TestAttachedCachesTellEvents(t *testing.T) {
	path, file := root(t, "a", "b"), sharedFile(t)
	startWriter(t, file, path)
	cache := attach(t, file)
	check(t, cache.WaitInitialized(t.Context()))
	queue := openQueue(t, cache)
	tree := replica{}
	for event := next(t, queue); event.Type != treecache.Initialized; event = next(t, queue) {
		tree.apply(t, event)
	}
	tree.checkEquals(t, snapshotOf(t, cache))
	zk.create(path+"/c", "c")
	checkEqual(t, "added", nextOf(t, queue, treecache.NodeAdded).Path, path+"/c")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for event, err := range cache.Events(ctx, treecache.WithUnder(path+"/a")) {
		check(t, err)
		if event.Type == treecache.NodeUpdated {
			break
		}
		if event.Type == treecache.NodeAdded {
			zk.set(path+"/a", "new")
		}
	}
}

func TestTheTreeOfAWriterThatIsKilledStays(t *testing.T) {
	path, file := root(t, "a"), sharedFile(t)
	kill := startWriter(t, file, path)
	cache := attach(t, file)
	queue := openQueue(t, cache)
	nextOf(t, queue, treecache.InStep)
	kill()
	// Nobody says that it is dead: the reader's own clock does.
	nextOf(t, queue, treecache.ConnectionSuspended)
	state, age := cache.State()
	checkEqual(t, "state", state, treecache.StateSuspended)
	if age < time.Second {
		t.Fatal("the writer's session lasts for two: ", age)
	}
	node, err := cache.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "a")
	zk.set(path+"/a", "meanwhile")

	startWriter(t, file, path)
	nextOf(t, queue, treecache.ConnectionReconnected)
	nextOf(t, queue, treecache.InStep)
	eventually(t, "what has changed meanwhile", func() bool {
		node, err := cache.Get(path + "/a")
		state, _ := cache.State()
		return err == nil && string(node.Data) == "meanwhile" && state == treecache.StateInStep
	})
}

func TestAttachWaitsForAFile(t *testing.T) {
	path, file := root(t, "a"), sharedFile(t)
	cache := attach(t, file)
	state, age := cache.State()
	checkEqual(t, "state", state, treecache.StateLoading)
	checkEqual(t, "age", age, -time.Millisecond)
	_, err := cache.Get(path)
	checkIs(t, err, treecache.ErrNotReady)
	_, err = cache.Path()
	checkIs(t, err, treecache.ErrNotReady)
	checkEqual(t, "error", err.Error(), "treecache: path "+file+": the file is not there yet, so that nobody knows the root")
	for range snapshotOf(t, cache).All() {
		t.Fatal("there is nothing yet")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err = cache.WaitInitialized(ctx)
	checkIs(t, err, context.DeadlineExceeded)
	if !strings.HasPrefix(err.Error(), "treecache: wait "+file+": context deadline exceeded") {
		t.Fatal(err)
	}
	_, err = cache.Queue(treecache.WithUnder(path))
	checkIs(t, err, treecache.ErrState)
	if !strings.Contains(err.Error(), "the file is not there yet") {
		t.Fatal(err)
	}
	startWriter(t, file, path)
	check(t, cache.WaitInitialized(t.Context()))
	known, err := cache.Path()
	check(t, err)
	checkEqual(t, "root", known, path)
	check(t, cache.Close())
	_, err = cache.Path()
	checkIs(t, err, treecache.ErrClosed)
}

func TestAttachSaysWhatIsNoSuchFile(t *testing.T) {
	path, file := root(t, "a"), sharedFile(t)
	check(t, os.WriteFile(file, []byte("root:x:0:0:root:/root:/bin/bash"), 0o600))
	for name, message := range map[string]string{
		file:           "cannot attach to " + file + ": it is no shared tree",
		"/dev/shm":     "cannot attach to /dev/shm: it is no file",
		"/dev/shm\x00": `a NUL at byte 8 of "/dev/shm\x00"`,
	} {
		cache, err := treecache.Attach(name)
		checkIs(t, err, treecache.ErrInvalidArgument)
		checkEqual(t, "error", err.Error(), "treecache: attach: "+message)
		if cache != nil {
			t.Fatal("a cache, too")
		}
	}
	_, err := treecache.Attach(file, treecache.With("no.such.key", "1"))
	var e *treecache.Error
	if !errors.As(err, &e) || e.Key != "no.such.key" {
		t.Fatal(err)
	}

	check(t, os.Remove(file))
	startWriter(t, file, path)
	check(t, attach(t, file).WaitInitialized(t.Context()))
	err = made(t, open(t), "/elsewhere", treecache.WithShareFile(file), treecache.WithRootCreate(false)).Start()
	checkIs(t, err, treecache.ErrInvalidArgument)
	if text := err.Error(); !strings.Contains(text, file) || !strings.HasSuffix(text, "it is of "+path+", and the cache is of /elsewhere") {
		t.Fatal(text)
	}
}

func TestAttachedCachesLeaveNothingBehind(t *testing.T) {
	path, file := root(t, leafy...), sharedFile(t)
	startWriter(t, file, path)
	latent := made(t, open(t), path)
	cycle := func() {
		cache, err := treecache.Attach(file)
		check(t, err)
		check(t, cache.WaitInitialized(t.Context()))
		use(t, cache, latent, path)
		check(t, cache.Close())
		_, err = treecache.Attach("/dev/shm")
		checkIs(t, err, treecache.ErrInvalidArgument)
	}
	cycle()
	eventually(t, "its threads end", func() bool { return !slices.Contains(libraryThreads(), "treecache-share") })
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	const rounds = 20
	var grown int64
	for range 10 {
		before := malloc.InUse()
		for range rounds {
			cycle()
		}
		eventually(t, "its threads end", func() bool { return !slices.Contains(libraryThreads(), "treecache-share") })
		if grown = malloc.InUse() - before; grown < rounds*8 {
			break
		}
	}
	if grown >= rounds*8 {
		t.Errorf("%d bytes more in C after %d rounds, again and again", grown, rounds)
	}
	if now := descriptors(t); now > files {
		t.Errorf("%d descriptors, %d before", now, files)
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
}
