package treecache

// #include <treecache.h>
import "C"

import (
	"strconv"
	"strings"
	"time"
)

// A ClientOption is a setting for [Open].
type ClientOption interface{ forClient() []setting }

// A CacheOption is a setting for [Client.Cache] and [Attach].
type CacheOption interface{ forCache() []setting }

// A QueueOption is a setting for [Cache.Queue] and [Cache.Events].
type QueueOption interface{ forQueue() []setting }

// An Option is a setting for whatever its key is for.
type Option interface {
	ClientOption
	CacheOption
	QueueOption
}

type setting struct{ key, value string }

type (
	clientOption []setting
	cacheOption  []setting
	queueOption  []setting
	anyOption    []setting
)

func (o clientOption) forClient() []setting { return o }
func (o cacheOption) forCache() []setting   { return o }
func (o queueOption) forQueue() []setting   { return o }
func (o anyOption) forClient() []setting    { return o }
func (o anyOption) forCache() []setting     { return o }
func (o anyOption) forQueue() []setting     { return o }

// With sets any key of the library's configuration (docs/configuration.md), also one that this package has no option
// for. A key that is not for what it is given to has no effect there.
func With(key, value string) Option {
	return anyOption{{key, value}}
}

// WithSessionTimeout sets the session timeout to ask the server for; it may grant another. 10 s when not set.
func WithSessionTimeout(timeout time.Duration) ClientOption {
	return clientOption{{"session.timeout.ms", milliseconds(timeout)}}
}

// WithConnectTimeout sets how long one attempt to connect to one server may take. 3 s when not set.
func WithConnectTimeout(timeout time.Duration) ClientOption {
	return clientOption{{"connect.timeout.ms", milliseconds(timeout)}}
}

// WithAuth adds an identity of the session, such as ("digest", "user:password"). It may be given several times.
func WithAuth(scheme, credential string) ClientOption {
	return clientOption{{"auth", scheme + ":" + credential}}
}

// WithSASL lets the session authenticate by SASL with DIGEST-MD5. For Kerberos see [WithKerberos].
func WithSASL(username, password string) ClientOption {
	return clientOption{{"sasl.mechanism", "DIGEST-MD5"}, {"sasl.username", username}, {"sasl.password", password}}
}

// WithKerberos lets the session authenticate by SASL with GSSAPI, with the tickets of the ticket cache unless [WithKeytab]
// is given, too. What else there is to set about Kerberos is set by [With].
func WithKerberos() ClientOption {
	return clientOption{{"sasl.mechanism", "GSSAPI"}}
}

// WithKeytab is who the session is to Kerberos, and a file with the keys of that principal. It goes with [WithKerberos].
func WithKeytab(principal, keytab string) ClientOption {
	return clientOption{{"sasl.principal", principal}, {"sasl.keytab", keytab}}
}

// WithTLS secures the connections, and trusts the CAs whose certificates are in a file (PEM). It is read again for each
// connection. What else there is to set about TLS is set by [With].
func WithTLS(caFile string) ClientOption {
	return clientOption{{"tls", "true"}, {"tls.ca.file", caFile}}
}

// WithCertificate is the client's own certificate and its key (files in PEM), for servers that ask for one. It goes
// with [WithTLS].
func WithCertificate(certFile, keyFile string) ClientOption {
	return clientOption{{"tls.cert.file", certFile}, {"tls.key.file", keyFile}}
}

// WithRootCreate says whether a root that is missing is created, with its parents, when the cache is started. It is
// when not set; with false, the cache waits for it to appear.
func WithRootCreate(create bool) CacheOption {
	return cacheOption{{"root.create", strconv.FormatBool(create)}}
}

// WithLimits stops the cache with [ErrLimit] when its tree has more nodes, or more bytes of data, than this; 0 is no
// limit, as when not set.
func WithLimits(nodes, bytes uint64) CacheOption {
	return cacheOption{
		{"limit.nodes", strconv.FormatUint(nodes, 10)},
		{"limit.bytes", strconv.FormatUint(bytes, 10)},
	}
}

// WithShareFile keeps the tree in a file, on Linux, for [Attach] in other processes, and for the next start of a cache with the
// same file, which begins with it (docs/sharing.md).
func WithShareFile(file string) CacheOption {
	return cacheOption{{"share.file", file}}
}

// WithCapacity sets how many events a queue may lag before it continues with the difference between what was taken out
// last and the newest version. 100,000 when not set.
func WithCapacity(events int) QueueOption {
	return queueOption{{"events.capacity", strconv.Itoa(events)}}
}

// WithFaults lets the queue tell faults too, in their order among the events: what goes wrong in the background and
// concerns the cache or the session of its client. They come as events of the type [Fault]. Without it they are logged;
// see [SetLogger].
func WithFaults() QueueOption {
	return queueOption{{"queue.faults", "true"}}
}

// WithUnder lets the queue tell of these subtrees only: the nodes at these paths, and all below them. The paths are
// absolute, and at or below the cache's root. What changes elsewhere costs the queue nothing.
func WithUnder(paths ...string) QueueOption {
	var settings queueOption
	for _, path := range paths {
		settings = append(settings, setting{"listen.under", path})
	}
	return settings
}

// WithDepth lets the queue tell of so many levels below each path of [WithUnder], or below the cache's root: 0 is that
// node alone, 1 the node and its children.
func WithDepth(levels int) QueueOption {
	return queueOption{{"listen.depth", strconv.Itoa(levels)}}
}

// WithEvents lets the queue tell of events of these types only. The three of the connection come together, whichever
// of them is named. Faults are not among them; see [WithFaults].
func WithEvents(types ...EventType) QueueOption {
	kinds := make([]string, len(types))
	for i, t := range types {
		switch t {
		case NodeAdded:
			kinds[i] = "added"
		case NodeUpdated:
			kinds[i] = "updated"
		case NodeRemoved:
			kinds[i] = "removed"
		case ConnectionSuspended, ConnectionReconnected, ConnectionLost:
			kinds[i] = "connection"
		case InStep:
			kinds[i] = "in_step"
		default:
			kinds[i] = t.String() // the library knows it, or says that it does not
		}
	}
	return queueOption{{"listen.events", strings.Join(kinds, ",")}}
}

// WithoutInitial lets the queue begin with what changes from now on: neither with the tree so far, nor with
// [Initialized] when the cache is.
func WithoutInitial() QueueOption {
	return queueOption{{"listen.initial", "false"}}
}

// WithAfterInitialized lets the queue tell nothing before [Initialized], and of the tree only what changes after it.
func WithAfterInitialized() QueueOption {
	return queueOption{{"listen.after.initialized", "true"}}
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// A config is the C library's, with the operation that it is for.
type config struct {
	op string
	c  *C.tc_config
}

// newConfig returns a configuration with the settings of these options; it is to be freed.
func newConfig[O any](op string, options []O, settings func(O) []setting) (config, error) {
	cfg := config{op, C.tc_config_new()}
	if cfg.c == nil {
		return cfg, failure(op, "", C.TC_ERR_PANIC)
	}
	for _, option := range options {
		for _, s := range settings(option) {
			if err := cfg.set(s); err != nil {
				cfg.free()
				return config{}, err
			}
		}
	}
	return cfg, nil
}

func (cfg config) set(s setting) error {
	key, err := cString(cfg.op, s.key)
	if err != nil {
		return err
	}
	value, err := cString(cfg.op, s.value)
	if err != nil {
		// The value may be a secret: it is not repeated.
		return &Error{Op: cfg.op, Status: ErrInvalidArgument, Key: s.key, Message: "a NUL in the value"}
	}
	return cfg.lastFailure(C.tc_config_set(cfg.c, key, value))
}

// lastFailure returns the error of a call that has just been made with the configuration, which remembers why it failed.
func (cfg config) lastFailure(status C.int32_t) error {
	var why *C.tc_error
	if status != C.TC_OK {
		C.tc_config_get_error(cfg.c, &why)
	}
	return cfg.failure(status, why)
}

// failure returns the error that a status means, with what the library told of it, which is freed.
func (cfg config) failure(status C.int32_t, why *C.tc_error) error {
	if status == C.TC_OK {
		return nil
	}
	e := &Error{Op: cfg.op, Status: Status(status)}
	if why != nil {
		e.Key, e.Path, e.Message = C.GoString(why.key), C.GoString(why.path), C.GoString(why.message)
		C.tc_error_free(why)
	}
	return e
}

func (cfg config) free() {
	C.tc_config_free(cfg.c)
}
