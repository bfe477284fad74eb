package treecache

// #include <treecache.h>
import "C"

// A Client is one session with a ZooKeeper ensemble, shared by any number of caches. It connects by itself, and makes a
// new session when one is lost.
type Client struct {
	c      *C.tc_client
	handle *handle
}

// Open starts a session with an ensemble, such as "zk1:2181,zk2:2181/chroot"; all paths are relative to the chroot if
// there is one. It returns at once and connects in the background, so it does not fail because nobody answers: that
// shows in [Cache.State], and as faults.
//
// Errors: [ErrInvalidArgument] for hosts, settings, and files they name; [ErrConnection] when the system has no thread
// or descriptor left.
func Open(hosts string, options ...ClientOption) (*Client, error) {
	const op = "open"
	cHosts, err := cString(op, hosts)
	if err != nil {
		return nil, err
	}
	logByDefault()
	cfg, err := newConfig(op, options, ClientOption.forClient)
	if err != nil {
		return nil, err
	}
	defer cfg.free()
	var c *C.tc_client
	var why *C.tc_error
	status := C.tc_client_new_or_error(cHosts, cfg.c, &c, &why)
	if err := cfg.failure(status, why); err != nil {
		return nil, err
	}
	client := &Client{c: c}
	client.handle = newHandle(client, nil, func() { C.tc_client_free(c) })
	return client, nil
}

// Cache makes a cache of the subtree at path. Nothing is read before [Cache.Start].
//
// Errors: [ErrInvalidArgument] for the path and settings, [ErrClosed].
func (c *Client) Cache(path string, options ...CacheOption) (*Cache, error) {
	const op = "cache"
	cPath, err := cString(op, path)
	if err != nil {
		return nil, err
	}
	cfg, err := newConfig(op, options, CacheOption.forCache)
	if err != nil {
		return nil, err
	}
	defer cfg.free()
	if !c.handle.acquire() {
		return nil, closedError(op, path)
	}
	defer c.leave()
	var tc *C.tc_cache
	var why *C.tc_error
	status := C.tc_new_or_error(c.c, cPath, cfg.c, &tc, &why)
	if err := cfg.failure(status, why); err != nil {
		return nil, err
	}
	return newCache(tc, path, c), nil
}

// Close ends the session, waiting half a second at most for the server's word. Caches of the client stay readable, and
// tell [ConnectionLost]; they are to be closed too, before or after. The error is nil.
func (c *Client) Close() error {
	c.handle.close()
	return nil
}

func (c *Client) leave() { c.handle.release() }
