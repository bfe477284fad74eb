package treecache_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

// lines is a handler that keeps what it is told, and lets a test look on.
type lines struct {
	mu     sync.Mutex
	text   bytes.Buffer
	level  slog.Level
	during func()
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *lines) WithGroup(string) slog.Handler                    { return l }

func (l *lines) Handle(ctx context.Context, record slog.Record) error {
	if l.during != nil {
		l.during()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slog.NewTextHandler(&l.text, &slog.HandlerOptions{Level: l.level}).Handle(ctx, record)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func setLogger(t *testing.T, handler slog.Handler) {
	t.Helper()
	check(t, treecache.SetLogger(slog.New(handler)))
	t.Cleanup(func() { check(t, treecache.SetLogger(nil)) })
}

// unreachable is where nobody serves, and no other test looks for somebody.
const unreachable = "127.0.0.2:1"

// fail has a client of its own fail at least so often, and returns how many faults it had.
func fail(t *testing.T, caches int, faults uint64) uint64 {
	t.Helper()
	client := openAt(t, unreachable)
	last := made(t, client, "/a")
	check(t, last.Start())
	for range caches - 1 {
		check(t, made(t, client, "/a").Start())
	}
	stats := func() treecache.Stats {
		stats, err := last.Stats()
		check(t, err)
		return stats
	}
	eventually(t, "faults", func() bool { return stats().Faults >= faults })
	check(t, client.Close())
	return stats().Faults
}

func TestTheLogGoesToTheLogger(t *testing.T) {
	log := &lines{level: slog.LevelDebug}
	// A handler may use what the library's own log function must not.
	log.during = func() { _ = treecache.Version() + treecache.ErrNoNode.String() }
	setLogger(t, log)
	fail(t, 1, 1)
	eventually(t, "the fault in the log", func() bool {
		return strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), unreachable)
	})
}

func TestAFaultIsLoggedOnceHoweverManyCachesThereAre(t *testing.T) {
	log := &lines{level: slog.LevelWarn}
	setLogger(t, log)
	faults := fail(t, 3, 2)
	check(t, treecache.SetLogger(nil))
	checkEqual(t, "lines", uint64(strings.Count(log.String(), "msg=\""+unreachable)), faults)
}

func TestSetLoggerReturnsWhenTheLoggerBeforeHasItAll(t *testing.T) {
	for range 5 {
		log := &lines{level: slog.LevelWarn}
		setLogger(t, log)
		faults := fail(t, 1, 1)
		check(t, treecache.SetLogger(nil))
		checkEqual(t, "lines", uint64(strings.Count(log.String(), "msg=\""+unreachable)), faults)
	}
}

func TestWhatACallReturnsIsNoLineOfTheLog(t *testing.T) {
	log := &lines{level: slog.LevelDebug}
	setLogger(t, log)
	_, err := treecache.Open(hosts, treecache.With("no.such.key", ""))
	checkIs(t, err, treecache.ErrInvalidArgument)
	_, err = made(t, open(t), "/a").Get("nonsense")
	checkIs(t, err, treecache.ErrInvalidArgument)
	check(t, treecache.SetLogger(nil))
	if strings.Contains(log.String(), "no.such.key") || strings.Contains(log.String(), "nonsense") {
		t.Fatal(log)
	}
}

func TestLinesThatALoggerCannotTakeAreCounted(t *testing.T) {
	log := &lines{level: slog.LevelWarn}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	log.during = func() { once.Do(func() { close(begun); <-goOn }) }
	setLogger(t, log)
	// Each is a warning: the password goes through the network as it is.
	warned := func() {
		client, err := treecache.Open(unreachable, treecache.With("auth", "digest:ada:secret"))
		check(t, err)
		client.Close()
	}
	warned()
	<-begun
	for range 1000 {
		warned()
	}
	close(goOn)
	eventually(t, "a line that counts those before", func() bool {
		warned()
		return strings.Contains(log.String(), "lost=")
	})
}

func TestWithoutALoggerWarningsGoToTheDefaultOne(t *testing.T) {
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), "TREECACHE_TEST_DEFAULT_LOG="+unreachable)
	var said bytes.Buffer
	program.Stderr = &said
	check(t, program.Run())
	if !strings.Contains(said.String(), "WARN "+unreachable) || strings.Contains(said.String(), "INFO") {
		t.Fatal(&said)
	}
}

// logOnly is a program that has a client fail, and has not said where the log goes.
func logOnly(hosts string) {
	client, err := treecache.Open(hosts)
	if err != nil {
		panic(err)
	}
	cache, err := client.Cache("/a")
	if err != nil {
		panic(err)
	}
	if err := cache.Start(); err != nil {
		panic(err)
	}
	for stats := (treecache.Stats{}); stats.Faults == 0; stats, _ = cache.Stats() {
		time.Sleep(time.Millisecond)
	}
	client.Close()
	treecache.SetLogger(nil) // returns when all is logged
}
