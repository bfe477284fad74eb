package treecache_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

// What the tests and examples work on: a ZooKeeper, and an independent client that writes to it.
var (
	hosts  = os.Getenv("TREECACHE_TEST_HOSTS")
	python = os.Getenv("TREECACHE_TEST_PYTHON")
	zk     *writer
)

func TestMain(m *testing.M) {
	if unreachable := os.Getenv("TREECACHE_TEST_DEFAULT_LOG"); unreachable != "" {
		logOnly(unreachable)
		return
	}
	if file := os.Getenv("TREECACHE_TEST_WRITE"); file != "" {
		writeTo(file, os.Getenv("TREECACHE_TEST_ROOT"))
		return
	}
	if hosts == "" || python == "" {
		fmt.Fprintln(os.Stderr, "the tests need a ZooKeeper, and a Python with kazoo: run bindings/go/test")
		os.Exit(2)
	}
	var err error
	if zk, err = newWriter(); err != nil {
		fmt.Fprintln(os.Stderr, "the writer does not start:", err)
		os.Exit(2)
	}
	code := m.Run()
	zk.close()
	left := libraryThreads()
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); left = libraryThreads() {
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	if code == 0 && len(left) > 0 {
		fmt.Fprintln(os.Stderr, "threads of the library outlive the tests:", left)
		code = 1
	}
	os.Exit(code)
}

// A writer is a Python process that writes to ZooKeeper.
type writer struct {
	mu      sync.Mutex
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
}

func newWriter() (*writer, error) {
	w := &writer{command: exec.Command(python, "testdata/zookeeper.py", hosts)}
	w.command.Stderr = os.Stderr
	in, err := w.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := w.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.in, w.out = in, bufio.NewScanner(out)
	return w, w.command.Start()
}

// do has it do something, and waits until it is done.
func (w *writer) do(arguments map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, err := json.Marshal(arguments)
	if err == nil {
		_, err = w.in.Write(append(line, '\n'))
	}
	if err == nil && !w.out.Scan() {
		err = errors.Join(io.ErrUnexpectedEOF, w.out.Err())
	}
	if err != nil || w.out.Text() != "null" {
		panic(fmt.Sprintf("the writer failed: %s: %v %s", line, err, w.out.Text()))
	}
}

func (w *writer) create(path, data string) {
	w.do(map[string]any{"op": "create", "path": path, "data": data})
}

// createPrivate makes a node that only "digest:go:password" may read.
func (w *writer) createPrivate(path, data string) {
	w.do(map[string]any{"op": "create", "path": path, "data": data, "private": true})
}

func (w *writer) set(path, data string) {
	w.do(map[string]any{"op": "set", "path": path, "data": data})
}

func (w *writer) delete(path string) {
	w.do(map[string]any{"op": "delete", "path": path})
}

// replace deletes a node without children and creates it again, in one transaction.
func (w *writer) replace(path string) {
	w.do(map[string]any{"op": "replace", "path": path})
}

func (w *writer) fill(path string, count int) {
	w.do(map[string]any{"op": "fill", "path": path, "count": count})
}

func (w *writer) close() {
	w.in.Close()
	w.command.Wait()
}

// A proxy forwards connections to the ZooKeeper, until it is told to drop them.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	dropping bool
	conns    []net.Conn
}

func newProxy(t *testing.T) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &proxy{listener: listener}
	t.Cleanup(func() {
		listener.Close()
		p.drop()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.forward(conn)
		}
	}()
	return p
}

func (p *proxy) forward(conn net.Conn) {
	server, err := net.Dial("tcp", hosts)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.dropping {
		conn.Close()
		return
	}
	p.conns = append(p.conns, conn, server)
	pipe := func(to, from net.Conn) {
		io.Copy(to, from)
		to.Close()
	}
	go pipe(conn, server)
	go pipe(server, conn)
}

func (p *proxy) hosts() string { return p.listener.Addr().String() }

// drop ends all connections, and lets no new ones through.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropping = true
	for _, conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropping = false
}

// --- What tests do ---------------------------------------------------------------------------------------------------

// patience is a bound against hanging, for what should take milliseconds.
const patience = 30 * time.Second

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func checkEqual[T comparable](t testing.TB, what string, is, want T) {
	t.Helper()
	if is != want {
		t.Fatalf("%s: %v, and not %v", what, is, want)
	}
}

func checkIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, and not %v", err, want)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came about: ", what)
		}
	}
}

// within fails when a function does not return.
func within(t testing.TB, what string, run func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it does not end: ", what)
	}
}

// open returns a client that is closed with the test.
func open(t testing.TB, options ...treecache.ClientOption) *treecache.Client {
	t.Helper()
	return openAt(t, hosts, options...)
}

func openAt(t testing.TB, hosts string, options ...treecache.ClientOption) *treecache.Client {
	t.Helper()
	client, err := treecache.Open(hosts, options...)
	check(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// follow returns a cache of the client that is loaded, and closed with the test.
func follow(t testing.TB, client *treecache.Client, path string, options ...treecache.CacheOption) *treecache.Cache {
	t.Helper()
	cache := made(t, client, path, options...)
	check(t, cache.Start())
	check(t, cache.WaitInitialized(t.Context()))
	return cache
}

// made returns a cache of the client that is not started, and closed with the test.
func made(t testing.TB, client *treecache.Client, path string, options ...treecache.CacheOption) *treecache.Cache {
	t.Helper()
	cache, err := client.Cache(path, options...)
	check(t, err)
	t.Cleanup(func() { cache.Close() })
	return cache
}

// root makes a root of the test's own, with nodes below it: "a" is /TestName/a, with "a" for data.
func root(t testing.TB, names ...string) string {
	t.Helper()
	path := "/" + strings.ReplaceAll(t.Name(), "/", "-")
	zk.create(path, "root")
	for _, name := range names {
		zk.create(path+"/"+name, name)
	}
	t.Cleanup(func() { zk.delete(path) })
	return path
}

// libraryThreads returns the names of the threads that the library has.
func libraryThreads() []string {
	var names []string
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		name, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/comm")
		if strings.HasPrefix(string(name), "treecache-") {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}
