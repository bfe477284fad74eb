package treecache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

// nobody listens there.
const nobody = "127.0.0.1:1"

var (
	_ io.Closer = (*treecache.Client)(nil)
	_ io.Closer = (*treecache.Cache)(nil)
	_ io.Closer = (*treecache.Queue)(nil)
	_ io.Closer = (*treecache.Snapshot)(nil)
)

func TestACacheLoadsAndIsInStep(t *testing.T) {
	path := root(t, "a")
	cache := made(t, open(t), path)

	state, age := cache.State()
	checkEqual(t, "state", state, treecache.StateLatent)
	checkEqual(t, "initialized", cache.Initialized(), false)
	checkIs(t, cache.WaitInitialized(t.Context()), treecache.ErrState)
	checkIs(t, cache.Sync(t.Context()), treecache.ErrState)

	check(t, cache.Start())
	checkIs(t, cache.Start(), treecache.ErrState)
	check(t, cache.WaitInitialized(t.Context()))
	checkEqual(t, "initialized", cache.Initialized(), true)
	eventually(t, "in step", func() bool {
		state, age = cache.State()
		return state == treecache.StateInStep
	})
	if age < 0 || age > patience {
		t.Fatal("the last word was ago: ", age)
	}
}

func TestWhatIsClosedAnswersErrClosed(t *testing.T) {
	path := root(t, "a")
	client, err := treecache.Open(hosts)
	check(t, err)
	cache := follow(t, client, path)
	snapshot, err := cache.Snapshot()
	check(t, err)
	queue, err := cache.Queue()
	check(t, err)
	for range 2 {
		check(t, queue.Close())
		check(t, snapshot.Close())
		check(t, cache.Close())
		check(t, client.Close())
	}

	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Client.Cache":          func() error { _, err := client.Cache(path); return err },
		"Cache.Start":           cache.Start,
		"Cache.StartFrom":       func() error { return cache.StartFrom(snapshot) },
		"Cache.WaitInitialized": func() error { return cache.WaitInitialized(ctx) },
		"Cache.Sync":            func() error { return cache.Sync(ctx) },
		"Cache.Get":             func() error { _, err := cache.Get(path); return err },
		"Cache.Children":        func() error { _, err := cache.Children(path); return err },
		"Cache.ChildrenData":    func() error { _, err := cache.ChildrenData(path); return err },
		"Cache.Snapshot":        func() error { _, err := cache.Snapshot(); return err },
		"Cache.Stats":           func() error { _, err := cache.Stats(); return err },
		"Cache.Queue":           func() error { _, err := cache.Queue(); return err },
		"Cache.Events":          func() error { return lastError(cache.Events(ctx)) },
		"Queue.Next":            func() error { _, err := queue.Next(ctx); return err },
		"Snapshot.Get":          func() error { _, err := snapshot.Get(path); return err },
		"Snapshot.Children":     func() error { _, err := snapshot.Children(path); return err },
		"Snapshot.ChildrenData": func() error { _, err := snapshot.ChildrenData(path); return err },
		"Snapshot.Walk":         func() error { return snapshot.Walk(path, nil) },
		"Snapshot.Diff":         func() error { return lastError(snapshot.Diff(snapshot)) },
	} {
		if err := call(); !errors.Is(err, treecache.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}

	for range snapshot.All() {
		t.Fatal("a closed snapshot has nodes")
	}
	state, _ := cache.State()
	checkEqual(t, "state", state, treecache.StateClosed)
	checkEqual(t, "initialized", cache.Initialized(), false)
	checkEqual(t, "zxid", snapshot.Zxid(), 0)
	checkEqual(t, "cut", snapshot.IsCut(), false)
	checkEqual(t, "length", snapshot.Len(), 0)
}

func lastError(events func(func(treecache.Event, error) bool)) error {
	var last error
	for _, err := range events {
		last = err
	}
	return last
}

func TestAClientMayBeClosedFirst(t *testing.T) {
	path := root(t, "a")
	client, err := treecache.Open(hosts)
	check(t, err)
	cache := follow(t, client, path)
	check(t, client.Close())

	node, err := cache.Get(path + "/a")
	check(t, err)
	checkEqual(t, "data", string(node.Data), "a")
	state, _ := cache.State()
	checkEqual(t, "state", state, treecache.StateLost)
	checkIs(t, cache.WaitInitialized(t.Context()), treecache.ErrClosed)
	checkIs(t, cache.Sync(t.Context()), treecache.ErrClosed)
}

// Every call that waits, on a cache that waits in vain for its server.
func waits(t *testing.T, cache *treecache.Cache) map[string]func(context.Context) error {
	queue, err := cache.Queue()
	check(t, err)
	t.Cleanup(func() { queue.Close() })
	return map[string]func(context.Context) error{
		"WaitInitialized": cache.WaitInitialized,
		"Next":            func(ctx context.Context) error { _, err := queue.Next(ctx); return err },
		"Events":          func(ctx context.Context) error { return lastError(cache.Events(ctx)) },
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	cache := made(t, openAt(t, nobody), "/a")
	check(t, cache.Start())
	for name, wait := range waits(t, cache) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(20*time.Millisecond, cancel)
			within(t, "a wait that is cancelled", func() { checkIs(t, wait(ctx), context.Canceled) })
			within(t, "a wait that was cancelled before", func() { checkIs(t, wait(ctx), context.Canceled) })

			began := time.Now()
			ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			within(t, "a wait with a deadline", func() { checkIs(t, wait(ctx), context.DeadlineExceeded) })
			if waited := time.Since(began); waited < 30*time.Millisecond {
				t.Fatal("it waited only ", waited)
			}
		})
	}
}

func TestAWaitInVainSaysWhatWentWrongLast(t *testing.T) {
	cache := made(t, openAt(t, nobody), "/a")
	check(t, cache.Start())
	eventually(t, "a fault", func() bool { return cache.LastFault() != nil })
	stats, err := cache.Stats()
	check(t, err)
	checkEqual(t, "status", stats.LastFaultStatus, treecache.ErrConnection)
	if stats.Faults == 0 || stats.LastFaultAge < 0 || stats.LastFaultAge > patience {
		t.Fatalf("%+v", stats)
	}
	checkIs(t, cache.LastFault(), treecache.ErrConnection)
	for name, wait := range waits(t, cache) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			err := wait(ctx)
			var waited *treecache.WaitError
			if !errors.As(err, &waited) || waited.Last == nil || waited.After <= 0 {
				t.Fatalf("%+v", err)
			}
			text, after := err.Error(), float64(waited.After.Round(time.Millisecond).Milliseconds())/1000
			expected := fmt.Sprintf(" /a: context deadline exceeded after %v s; last: %s", after, waited.Last.Message)
			if !strings.HasSuffix(text, expected) {
				t.Fatal(text)
			}
		})
	}
	err = cache.Sync(t.Context())
	checkIs(t, err, treecache.ErrConnection)
	checkEqual(t, "error", err.Error(), "treecache: sync /a: there is no connection; last: "+cache.LastFault().Message)
}

func TestStartedTwiceAndNotStartedAreTwoMessages(t *testing.T) {
	cache := made(t, openAt(t, nobody), "/a")
	checkEqual(t, "error", cache.WaitInitialized(t.Context()).Error(), "treecache: wait /a: the cache was not started")
	checkEqual(t, "error", cache.Sync(t.Context()).Error(), "treecache: sync /a: the cache was not started")
	check(t, cache.Start())
	checkEqual(t, "error", cache.Start().Error(), "treecache: start /a: the cache was started before")
}

func TestWaitingEndsWhenTheCacheIsClosed(t *testing.T) {
	client := openAt(t, nobody)
	for name := range waits(t, made(t, client, "/a")) {
		t.Run(name, func(t *testing.T) {
			cache := made(t, client, "/a")
			check(t, cache.Start())
			wait := waits(t, cache)[name]
			time.AfterFunc(20*time.Millisecond, func() { cache.Close() })
			within(t, "a wait on what is closed", func() { checkIs(t, wait(t.Context()), treecache.ErrClosed) })
		})
	}
}

func TestWaitingEndsWhenTheClientIsClosed(t *testing.T) {
	client := openAt(t, nobody)
	cache := made(t, client, "/a")
	check(t, cache.Start())
	time.AfterFunc(20*time.Millisecond, func() { client.Close() })
	within(t, "a wait for a closed client", func() {
		checkIs(t, cache.WaitInitialized(t.Context()), treecache.ErrClosed)
	})
}

// Whatever is called meanwhile: no crash, and no error but ErrClosed.
func TestEverythingMayBeClosedAtAnyTime(t *testing.T) {
	path := root(t, "a", "a/b", "c")
	for range 15 {
		client, err := treecache.Open(hosts)
		check(t, err)
		cache, err := client.Cache(path)
		check(t, err)
		check(t, cache.Start())
		check(t, cache.WaitInitialized(t.Context()))
		snapshot, err := cache.Snapshot()
		check(t, err)
		queue, err := cache.Queue()
		check(t, err)

		var calls sync.WaitGroup
		until := func(call func() error) {
			for range 2 {
				calls.Go(func() {
					for {
						if err := call(); errors.Is(err, treecache.ErrClosed) {
							return
						} else if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		ctx := t.Context()
		until(func() error { _, err := queue.Next(ctx); return err })
		until(func() error { return lastError(cache.Events(ctx)) })
		until(func() error { _, err := cache.Get(path + "/a"); return err })
		until(func() error { _, err := cache.ChildrenData(path); return err })
		until(func() error { _, err := cache.Stats(); return err })
		until(func() error { return cache.WaitInitialized(ctx) })
		until(func() error { return snapshot.Walk(path, func(string, treecache.Node) error { return nil }) })
		until(func() error { return errors.Join(lastError(snapshot.Diff(snapshot)), snapshot.Walk(path, ignore)) })
		until(func() error {
			s, err := cache.Snapshot()
			if err == nil {
				err = s.Close()
			}
			return err
		})
		until(func() error {
			c, err := client.Cache(path)
			if err == nil {
				err = c.Close()
			}
			return err
		})

		closers := []io.Closer{client, cache, snapshot, queue, client, cache, snapshot, queue}
		rand.Shuffle(len(closers), func(i, j int) { closers[i], closers[j] = closers[j], closers[i] })
		for _, c := range closers {
			calls.Go(func() { check(t, c.Close()) })
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		}
		within(t, "calls on what is closed", calls.Wait)
	}
}

func ignore(string, treecache.Node) error { return nil }

func TestWhatIsForgottenIsClosed(t *testing.T) {
	path := root(t, "a")
	// Clients of earlier tests may be closed by the garbage collector, too.
	eventually(t, "the threads of earlier clients end", func() bool {
		runtime.GC()
		return len(libraryThreads()) == 0
	})
	func() {
		client, err := treecache.Open(hosts)
		check(t, err)
		cache, err := client.Cache(path)
		check(t, err)
		check(t, cache.Start())
		check(t, cache.WaitInitialized(t.Context()))
		queue, err := cache.Queue()
		check(t, err)
		_, err = queue.Next(t.Context())
		check(t, err)
		_, err = cache.Snapshot()
		check(t, err)
		if len(libraryThreads()) == 0 {
			t.Fatal("the client has no threads")
		}
	}()
	eventually(t, "the threads of a forgotten client end", func() bool {
		runtime.GC()
		return len(libraryThreads()) == 0
	})
}

func TestACacheKeepsItsClient(t *testing.T) {
	path := root(t)
	cache := func() *treecache.Cache {
		client, err := treecache.Open(hosts)
		check(t, err)
		cache, err := client.Cache(path)
		check(t, err)
		return cache
	}()
	defer cache.Close()
	for range 5 {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	check(t, cache.Start())
	check(t, cache.WaitInitialized(t.Context()))
}

func TestAllSettingsAreTaken(t *testing.T) {
	path := root(t)
	client := open(t,
		treecache.WithSessionTimeout(6*time.Second),
		treecache.WithConnectTimeout(2*time.Second),
		treecache.WithAuth("digest", "go:secret"),
		treecache.With("limit.frame.bytes", "1048576"))
	cache := made(t, client, path,
		treecache.WithRootCreate(false),
		treecache.WithLimits(1000, 1_000_000),
		treecache.With("audit.interval.ms", "60000"))
	queue, err := cache.Queue(treecache.WithCapacity(10), treecache.WithFaults(), treecache.With("events.capacity", "20"))
	check(t, err)
	check(t, queue.Close())
}

func TestASettingThatIsRefusedIsNamed(t *testing.T) {
	for key, option := range map[string]treecache.ClientOption{
		"session.timeout.ms": treecache.WithSessionTimeout(time.Microsecond),
		"connect.timeout.ms": treecache.WithConnectTimeout(-time.Second),
		"auth":               treecache.WithAuth("", "password-123"),
		"no.such.key":        treecache.With("no.such.key", "password-123"),
		"sasl.password":      treecache.WithSASL("user", "password-123\x00"),
		"tls.ca.file":        treecache.WithTLS("/no/such/password-less/file"),
		"tls":                treecache.WithCertificate("/no/such/file", "/no/such/file"),
	} {
		t.Run(key, func(t *testing.T) {
			_, err := treecache.Open(hosts, option)
			checkIs(t, err, treecache.ErrInvalidArgument)
			var e *treecache.Error
			if !errors.As(err, &e) || e.Key != key || e.Message == "" {
				t.Fatalf("%#v", err)
			}
			if strings.Contains(err.Error(), "password-123") {
				t.Fatal("the error tells a secret: ", err)
			}
			if !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), e.Message) {
				t.Fatal("the error does not say it all: ", err)
			}
		})
	}

	_, err := made(t, open(t), "/a").Queue(treecache.WithCapacity(-1))
	var e *treecache.Error
	if !errors.As(err, &e) || e.Status != treecache.ErrInvalidArgument || e.Key != "events.capacity" {
		t.Fatalf("%#v", err)
	}
}

func TestPathsAreShownWithoutWhatActsOnATerminal(t *testing.T) {
	err := &treecache.Error{Op: "get", Status: treecache.ErrNoNode, Path: "/größe\u202etxt\x1b[2J"}
	if want := `treecache: get /größe\u{202e}txt\u{1b}[2J: no such node`; err.Error() != want {
		t.Fatalf("%q, not %q", err.Error(), want)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, hosts := range []string{
		"", ",", "host:", "host:port", "host:2181/a//b", "\xff", "host:2181\x00", hosts + "\x00/a",
	} {
		client, err := treecache.Open(hosts)
		if !errors.Is(err, treecache.ErrInvalidArgument) {
			t.Errorf("hosts %q: %v", hosts, err)
		}
		if client != nil {
			t.Errorf("hosts %q: a client, too", hosts)
		}
	}

	path := root(t, "a")
	client := open(t)
	cache := follow(t, client, path)
	snapshot, err := cache.Snapshot()
	check(t, err)
	defer snapshot.Close()
	for _, path := range []string{
		"", "a", "/a/", "//", "/a//b", "/.", "/..", "\xff", "/\xff", path + "/a\x00", path + "/a\x00b", path + "\x00",
	} {
		for name, call := range map[string]func() error{
			"Client.Cache":          func() error { _, err := client.Cache(path); return err },
			"Cache.Get":             func() error { _, err := cache.Get(path); return err },
			"Cache.Children":        func() error { _, err := cache.Children(path); return err },
			"Cache.ChildrenData":    func() error { _, err := cache.ChildrenData(path); return err },
			"Snapshot.Get":          func() error { _, err := snapshot.Get(path); return err },
			"Snapshot.Children":     func() error { _, err := snapshot.Children(path); return err },
			"Snapshot.ChildrenData": func() error { _, err := snapshot.ChildrenData(path); return err },
			"Snapshot.Walk":         func() error { return snapshot.Walk(path, ignore) },
		} {
			if err := call(); !errors.Is(err, treecache.ErrInvalidArgument) {
				t.Errorf("%s of %q: %v", name, path, err)
			}
		}
	}
}

func TestVersionIsThatOfTheLibrary(t *testing.T) {
	if !strings.HasPrefix(treecache.Version(), "0.") {
		t.Fatal(treecache.Version())
	}
}
