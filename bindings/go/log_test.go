package treecache_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"treecache"
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

func TestTheLogGoesToTheLogger(t *testing.T) {
	log := &lines{level: slog.LevelDebug}
	// A handler may use what the library's own log function must not.
	log.during = func() { _ = treecache.Version() + treecache.ErrNoNode.String() }
	setLogger(t, log)
	_, err := treecache.Open(hosts, treecache.With("no.such.key", ""))
	checkIs(t, err, treecache.ErrInvalidArgument)
	eventually(t, "the refusal in the log", func() bool {
		return strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), "no.such.key")
	})
}

func TestSetLoggerReturnsWhenTheLoggerBeforeHasItAll(t *testing.T) {
	for range 20 {
		log := &lines{level: slog.LevelError}
		setLogger(t, log)
		_, err := treecache.Open(hosts, treecache.With("no.such.key", ""))
		checkIs(t, err, treecache.ErrInvalidArgument)
		check(t, treecache.SetLogger(nil))
		checkEqual(t, "lines with the key", strings.Count(log.String(), "no.such.key"), 1)
	}
}

func TestLinesThatALoggerCannotTakeAreCounted(t *testing.T) {
	log := &lines{level: slog.LevelError}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	log.during = func() { once.Do(func() { close(begun); <-goOn }) }
	setLogger(t, log)
	refused := func() { treecache.Open(hosts, treecache.With("no.such.key", "")) }
	refused()
	<-begun
	for range 5000 {
		refused()
	}
	close(goOn)
	eventually(t, "a line that counts those before", func() bool {
		refused()
		return strings.Contains(log.String(), "lost=")
	})
}

func TestALongLineIsCut(t *testing.T) {
	log := &lines{level: slog.LevelError}
	setLogger(t, log)
	treecache.Open(hosts, treecache.With(strings.Repeat("x", 10_000), ""))
	check(t, treecache.SetLogger(nil))
	// The library shows so much of what somebody has chosen.
	if count := strings.Count(log.String(), "x"); count != 500 {
		t.Fatal(count)
	}
}
