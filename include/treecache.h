/*
 * libtreecache: an exact in-memory copy of a ZooKeeper subtree.
 *
 * Generated from src/ffi/ by cbindgen; do not edit. What holds everywhere:
 *
 * Results. Functions that can fail return TC_OK (0) or a negative TC_ERR_ code; treat a negative number that you do
 * not know as an error. Inputs come first, outputs last, and an output is written only on success (but for `error`,
 * which says why there was none, and the length that TC_ERR_TOO_SMALL is about). NULL is answered with
 * TC_ERR_INVALID_ARGUMENT. What goes wrong in the background is told to fault listeners, or else logged. After a defect
 * (TC_ERR_PANIC) every function but the free functions answers TC_ERR_PANIC for that handle.
 *
 * Threads. Any function may be called from any thread at any time, unless its documentation says otherwise. A free
 * function needs its argument for itself. The shared library stays loaded, also after dlclose.
 *
 * Fork. The child may free what the parent made, and read the snapshots, nodes, children and items it has been handed, and
 * caches that are attached to a file. All else is answered with TC_ERR_STATE there, and logged. It may make clients of its
 * own, and must not return from a callback that forked.
 *
 * Ownership. Handles and results are freed with the function of their type, once, in any order; NULL is ignored there.
 * Strings passed in are NUL-terminated UTF-8 and copied. Strings and data handed out belong to the thing they came
 * from. What a callback gets is lent for the length of the call.
 *
 * Callbacks. A callback is a function, a user pointer and a function that frees it (or NULL). The user pointer is
 * passed on and never dereferenced. Its free function is called exactly once, after the last call, also when the
 * registration fails. The callbacks of a client and its caches run one at a time on a thread of the client, which
 * blocks all signals; a slow one delays the others, never the cache. They may call any function unless its
 * documentation says otherwise, and must not throw or longjmp out.
 *
 * Queues. If you would rather not be called, take events out of a tc_queue, on threads of your own: by waiting, or with a
 * descriptor in an event loop. What was taken out is yours until you free it.
 *
 * Stability. Functions, numbers and tc_stat do not change. Other structs are read only, reach you by pointer, and
 * grow at their end: do not allocate, copy or compare them by size. New codes, events and keys may be added.
 */

#ifndef TC_TREECACHE_H
#define TC_TREECACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Library ------------------------------------------------------------------------------------------------- */

/* What is one for the whole process. */

/**
 * Major version of this header. The library's own is `tc_version`.
 */
#define TC_VERSION_MAJOR 0

/**
 * Minor version of this header.
 */
#define TC_VERSION_MINOR 1

/**
 * Patch version of this header.
 */
#define TC_VERSION_PATCH 0

/**
 * Takes one log line. `level` is syslog's: 3 error, 4 warning, 6 info, 7 debug. `message` is lent for the call. It is
 * called on whatever thread has something to log, on several at once, and must not call any `tc_` function; never within
 * itself: what is logged there all the same goes nowhere.
 */
typedef void (*tc_log_fn)(int32_t level, const char *message, void *user);

/**
 * Returns the library's version, e.g. "0.1.0".
 *
 * The string is the library's and is never freed. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
const char *tc_version(void);

/**
 * Sends the log lines of all clients in this process to a function. Off by default.
 *
 * `level`: the least important lines that are wanted, 3 (errors) to 7 (everything); 5 is as 4. `fn`: called with each
 * line; NULL switches logging off. `user`: passed to `fn` as it is; stays the caller's.
 *
 * May be called again; the function before is not called any more once this returns. Any thread; waits for calls
 * of the function before that are under way; must not be called from `fn`, other callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for another level; TC_ERR_WOULD_DEADLOCK in `fn`; TC_ERR_STATE when a Rust program has
 * set a logger of its own, and in the child of a fork that came while a line was being logged. Since 0.1.0.
 */
int32_t tc_log_set(int32_t level,
                   tc_log_fn fn,
                   void *user);

/**
 * Writes the log lines of all clients in this process to a descriptor, in place of calling a function (`tc_log_set`): for
 * languages that the threads of a library cannot call at any time. Off by default.
 *
 * `level`: as for `tc_log_set`. `fd`: stays the caller's; -1 switches logging off. Each line is one `write` of
 * "<4>text\n", with syslog's number of its level, as systemd reads them; of no more than 4096 bytes, so that those of
 * several threads do not mix in a pipe. If the descriptor is non-blocking and takes nothing, the line is lost, and the next
 * one has the number of those that were: "<4>(2 lines lost) text\n". Lines that only say why a call was refused are left
 * out, as the caller was told so too.
 *
 * May be called again; nothing is written to the descriptor before once this returns. Any thread; waits for writes that are
 * under way; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for another level or a negative descriptor other than -1; TC_ERR_STATE as `tc_log_set`.
 * Since 0.2.0.
 */
int32_t tc_log_set_fd(int32_t level,
                      int32_t fd);

/* --- Status codes -------------------------------------------------------------------------------------------- */

/* What functions return, and what faults carry. */

/**
 * Done.
 */
#define TC_OK 0

/**
 * NULL, malformed path, hosts, key or value, or not UTF-8. A log line names the value.
 */
#define TC_ERR_INVALID_ARGUMENT -1

/**
 * There is no such node.
 */
#define TC_ERR_NO_NODE -2

/**
 * The path is not below the cache's root.
 */
#define TC_ERR_OUT_OF_TREE -3

/**
 * The first load is not complete, and the node has not been seen yet.
 */
#define TC_ERR_NOT_READY -4

/**
 * Started twice, or not started. Also in the child of a fork, for what the parent made; as a fault: another cache writes
 * `share.file`.
 */
#define TC_ERR_STATE -5

/**
 * The cache, or its client, is closed.
 */
#define TC_ERR_CLOSED -6

/**
 * The time to wait is over.
 */
#define TC_ERR_TIMEOUT -7

/**
 * Waiting in a callback would wait for itself.
 */
#define TC_ERR_WOULD_DEADLOCK -8

/**
 * The server cannot do what a cache needs; or the cache is attached to a file, and has no server.
 */
#define TC_ERR_UNSUPPORTED -9

/**
 * The server refused the credentials.
 */
#define TC_ERR_AUTH -10

/**
 * A defect in this library. The handle refuses further work, and is still to be freed. After one on a thread of the
 * library, a client and all its caches do. (A panic in a listener of a Rust program is only told as a fault.)
 */
#define TC_ERR_PANIC -11

/**
 * The session may not read the node, or one above it.
 */
#define TC_ERR_NO_PERMISSION -12

/**
 * No connection, or no means to make one. As a fault also: `share.file` cannot be written.
 */
#define TC_ERR_CONNECTION -13

/**
 * The server sent what ZooKeeper's protocol does not allow; or a shared file is damaged.
 */
#define TC_ERR_PROTOCOL -14

/**
 * TLS failed.
 */
#define TC_ERR_TLS -15

/**
 * The ensemble went back in time: it was reset or restored.
 */
#define TC_ERR_RESET -16

/**
 * The tree is beyond `limit.nodes`, `limit.bytes` or `limit.path.bytes`; the cache has stopped.
 */
#define TC_ERR_LIMIT -17

/**
 * `tc_queue_wake` ended the wait.
 */
#define TC_ERR_INTERRUPTED -18

/**
 * The buffer is too small; the length that is needed is told.
 */
#define TC_ERR_TOO_SMALL -19

/**
 * Returns the name of a status code, e.g. "TC_ERR_NO_NODE"; "TC_ERR_UNKNOWN" for a number that is none.
 *
 * Never NULL. The string is the library's and is never freed. Any thread; never blocks; callbacks may call it.
 * Since 0.1.0.
 */
const char *tc_status_name(int32_t status);

/* --- Configuration ------------------------------------------------------------------------------------------- */

/* Settings for what is made with them, by key, and why a call failed. */

/**
 * Settings for clients, caches, listeners and queues. Copied by what is made with it, so it may be changed and freed at once.
 */
typedef struct tc_config tc_config;

/**
 * Why a call failed. Freed with `tc_error_free`, together with all it points to. Later versions may add fields at its
 * end.
 */
typedef struct tc_error {
    /**
     * A TC_ERR_ code.
     */
    int32_t status;
    /**
     * The configuration key that it is about, or NULL.
     */
    const char *key;
    /**
     * The path that it is about, or NULL; as it is, whatever characters it has.
     */
    const char *path;
    /**
     * What is wrong, for people. Names the value, unless that may be a secret. It can be shown: control characters, and
     * those that turn the direction of writing, are escaped.
     */
    const char *message;
} tc_error;

/**
 * Makes a configuration with every key at its default. Free it with `tc_config_free`.
 *
 * NULL only on a defect in the library. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
struct tc_config *tc_config_new(void);

/**
 * Sets one key of a configuration. `key` and `value` are copied.
 *
 * One configuration may carry keys for clients, caches, listeners and queues; each reads its own. The keys:
 *
 * - `session.timeout.ms` (client, default 10000): session timeout to ask for; the server may grant another
 * - `resolve.timeout.ms` (client, default 15000): time for one look-up of a server's name; where its addresses are known from an earlier one, no longer than connect.timeout.ms, and then these are used
 * - `connect.timeout.ms` (client, default 3000): time for one connection attempt to one server, from where there is an address; grows, while attempts fail by it, up to two thirds of session.timeout.ms
 * - `auth` (client, none): who the session is, e.g. digest:user:password; set again to add another
 * - `sasl.mechanism` (client, none): authenticate with SASL, in this way, before all else; DIGEST-MD5 needs sasl.username and sasl.password, GSSAPI is Kerberos
 * - `sasl.username` (client, none): who the session is, for DIGEST-MD5
 * - `sasl.password` (client, none): the password to sasl.username
 * - `sasl.principal` (client, none): who the session is, for GSSAPI, as in app/host@REALM; without, the first principal in sasl.keytab, or the one of the ticket cache
 * - `sasl.keytab` (client, none): the keys of that principal, for GSSAPI; without, its tickets are those of the ticket cache (KRB5CCNAME)
 * - `sasl.service` (client, default zookeeper): the first part of the servers' principals, for GSSAPI
 * - `sasl.host` (client, none): the second part of the servers' principals, for GSSAPI; without, the name that a server has in hosts
 * - `tls` (client, default false): connect with TLS; needs tls.ca.file
 * - `tls.ca.file` (client, none): certificates of the CAs that a server's certificate may be from; and servers' own, self-signed ones
 * - `tls.cert.file` (client, none): the client's own certificate, for mutual TLS, and what leads from it to its CA
 * - `tls.key.file` (client, none): the private key to tls.cert.file (PKCS#8, PKCS#1 or SEC1, without a password)
 * - `tls.verify.hostname` (client, default true): whether a server's certificate must be for the host name or address in hosts; that it is from one of the CAs is verified in any case
 * - `root.create` (cache, default true): create the root and its parents on start when they are missing
 * - `follow` (cache, default true): go on following the tree; if false, it is loaded once, no watch is left behind, the state is TC_STATE_HELD, and tc_sync brings it up to date
 * - `single` (cache, default false): keep the root alone, whatever depth.max and select say, and have the server tell of the root alone: what happens below it is not even notified
 * - `depth.max` (cache, none): deepest nodes that are kept: 0 keeps the root alone, 1 its children too; without, all are
 * - `select.exclude` (cache, none): pattern of nodes to leave out, with all below them, e.g. tmp*; set again to add another
 * - `select.leaf` (cache, none): pattern of nodes to keep without what is below them; set again to add another
 * - `select.include` (cache, none): pattern of nodes to keep, with what is above them; where this is set, all others are left out; set again to add another
 * - `root.container` (cache, default false): whether parents that are created with the root are containers, which the server removes when they have become empty; needs ZooKeeper 3.5.1
 * - `data` (cache, default all): what is kept of the nodes' data: all, or none, for names and Stats only
 * - `data.compressed` (cache, default none): with gzip, data is kept and told uncompressed; what is no gzip is kept as it came, with a fault
 * - `limit.node.bytes` (cache, default 16777216): most bytes of a node's data once it is uncompressed (data.compressed); of a node beyond it, the data is kept as it came, with a fault, TC_ERR_LIMIT, and the cache goes on
 * - `verify` (cache, default auto): how the tree is verified after a lost connection, if something may have changed: report has a second, short session ask a server which nodes have changed, and reads these; read reads all; auto: report for trees of 2,000 nodes or more, if these are ephemeral or have some 300 bytes or more on average, else read
 * - `close.keep` (cache, default false): whether reads go on from the last version after tc_close, until tc_free
 * - `share.file` (cache, none): file in which the tree is kept for other processes (tc_attach), and with which the cache begins when it is started again; on a local file system, best in memory (/dev/shm); only on Linux
 * - `share.max.age.ms` (cache, default 0): a tree in share.file whose last word from a server is longer ago is not begun with; 0 for no limit
 * - `limit.nodes` (cache, default 0): most nodes; a tree beyond it stops the cache with a fault, TC_ERR_LIMIT; 0 for no limit
 * - `limit.bytes` (cache, default 0): most bytes of data, as it is kept; a tree beyond it stops the cache with a fault, TC_ERR_LIMIT; 0 for no limit
 * - `limit.path.bytes` (cache, default 4096): longest path of a node, and so longest name; a tree with a longer one stops the cache with a fault, TC_ERR_LIMIT
 * - `limit.frame.bytes` (client, default 134217728): longest reply of a server; a longer one ends the connection with a fault, TC_ERR_PROTOCOL
 * - `sync.mode` (client, default barrier): how tc_sync has the server catch up: barrier with a transaction that changes nothing, which holds on every server; sync with ZooKeeper's sync, which costs no transaction, and on a leader does not promise what it has not applied yet
 * - `watch` (client, default auto): how changes are heard of: recursive by one watch for a whole tree, which takes ZooKeeper 3.6; one-shot by watches of each node, which tell of one change each, and older servers have; auto the former, and the latter on a server that refuses it, and on ClickHouse Keeper
 * - `events.capacity` (cache, queue, default 100000): events a listener of the cache, or the queue, may lag (4096 versions at most) before it continues by difference
 * - `events.bytes` (cache, queue, default 67108864): bytes that the versions may hold, beside what the newest one holds, which wait for a listener of the cache, or in the queue, before it continues by difference
 * - `listen.under` (listener, queue, none): tell what happens at this node and below it only; an absolute path, at or below the cache's root; set again to add another
 * - `listen.depth` (listener, queue, none): tell so many levels below each listen.under, or below the cache's root where there is none; 0 is that node alone
 * - `listen.events` (listener, queue, default all): tell these kinds of events only
 * - `listen.initial` (listener, queue, default true): tell the tree so far first, and INITIALIZED if the cache is initialized; without, only what follows
 * - `listen.after.initialized` (listener, queue, default false): tell nothing before INITIALIZED, and of the tree only what has changed since
 * - `queue.faults` (queue, default false): whether the queue has faults in it too; without, every item is an event
 * - `audit.interval.ms` (cache, default 600000): one pass of the background audit over the tree takes about this long; it finds what ZooKeeper does not notify of; 0 for no audit
 *
 * Ranges and more are in docs/configuration.md. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, an unknown key or a value that it does not take: nothing is changed, and
 * a log line says which (never a credential), and `tc_config_get_error`. Since 0.1.0.
 */
int32_t tc_config_set(struct tc_config *config,
                      const char *key,
                      const char *value);

/**
 * Tells why the last call that was made with a configuration failed: `tc_config_set`, `tc_client_new`, `tc_new`,
 * `tc_attach`, `tc_listen_with` or `tc_queue_open`. Those that take an `error` of their own tell it there, and leave nothing here.
 *
 * `out`: receives the error; free it with `tc_error_free`. It receives NULL when that call succeeded, and when there was
 * none; what was refused for the sake of the client or cache that it was to be made of is not remembered. Any thread, but where several use one configuration at once, the last call may be another's; never blocks;
 * callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
 */
int32_t tc_config_get_error(const struct tc_config *config,
                            const struct tc_error **out);

/**
 * Frees an error; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_error_free(const struct tc_error *error);

/**
 * Frees a configuration; NULL does nothing. Not while another thread uses it. Never blocks; callbacks may call it.
 * Since 0.1.0.
 */
void tc_config_free(struct tc_config *config);

/* --- Fault --------------------------------------------------------------------------------------------------- */

/* What goes wrong in the background. */

/**
 * Something went wrong in the background. Lent with all it points to, for the length of a callback, or by an item until
 * that is freed; or the caller's own, from `tc_get_fault`, to be freed with `tc_fault_free`. Later versions may add fields
 * at its end.
 */
typedef struct tc_fault {
    /**
     * A TC_ERR_ code.
     */
    int32_t status;
    /**
     * ZooKeeper's own error code, or 0.
     */
    int32_t server_error;
    /**
     * The node it concerns, or NULL; as the server has it, whatever characters it has.
     */
    const char *path;
    /**
     * What happened, for people. It can be shown: control characters, and those that turn the direction of writing, are
     * escaped.
     */
    const char *message;
} tc_fault;

/**
 * Is told a fault, on the client's callback thread.
 */
typedef void (*tc_fault_fn)(const struct tc_fault *fault, void *user);

/**
 * A function that ends the life of a `user` pointer; NULL when nothing is to be done. It is called exactly once,
 * after the last call of the callback it came with, also when the registration fails. It may be called on any
 * thread that uses the library, and may call what a callback may call.
 */
typedef void (*tc_user_free_fn)(void *user);

/**
 * Frees a fault from `tc_get_fault`; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.2.0.
 */
void tc_fault_free(const struct tc_fault *fault);

/* --- Client -------------------------------------------------------------------------------------------------- */

/* A session with an ensemble. Caches are made from it. */

/**
 * One session with a ZooKeeper ensemble, shared by any number of caches.
 */
typedef struct tc_client tc_client;

/**
 * Starts a session with a ZooKeeper ensemble. It connects by itself, and makes a new session when one is lost.
 *
 * `hosts`: "host:port,host:port/chroot", copied; the port is 2181 where none is given, IPv6 addresses are in brackets
 * ("[fe80::1%eth0]:2181"), the chroot stands once, behind the last server, and all paths are relative to the chroot when there is one. `config`: NULL for the defaults; stays the caller's, and
 * is not used after the call. `out`: receives the client; free it with `tc_client_free`.
 *
 * Returns at once, when it has read the files that `tls.*` names, and loaded the system's library for Kerberos if
 * `sasl.mechanism` is GSSAPI, and connects in the background. Any thread; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, malformed `hosts`, keys of `config` that lack others which they need,
 * files that cannot be used, and a library that is not there, with the reason in the log; TC_ERR_CONNECTION when the system has no thread or
 * file descriptor left, with the reason in the log. Since 0.1.0.
 */
int32_t tc_client_new(const char *hosts,
                      const struct tc_config *config,
                      struct tc_client **out);

/**
 * `tc_client_new` that tells why it failed.
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. It is told with
 * every failure, and `tc_config_get_error` does not tell it. All else, `out` included, as `tc_client_new`.
 *
 * Errors: as `tc_client_new`. Since 0.2.0.
 */
int32_t tc_client_new_or_error(const char *hosts,
                               const struct tc_config *config,
                               struct tc_client **out,
                               const struct tc_error **error);

/**
 * Adds a function that is told the faults of the session, until the client is freed.
 *
 * `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for
 * `tc_client_unlisten`. Faults that nobody listens to are logged. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Then, as always, `user_free` is called. Since 0.1.0.
 */
int32_t tc_client_listen_fault(struct tc_client *client,
                               tc_fault_fn fn,
                               void *user,
                               tc_user_free_fn user_free,
                               uint64_t *listener);

/**
 * Removes a fault listener of the client. None of its calls starts after this has returned; one may be running, and its
 * `user` is freed when it has returned.
 *
 * Never waits. Any thread; callbacks may call it, also on themselves.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or an id that is none; where it is refused (TC_ERR_PANIC, TC_ERR_STATE), the
 * listener goes when the client is freed. Since 0.2.0.
 */
int32_t tc_client_unlisten(struct tc_client *client,
                           uint64_t listener);

/**
 * Ends the session and frees the client; NULL does nothing. Caches made from it stay valid to read, and see
 * CONNECTION_LOST; each is still to be freed.
 *
 * Waits at most half a second for the server's word, and for a running fault callback of this client; not for the
 * latter when called from a callback. When the last of a client and its caches is freed, its threads have ended on
 * return, also unless called from a callback. Not while another thread uses the client; callbacks may call it. In the
 * child of a fork the server is told nothing, and the session goes on in the parent. Since 0.1.0.
 */
void tc_client_free(struct tc_client *client);

/* --- Cache --------------------------------------------------------------------------------------------------- */

/* An in-memory copy of a subtree, and its life. */

/**
 * An in-memory copy of the subtree at one path.
 */
typedef struct tc_cache tc_cache;

/**
 * Makes a cache of the subtree at `path`. Nothing is read before `tc_start`.
 *
 * `path`: absolute, relative to the client's chroot; copied. `config`: NULL for the defaults; stays the caller's, and
 * is not used after the call. `out`: receives the cache; free it with `tc_free`. The client may be freed first.
 *
 * Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, a malformed path or one longer than `limit.path.bytes`. Since 0.1.0.
 */
int32_t tc_new(struct tc_client *client,
               const char *path,
               const struct tc_config *config,
               struct tc_cache **out);

/**
 * `tc_new` that tells why it failed.
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. It is told with
 * every failure, and `tc_config_get_error` does not tell it. All else, `out` included, as `tc_new`.
 *
 * Errors: as `tc_new`. Since 0.2.0.
 */
int32_t tc_new_or_error(struct tc_client *client,
                        const char *path,
                        const struct tc_config *config,
                        struct tc_cache **out,
                        const struct tc_error **error);

/**
 * Makes a cache of the tree that another cache keeps in a file (`share.file`), in another process or in this one:
 * without a session, without a network, and without a thread until something listens or a queue is opened.
 *
 * It needs nothing but leave to read the file and the one beside it, which has `.side` behind its name. Reads, snapshots and
 * walks are those of any cache, and a snapshot is a cut where the writer's was one. State and age say what the writer
 * last knew. A writer that was silent for longer than its session lasts, dead or not, is TC_STATE_SUSPENDED; one that comes back,
 * also with another file, is taken up by itself. If there is no file yet, the state is TC_STATE_LOADING until there is one.
 * `tc_wait_initialized` waits for the writer; `tc_sync` is TC_ERR_UNSUPPORTED. Listeners and queues are told as ever, woken by
 * the writer.
 *
 * In the child of a fork the cache can still be read, and its state asked for; for events, attach there.
 *
 * `file`: where the tree is; copied. `config`: NULL for the defaults; its keys `close.keep`, `events.capacity` and
 * `events.bytes` count; stays the caller's, and is not used after the call. `out`: receives the cache, which is started; free
 * it with `tc_free`.
 *
 * Any thread; reads the file; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, and when something else has that name, or a file of another format or on the
 * file system of a network, or it cannot be read (`tc_config_get_error` tells which); TC_ERR_UNSUPPORTED on other systems
 * than Linux. Since 0.2.0.
 */
int32_t tc_attach(const char *file,
                  const struct tc_config *config,
                  struct tc_cache **out);

/**
 * Begins to load and follow the tree.
 *
 * Returns at once: `tc_wait_initialized` waits, the INITIALIZED event tells. Any thread; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_STATE when it was started before; TC_ERR_CLOSED when the cache is
 * closed or its client freed. Since 0.1.0.
 */
int32_t tc_start(struct tc_cache *cache);

/**
 * `tc_start` that tells why it failed.
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. All else as `tc_start`.
 *
 * Errors: as `tc_start`. Since 0.2.0.
 */
int32_t tc_start_or_error(struct tc_cache *cache,
                          const struct tc_error **error);

/**
 * Waits until the first load is complete (and, after the session was lost, until the tree is verified).
 *
 * `timeout_ms`: how long at most, in ms; -1 for no limit, 0 to ask only. Any thread; blocks as said; not from a
 * callback.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or another negative timeout; TC_ERR_TIMEOUT; TC_ERR_WOULD_DEADLOCK in a
 * callback; TC_ERR_STATE when not started; TC_ERR_CLOSED when the cache is closed or its client freed, also while
 * waiting; TC_ERR_AUTH, TC_ERR_UNSUPPORTED, TC_ERR_LIMIT or another status that a fault was told with, when the load
 * cannot succeed as things stand. Since 0.1.0.
 */
int32_t tc_wait_initialized(struct tc_cache *cache,
                            int32_t timeout_ms);

/**
 * `tc_wait_initialized` that tells why it failed, for people: "timed out after 10 s; last: zk1:2181: Connection refused".
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. Where the time was over or
 * the load cannot succeed, its message ends with what went wrong last, as `tc_get_fault` tells it. All else as
 * `tc_wait_initialized`.
 *
 * Errors: as `tc_wait_initialized`. Since 0.2.0.
 */
int32_t tc_wait_initialized_or_error(struct tc_cache *cache,
                                     int32_t timeout_ms,
                                     const struct tc_error **error);

/**
 * Returns whether the first load is complete (and, after the session was lost, the tree verified): what
 * `tc_wait_initialized` says with a timeout of 0, but in a callback too. False for NULL and for a cache that is closed
 * or of no use any more.
 *
 * Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
bool tc_is_initialized(const struct tc_cache *cache);

/**
 * Waits until all can be read that was committed before the call, by any client, through any server.
 *
 * Makes a transaction that changes nothing, behind all that is committed, then waits until the version that is read is
 * a cut which has all that. Where nothing changed in the subtree, that may be the version from before. During the first
 * load it waits for that. Calls at the same time share few requests. With the client key `sync.mode=sync` it is
 * ZooKeeper's `sync` in place of the transaction, which on a leader may be answered too early. What it does not
 * promise: docs/semantics.md.
 *
 * `timeout_ms`: how long at most, in ms; -1 for no limit; 0 is always too short. Any thread; blocks as said; not from
 * a callback.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or another negative timeout; TC_ERR_TIMEOUT; TC_ERR_CONNECTION when there
 * is no connection (at once), when it is lost while waiting, or when the server answers with an error (one that is too
 * busy is asked again); TC_ERR_WOULD_DEADLOCK in a callback; TC_ERR_STATE when not started; TC_ERR_CLOSED when the
 * cache is closed or its client freed, also while waiting; TC_ERR_AUTH, TC_ERR_UNSUPPORTED, TC_ERR_LIMIT or another
 * status that a fault was told with, when no cut can come as things stand. Since 0.1.0.
 */
int32_t tc_sync(struct tc_cache *cache,
                int32_t timeout_ms);

/**
 * `tc_sync` that tells why it failed, for people: "there is no connection; last: zk1:2181: Connection refused".
 *
 * `error`: as for `tc_wait_initialized_or_error`. All else as `tc_sync`.
 *
 * Errors: as `tc_sync`. Since 0.2.0.
 */
int32_t tc_sync_or_error(struct tc_cache *cache,
                         int32_t timeout_ms,
                         const struct tc_error **error);

/**
 * Detaches the cache and lets its listeners go: none of their calls starts after this has returned, though one may be
 * running. It cannot be started again. Nodes, children and snapshots that were handed out stay valid. With
 * `close.keep=true` reads go on from the last version until `tc_free`.
 *
 * Never waits. Any thread; callbacks may call it. A second call does nothing.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
 */
int32_t tc_close(struct tc_cache *cache);

/**
 * Closes the cache and frees it; NULL does nothing. Nodes, children and snapshots that were handed out stay valid.
 *
 * Waits for a running callback of this cache, except when called from a callback: then the callback's `user` is freed
 * when it has returned. When the last of a client and its caches is freed, its threads have ended on return, also
 * unless called from a callback. Not while another thread uses the cache; callbacks may call it. Since 0.1.0.
 */
void tc_free(struct tc_cache *cache);

/* --- State --------------------------------------------------------------------------------------------------- */

/* How a cache stands to the server. */

/**
 * Not started.
 */
#define TC_STATE_LATENT 0

/**
 * The first load is under way, or waits for the connection.
 */
#define TC_STATE_LOADING 1

/**
 * Nothing is known to be outstanding, as of the last contact.
 */
#define TC_STATE_IN_STEP 2

/**
 * Connected, verifying or following.
 */
#define TC_STATE_CATCHING_UP 3

/**
 * Disconnected; the session may still live.
 */
#define TC_STATE_SUSPENDED 4

/**
 * The session is lost; a new one is being made, unless the client was freed.
 */
#define TC_STATE_LOST 5

/**
 * Closed, or stopped by a limit.
 */
#define TC_STATE_CLOSED 6

/**
 * Begun with a known tree (tc_start_from, share.file), and no server has been heard yet: what is read was kept by an earlier cache.
 */
#define TC_STATE_WARM 7

/**
 * Loaded once, and not followed (follow=false): the tree of a moment that has passed, whatever the connection is. The age
 * counts from that moment. tc_sync brings it up to date.
 */
#define TC_STATE_HELD 8

/**
 * How a cache stands to the server: a TC_STATE_ number.
 */
typedef int32_t tc_state;

/**
 * How a cache stands, and what it and its client have done since they were made. Independent of the cache. Freed with
 * `tc_stats_free`, together with all it points to. Later versions may add fields at its end.
 */
typedef struct tc_stats {
    /**
     * A TC_STATE_ number, as `tc_get_state` tells it.
     */
    tc_state state;
    /**
     * Time since the last word from a server, in ms; -1 before the first.
     */
    int64_t contact_age_ms;
    /**
     * Time since a cut was last known to be the server's tree, in ms; -1 before the first. While the cache is in step,
     * that was at the last contact.
     */
    int64_t cut_age_ms;
    /**
     * zxid of the version that is read now, as `tc_snapshot_zxid` tells it.
     */
    int64_t zxid;
    /**
     * Nodes in the tree that is read now.
     */
    uint64_t nodes;
    /**
     * Bytes of data in them.
     */
    uint64_t bytes;
    /**
     * Versions published.
     */
    uint64_t versions;
    /**
     * Of them, those that are cuts.
     */
    uint64_t cuts;
    /**
     * Events handed to listeners and queues, each counted.
     */
    uint64_t events;
    /**
     * How often a listener or queue fell behind and went on by difference.
     */
    uint64_t lags;
    /**
     * Nodes asked for.
     */
    uint64_t reads;
    /**
     * Requests they were asked with.
     */
    uint64_t batches;
    /**
     * Verifications of the tree after a connection was gone.
     */
    uint64_t resyncs;
    /**
     * Of the client: how often it has connected.
     */
    uint64_t connections;
    /**
     * Of the client: the id of its session; 0 before the first.
     */
    int64_t session_id;
    /**
     * Of the client: "host:port" of the server it is connected to, as it was named; NULL while it is not connected.
     */
    const char *server;
    /**
     * By which watches the cache hears of changes: "recursive" (also where the root alone is watched: single) or "one-shot", as the
     * key "watch" has them; NULL while it is not connected, or that is not known yet. Since 0.2.0.
     */
    const char *watch;
    /**
     * Faults so far, of the cache and of its client, whether somebody listened to them or not. Since 0.2.0.
     */
    uint64_t faults;
    /**
     * Time since the last of them, in ms; -1 where there was none. `tc_get_fault` tells it. Since 0.2.0.
     */
    int64_t last_fault_age_ms;
    /**
     * The TC_ERR_ code of the last of them; TC_OK where there was none. Since 0.2.0.
     */
    int32_t last_fault_status;
} tc_stats;

/**
 * Tells how the cache stands to the server.
 *
 * `state`: receives a TC_STATE_ number. `age_ms`: receives the time since the last word from a server, in ms; -1
 * before the first. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
 */
int32_t tc_get_state(const struct tc_cache *cache,
                     tc_state *state,
                     int64_t *age_ms);

/**
 * Tells how the cache stands, and what it and its client have done, in numbers.
 *
 * `out`: receives the stats; free them with `tc_stats_free`. Each number is of about the same moment, not of exactly
 * the same. Of a closed cache nothing is read any more, unless `close.keep` is true. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
 */
int32_t tc_get_stats(const struct tc_cache *cache,
                     const struct tc_stats **out);

/**
 * Tells what went wrong last, of this cache or of its client. It may be over since, and a listener may have been told of it, too.
 *
 * `out`: receives the fault, which is independent of the cache; free it with `tc_fault_free`. It is NULL where nothing went
 * wrong so far. How long ago it was, and how many there were, `tc_get_stats` tells. Any thread; never blocks; callbacks may
 * call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.2.0.
 */
int32_t tc_get_fault(const struct tc_cache *cache,
                     const struct tc_fault **out);

/**
 * Frees stats; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_stats_free(const struct tc_stats *stats);

/* --- Node ---------------------------------------------------------------------------------------------------- */

/* Data and Stat, of the newest version, from memory. */

/**
 * ZooKeeper's Stat of a node. Its layout will never change.
 */
typedef struct tc_stat {
    /**
     * zxid of the creation: two nodes of one path are the same node only if this is equal.
     */
    int64_t czxid;
    /**
     * zxid of the last change of the data.
     */
    int64_t mzxid;
    /**
     * Time of the creation, in ms since the Unix epoch.
     */
    int64_t ctime;
    /**
     * Time of the last change of the data, in ms since the Unix epoch.
     */
    int64_t mtime;
    /**
     * Number of changes of the data since the creation.
     */
    int32_t version;
    /**
     * Number of children created plus children deleted since the creation.
     */
    int32_t cversion;
    /**
     * Number of changes of the ACL. ZooKeeper does not notify of these: as of the last read.
     */
    int32_t aversion;
    /**
     * The session an ephemeral node belongs to, else 0.
     */
    int64_t ephemeral_owner;
    /**
     * Length of the data in bytes.
     */
    int32_t data_length;
    /**
     * Number of children.
     */
    int32_t num_children;
    /**
     * zxid of the last creation or deletion of a child.
     */
    int64_t pzxid;
} tc_stat;

/**
 * A node as it was when it was read; never changed, and independent of the cache. Freed with `tc_node_free`.
 * Later versions may add fields at its end.
 */
typedef struct tc_node {
    /**
     * The data; not NUL-terminated. Valid until the node is freed. NULL with `data=none`.
     */
    const uint8_t *data;
    /**
     * Length of the data in bytes; 0 also where ZooKeeper has no data, and with `data=none`. How long it is at the server
     * is the Stat's `data_length`.
     */
    size_t data_len;
    /**
     * The node's Stat.
     */
    struct tc_stat stat;
} tc_node;

/**
 * Reads a node from memory.
 *
 * `path`: absolute, as in events. `out`: receives the node; free it with `tc_node_free`. While disconnected, the last
 * known node is returned. If you copy the data anyway, `tc_copy_data` is faster.
 *
 * Any thread, at the same time; takes no lock; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or a malformed path; TC_ERR_OUT_OF_TREE; TC_ERR_NOT_READY; TC_ERR_NO_NODE;
 * TC_ERR_NO_PERMISSION; TC_ERR_CLOSED, unless `close.keep` is true. Since 0.1.0.
 */
int32_t tc_get_data(const struct tc_cache *cache,
                    const char *path,
                    const struct tc_node **out);

/**
 * Reads a node from memory into a buffer of the caller's: nothing has to be freed, and nothing is written that another
 * reader uses, so that threads which read the same node do not slow each other down.
 *
 * `path`: absolute, as in events. `buffer`: receives the data, and no NUL behind it; NULL when `capacity`, how many
 * bytes it has room for, is 0. `data_len`: receives the length of the data in bytes, 0 also where ZooKeeper has no
 * data; with TC_ERR_TOO_SMALL too, where it is the capacity that is needed. (The node may have grown by the next call.)
 * `stat`: NULL, or receives the node's Stat. While disconnected, the last known node is read.
 *
 * Any thread, at the same time; takes no lock; callbacks may call it.
 *
 * Errors: TC_ERR_TOO_SMALL when the data has more bytes than `capacity`: nothing but `data_len` is written. Otherwise
 * as `tc_get_data`. Since 0.2.0.
 */
int32_t tc_copy_data(const struct tc_cache *cache,
                     const char *path,
                     uint8_t *buffer,
                     size_t capacity,
                     size_t *data_len,
                     struct tc_stat *stat);

/**
 * Frees a node that was returned by `tc_get_data` or `tc_snapshot_get_data`; NULL does nothing. Not a node that was
 * lent to a visitor. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_node_free(const struct tc_node *node);

/* --- Children ------------------------------------------------------------------------------------------------ */

/* The children of a node, with their data or without, of the newest version, from memory. */

/**
 * The names of a node's children as they were when read, sorted by their bytes. Independent of the cache. Freed with
 * `tc_children_free`, together with all it points to. Later versions may add fields at its end.
 */
typedef struct tc_children {
    /**
     * How many there are.
     */
    size_t len;
    /**
     * Their names, each NUL-terminated.
     */
    const char *const *names;
    /**
     * The length of each name in bytes, without its NUL.
     */
    const size_t *name_lens;
} tc_children;

/**
 * A node's children, with their data, as they were when read, sorted by the bytes of their names. Independent of the
 * cache. Freed with `tc_children_data_free`, together with all it points to. Later versions may add fields at its
 * end.
 */
typedef struct tc_children_data {
    /**
     * How many there are.
     */
    size_t len;
    /**
     * Their names, each NUL-terminated.
     */
    const char *const *names;
    /**
     * The length of each name in bytes, without its NUL.
     */
    const size_t *name_lens;
    /**
     * Their nodes; lent, not to be freed one by one. NULL for one that the session may not read.
     */
    const struct tc_node *const *nodes;
} tc_children_data;

/**
 * Reads the names of a node's children from memory. A child that the session may not read is among them.
 *
 * `path`: absolute, as in events. `out`: receives the names; free them with `tc_children_free`.
 *
 * Any thread, at the same time; takes no lock; callbacks may call it.
 *
 * Errors: as `tc_get_data`. Since 0.1.0.
 */
int32_t tc_get_children(const struct tc_cache *cache, const char *path, const struct tc_children **out);

/**
 * Reads a node's children and their data from memory, all of one version of the tree. A child that the session may not
 * read is among them, without its data.
 *
 * `path`: absolute, as in events. `out`: receives the children; free them with `tc_children_data_free`.
 *
 * Any thread, at the same time; takes no lock; callbacks may call it.
 *
 * Errors: as `tc_get_data`. Since 0.1.0.
 */
int32_t tc_get_children_data(const struct tc_cache *cache,
                             const char *path,
                             const struct tc_children_data **out);

/**
 * Frees child names; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_children_free(const struct tc_children *children);

/**
 * Frees children with their data; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_children_data_free(const struct tc_children_data *children);

/* --- Event --------------------------------------------------------------------------------------------------- */

/* What a listener is told, and what comes out of a queue. */

/**
 * A node appeared. `data` and `stat` are the node's.
 */
#define TC_EVENT_NODE_ADDED 0

/**
 * A node's data changed. `data` and `stat` are the new ones, `old_data` and `old_stat` those before.
 */
#define TC_EVENT_NODE_UPDATED 1

/**
 * A node went. `data` and `stat` are the last known ones.
 */
#define TC_EVENT_NODE_REMOVED 2

/**
 * Disconnected. Reads go on being served.
 */
#define TC_EVENT_CONNECTION_SUSPENDED 3

/**
 * Connected again. What changed meanwhile follows, then IN_STEP (and INITIALIZED after LOST).
 */
#define TC_EVENT_CONNECTION_RECONNECTED 4

/**
 * The session is lost, or the client was freed. A new session is made by itself.
 */
#define TC_EVENT_CONNECTION_LOST 5

/**
 * The first load is complete; again after each LOST, once the tree is verified.
 */
#define TC_EVENT_INITIALIZED 6

/**
 * The tree was loaded or verified on this connection, and the version told last is a cut.
 */
#define TC_EVENT_IN_STEP 7

/**
 * In `flags`: the last event of a published version. What came since the last one with this flag may be applied as
 * one.
 */
#define TC_EVENT_LAST_OF_VERSION 1

/**
 * Something that happened to a cache. Lent with all it points to: for the length of a callback, or by an item until
 * that is freed. What does not apply is NULL or 0. Later versions may add fields at its end.
 */
typedef struct tc_event {
    /**
     * A TC_EVENT_ number.
     */
    int32_t type;
    /**
     * TC_EVENT_LAST_OF_VERSION or 0.
     */
    uint32_t flags;
    /**
     * The node's path, NUL-terminated, relative to the client's chroot.
     */
    const char *path;
    /**
     * Length of the path in bytes, without its NUL.
     */
    size_t path_len;
    /**
     * The node's data; not NUL-terminated. NULL with `data=none`.
     */
    const uint8_t *data;
    /**
     * Length of the data in bytes.
     */
    size_t data_len;
    /**
     * The node's Stat.
     */
    const struct tc_stat *stat;
    /**
     * The data before an update.
     */
    const uint8_t *old_data;
    /**
     * Its length in bytes.
     */
    size_t old_data_len;
    /**
     * The Stat before an update.
     */
    const struct tc_stat *old_stat;
    /**
     * zxid of the version that the event belongs to; 0 for events of the connection.
     */
    int64_t zxid;
} tc_event;

/* --- Snapshot ------------------------------------------------------------------------------------------------ */

/* One version, held for as long as it is needed. */

/**
 * A visitor's answer: go on.
 */
#define TC_WALK_CONTINUE 0

/**
 * A visitor's answer: go on, but not below this node.
 */
#define TC_WALK_SKIP_CHILDREN 1

/**
 * A visitor's answer: no more.
 */
#define TC_WALK_STOP 2

/**
 * The tree of a cache as it was at one moment; never changed, and independent of the cache.
 */
typedef struct tc_snapshot tc_snapshot;

/**
 * Visits a difference between two snapshots, as the event it would be; lent for the call. Returns TC_WALK_CONTINUE
 * or TC_WALK_STOP; whatever else it returns stops too. Called on the thread that compares.
 */
typedef int32_t (*tc_diff_fn)(const struct tc_event *change, void *user);

/**
 * Visits a node; `path` (NUL-terminated, `path_len` bytes) and `node` are lent for the call. Returns TC_WALK_CONTINUE,
 * TC_WALK_SKIP_CHILDREN or TC_WALK_STOP; whatever else it returns stops the walk too. Called on the thread that walks.
 */
typedef int32_t (*tc_visit_fn)(const char *path, size_t path_len, const struct tc_node *node, void *user);

/**
 * Begins to follow the tree from what a snapshot holds, in place of `tc_start`.
 *
 * `snapshot`: of a cache of the same root, which may be closed and freed, and its client too; stays the caller's. When this
 * returns, its tree can be read, in state TC_STATE_WARM until there is a connection. Then the tree is verified, and only what
 * differs is told: a listener is told the snapshot's nodes as NODE_ADDED, then the differences, then INITIALIZED and
 * IN_STEP. The first version is the snapshot's own, with its zxid, a cut or not as it was. `tc_wait_initialized` waits for
 * the verification.
 *
 * If the snapshot is of another ensemble, or of a history that the ensemble has lost, the cache tells a fault,
 * TC_ERR_RESET, and loads the tree anew; what was there stays readable meanwhile. A snapshot from before the first version
 * holds nothing, and this is `tc_start`.
 *
 * Returns at once. Any thread; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL and for a snapshot of another root or chroot, of other rules (`depth.max`,
 * `select.…`) or other data (`data`, `data.compressed`, `limit.node.bytes` with it), and the log names both; TC_ERR_LIMIT when it is beyond
 * a limit of this cache; after both, the cache can still be started. TC_ERR_STATE when it was started before;
 * TC_ERR_CLOSED when the cache is closed or its client freed. Since 0.2.0.
 */
int32_t tc_start_from(struct tc_cache *cache,
                      const struct tc_snapshot *snapshot);

/**
 * `tc_start_from` that tells why it failed.
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. All else as
 * `tc_start_from`.
 *
 * Errors: as `tc_start_from`. Since 0.2.0.
 */
int32_t tc_start_from_or_error(struct tc_cache *cache,
                               const struct tc_snapshot *snapshot,
                               const struct tc_error **error);

/**
 * Takes a snapshot of the tree as it is now, in constant time.
 *
 * `out`: receives the snapshot; free it with `tc_snapshot_free`. It never changes, and is independent of the cache.
 * Before the first version it is empty.
 *
 * Any thread, at the same time; takes no lock; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED, unless `close.keep` is true. Since 0.1.0.
 */
int32_t tc_get_snapshot(const struct tc_cache *cache,
                        const struct tc_snapshot **out);

/**
 * Returns the zxid that the snapshot is of: a lower bound when it is not a cut, 0 before the first version and for
 * NULL. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
int64_t tc_snapshot_zxid(const struct tc_snapshot *snapshot);

/**
 * Returns whether the snapshot equals the server's tree at `tc_snapshot_zxid`, for all that the session may read;
 * false for NULL. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
bool tc_snapshot_is_cut(const struct tc_snapshot *snapshot);

/**
 * Returns how many nodes are in the snapshot, without those that the session may not read; 0 for NULL. Any thread;
 * never blocks; callbacks may call it. Since 0.1.0.
 */
size_t tc_snapshot_len(const struct tc_snapshot *snapshot);

/**
 * Returns the absolute path of the root of the cache that the snapshot is of, whether there is such a node or not; NULL for a
 * cache that is attached to a file which was not there yet, and for NULL.
 *
 * The string is the snapshot's, and lasts until `tc_snapshot_free`. Any thread; never blocks; callbacks may call it.
 * Since 0.2.0.
 */
const char *tc_snapshot_root(const struct tc_snapshot *snapshot);

/**
 * Reads a node from the snapshot.
 *
 * `path`: absolute, as in events. `out`: receives the node; free it with `tc_node_free`. Any thread; never blocks;
 * callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or a malformed path; TC_ERR_OUT_OF_TREE; TC_ERR_NOT_READY when the first
 * load was not complete and the node had not been seen; TC_ERR_NO_NODE; TC_ERR_NO_PERMISSION. Since 0.1.0.
 */
int32_t tc_snapshot_get_data(const struct tc_snapshot *snapshot,
                             const char *path,
                             const struct tc_node **out);

/**
 * Reads a node from the snapshot into a buffer of the caller's: nothing has to be freed, and nothing is written that
 * another reader uses.
 *
 * `path`, `buffer`, `capacity`, `data_len`, `stat`: as `tc_copy_data` has them. Any thread; never blocks; callbacks may
 * call it.
 *
 * Errors: TC_ERR_TOO_SMALL when the data has more bytes than `capacity`: nothing but `data_len` is written. Otherwise
 * as `tc_snapshot_get_data`. Since 0.2.0.
 */
int32_t tc_snapshot_copy_data(const struct tc_snapshot *snapshot,
                              const char *path,
                              uint8_t *buffer,
                              size_t capacity,
                              size_t *data_len,
                              struct tc_stat *stat);

/**
 * Reads the names of a node's children from the snapshot. A child that the session may not read is among them.
 *
 * `path`: absolute, as in events. `out`: receives the names; free them with `tc_children_free`. Any thread; never
 * blocks; callbacks may call it.
 *
 * Errors: as `tc_snapshot_get_data`. Since 0.1.0.
 */
int32_t tc_snapshot_get_children(const struct tc_snapshot *snapshot,
                                 const char *path,
                                 const struct tc_children **out);

/**
 * Reads a node's children and their data from the snapshot. A child that the session may not read is among them,
 * without its data.
 *
 * `path`: absolute, as in events. `out`: receives the children; free them with `tc_children_data_free`. Any thread;
 * never blocks; callbacks may call it.
 *
 * Errors: as `tc_snapshot_get_data`. Since 0.1.0.
 */
int32_t tc_snapshot_get_children_data(const struct tc_snapshot *snapshot,
                                      const char *path,
                                      const struct tc_children_data **out);

/**
 * Visits all that differs between two snapshots of one tree, in the form and order of events: NODE_REMOVED first,
 * children before their parents; then NODE_ADDED and NODE_UPDATED, parents before their children; siblings in byte
 * order. What both share is not looked into, so that it takes time for what changed and not for the whole tree.
 *
 * `older`, `newer`: snapshots of one cache, or of caches with one root; which is which says what is added and what
 * is removed. `visit`: called for each difference before this returns, with the zxid of `newer`, and
 * TC_EVENT_LAST_OF_VERSION on the last; it may call any function that a callback may call, and must not free the
 * snapshots. `user`: passed to `visit` as it is; stays the caller's.
 *
 * TC_OK also when the visitor stopped it. Any thread; blocks only on the visitor; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, and when the snapshots have different roots. Since 0.1.0.
 */
int32_t tc_snapshot_diff(const struct tc_snapshot *older,
                         const struct tc_snapshot *newer,
                         tc_diff_fn visit,
                         void *user);

/**
 * Visits the nodes from `path` down, parents before children, siblings in byte order. Nodes that the session may not
 * read are left out; `tc_walk_new` makes a walk that has them, and calls nobody.
 *
 * `path`: absolute, as in events. `visit`: called for each node before this returns; it may call any function that a
 * callback may call, and must not free the snapshot. `user`: passed to `visit` as it is; stays the caller's.
 *
 * TC_OK also when the visitor stopped the walk. Any thread; blocks only on the visitor; callbacks may call it.
 *
 * Errors: as `tc_snapshot_get_data`, for `path`, and TC_ERR_INVALID_ARGUMENT when `visit` is NULL. Since 0.1.0.
 */
int32_t tc_snapshot_walk(const struct tc_snapshot *snapshot,
                         const char *path,
                         tc_visit_fn visit,
                         void *user);

/**
 * Frees a snapshot; NULL does nothing. Nodes and children read from it stay valid. Not while another thread uses it;
 * any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_snapshot_free(const struct tc_snapshot *snapshot);

/* --- Walk ---------------------------------------------------------------------------------------------------- */

/* A snapshot, gone through one node at a time. */

/**
 * A walk through a snapshot, one node at a time. Independent of the snapshot, which may be freed first: what is still to
 * be visited is kept until the walk has gone through it or is freed.
 */
typedef struct tc_walk tc_walk;

/**
 * A node that a walk has come to; lent until the next `tc_walk_next` of this walk, or its end by `tc_walk_free`. Later
 * versions may add fields at its end.
 */
typedef struct tc_visit {
    /**
     * The absolute path of the node, NUL-terminated.
     */
    const char *path;
    /**
     * The length of the path in bytes, without its NUL.
     */
    size_t path_len;
    /**
     * The last name of the path, where it stands in it, NUL-terminated; empty for "/".
     */
    const char *name;
    /**
     * The length of the name in bytes, without its NUL.
     */
    size_t name_len;
    /**
     * How far the node is below the one where the walk began, which has 0.
     */
    size_t depth;
    /**
     * The node; lent, not to be freed. NULL for one that the session may not read.
     */
    const struct tc_node *node;
} tc_visit;

/**
 * Begins a walk through the nodes of a snapshot from `path` down, parents before children, siblings in byte order.
 * Nodes that the session may not read are among them, without what `tc_node` tells.
 *
 * `path`: absolute, as in events; copied. `out`: receives the walk, which is before its first node; free it with
 * `tc_walk_free`, before or after the snapshot. Any thread; never blocks; callbacks may call it.
 *
 * Errors: as `tc_snapshot_get_data`, save that `path` may be a node that the session may not read (not one below it:
 * TC_ERR_NO_PERMISSION). Since 0.2.0.
 */
int32_t tc_walk_new(const struct tc_snapshot *snapshot,
                    const char *path,
                    struct tc_walk **out);

/**
 * Goes to the next node of a walk.
 *
 * `out`: receives the node with its path, lent until the next call of this function for the walk, or until the walk is
 * freed; NULL when there is none left, then and from then on. Nothing is looked up by path: it takes the same time
 * wherever the walk is. Any thread, one at a time; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_STATE while another thread is in a call on the walk. Since 0.2.0.
 */
int32_t tc_walk_next(struct tc_walk *walk,
                     const struct tc_visit **out);

/**
 * Leaves out what is below the node that `tc_walk_next` gave last, which stays lent: the next one is a sibling of it or
 * of one above it. Does nothing before the first node, where there is nothing below, and the second time.
 *
 * Any thread, one at a time; never blocks; callbacks may call it.
 *
 * Errors: as `tc_walk_next`. Since 0.2.0.
 */
int32_t tc_walk_skip(struct tc_walk *walk);

/**
 * Frees a walk, wherever it is, with what it has lent; NULL does nothing. Not while another thread uses it. Never
 * blocks; callbacks may call it. Since 0.2.0.
 */
void tc_walk_free(struct tc_walk *walk);

/* --- Listener ------------------------------------------------------------------------------------------------ */

/* Events and faults of a cache, told to a function. */

/**
 * Is told an event, on the client's callback thread.
 */
typedef void (*tc_event_fn)(const struct tc_event *event, void *user);

/**
 * Adds a function that is told the cache's events.
 *
 * It is told the tree so far first, as NODE_ADDED (and INITIALIZED when the cache is), then what follows, without gap
 * or duplicate. Within a version removals come before additions, children are removed before their parents and added
 * after them, siblings in byte order. A listener that lags by more than `events.capacity` events or
 * `events.bytes` bytes continues with the difference between what it saw last and the newest version.
 *
 * `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for `tc_unlisten`; the
 * first call may come before this returns. Before or after `tc_start`. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED. Then, as always, `user_free` is called. Since 0.1.0.
 */
int32_t tc_listen(struct tc_cache *cache,
                  tc_event_fn fn,
                  void *user,
                  tc_user_free_fn user_free,
                  uint64_t *listener);

/**
 * `tc_listen` of some of the cache's events.
 *
 * `config`: which, by its keys `listen.under`, `listen.depth`, `listen.events`, `listen.initial` and
 * `listen.after.initialized`; all others are ignored. NULL for all events, as `tc_listen`. It stays the caller's, and is not
 * used after the call. The order and all else are those of `tc_listen`, with what is not wanted left out: the last event
 * that is told of a version has TC_EVENT_LAST_OF_VERSION. What changes elsewhere costs the listener nothing.
 *
 * `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for `tc_unlisten`; the
 * first call may come before this returns. Before or after `tc_start`. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, and for a `listen.under` outside of the cache's tree (`tc_config_get_error`
 * tells which); TC_ERR_CLOSED. Then, as always, `user_free` is called. Since 0.2.0.
 */
int32_t tc_listen_with(struct tc_cache *cache,
                       const struct tc_config *config,
                       tc_event_fn fn,
                       void *user,
                       tc_user_free_fn user_free,
                       uint64_t *listener);

/**
 * Adds a function that is told what goes wrong in the background and concerns this cache.
 *
 * `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for `tc_unlisten`.
 * Faults that nobody listens to are logged. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED. Then, as always, `user_free` is called. Since 0.1.0.
 */
int32_t tc_listen_fault(struct tc_cache *cache,
                        tc_fault_fn fn,
                        void *user,
                        tc_user_free_fn user_free,
                        uint64_t *listener);

/**
 * Removes a listener of either kind. None of its calls starts after this has returned; one may be running, and its
 * `user` is freed when it has returned.
 *
 * Never waits. Any thread; callbacks may call it, also on themselves.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or an id that is none; TC_ERR_CLOSED, when all are gone; where it is refused
 * (TC_ERR_PANIC, TC_ERR_STATE), the listener goes when the cache is freed. Since 0.1.0.
 */
int32_t tc_unlisten(struct tc_cache *cache,
                    uint64_t listener);

/* --- Queue --------------------------------------------------------------------------------------------------- */

/* Events and faults, taken out by threads of the program. */

/**
 * One event or fault that was taken out of a queue. Independent of queue and cache. Freed with `tc_item_free`.
 */
typedef struct tc_item tc_item;

/**
 * What a cache has to tell, to be taken out by the program's own threads when they like to.
 */
typedef struct tc_queue tc_queue;

/**
 * Returns the event that was taken out; NULL when the item is a fault, and for NULL.
 *
 * It is lent until `tc_item_free`, with all it points to. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
const struct tc_event *tc_item_event(const struct tc_item *item);

/**
 * Returns the fault that was taken out; NULL when the item is an event, and for NULL.
 *
 * It is lent until `tc_item_free`, with all it points to. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
const struct tc_fault *tc_item_fault(const struct tc_item *item);

/**
 * Opens a queue of the cache's events: the tree so far first, as NODE_ADDED (and INITIALIZED when the cache is), then
 * what follows, without gap or duplicate, in the order that `tc_listen` tells of. A queue that lags by more than
 * `events.capacity` events or `events.bytes` bytes continues with the difference between what was taken out last and the
 * newest version.
 *
 * `config`: its `events.capacity`, `events.bytes`, `queue.faults` and what of the events is wanted, by the keys `listen.`…
 * as for `tc_listen_with`; NULL for the defaults, not for what the cache was made with; stays the caller's, and is not used after the call. `out`: receives the queue; free it with `tc_queue_free`, before or after the cache.
 *
 * Before or after `tc_start`. Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL, and for a `listen.under` outside of the cache's tree; TC_ERR_CLOSED. Since 0.1.0.
 */
int32_t tc_queue_open(struct tc_cache *cache,
                      const struct tc_config *config,
                      struct tc_queue **out);

/**
 * `tc_queue_open` that tells why it failed.
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. It is told with
 * every failure, and `tc_config_get_error` does not tell it. All else, `out` included, as `tc_queue_open`.
 *
 * Errors: as `tc_queue_open`. Since 0.2.0.
 */
int32_t tc_queue_open_or_error(struct tc_cache *cache,
                               const struct tc_config *config,
                               struct tc_queue **out,
                               const struct tc_error **error);

/**
 * Takes the next item out of a queue, and waits for one.
 *
 * `timeout_ms`: how long at most, in ms; -1 for no limit, 0 to ask only. `out`: receives the item; free it with
 * `tc_item_free`. Any number of threads may take from a queue at once: each item goes to one of them, and two threads
 * may be done with theirs in another order.
 *
 * Any thread; blocks as said. In a callback it delays the others, so ask only.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL or another negative timeout; TC_ERR_TIMEOUT; TC_ERR_INTERRUPTED after
 * `tc_queue_wake`; TC_ERR_CLOSED when the queue or its cache was closed, also while waiting, or when the client was freed
 * and all, CONNECTION_LOST included, was taken out; TC_ERR_LIMIT when the cache has stopped for it and all was taken
 * out. Since 0.1.0.
 */
int32_t tc_queue_next(struct tc_queue *queue,
                      int32_t timeout_ms,
                      const struct tc_item **out);

/**
 * `tc_queue_next` that tells why it failed, for people: "timed out after 5 s; last: zk1:2181: Connection refused".
 *
 * `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. Where the time was over
 * or the cache has stopped, its message ends with what went wrong last, as `tc_get_fault` tells it; not with a timeout of
 * 0. All else, `out` included, as `tc_queue_next`.
 *
 * Errors: as `tc_queue_next`. Since 0.2.0.
 */
int32_t tc_queue_next_or_error(struct tc_queue *queue,
                               int32_t timeout_ms,
                               const struct tc_item **out,
                               const struct tc_error **error);

/**
 * Takes out of a queue what is there, without waiting.
 *
 * `items`: an array that receives the items in order; free each with `tc_item_free`. `capacity`: how many fit in it.
 * `count`: receives how many were taken out, which may be 0. A wake that waits is used up.
 *
 * Any thread; never blocks; callbacks may call it.
 *
 * Errors, only where nothing was taken out: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED and TC_ERR_LIMIT as
 * `tc_queue_next`. Since 0.1.0.
 */
int32_t tc_queue_drain(struct tc_queue *queue,
                       const struct tc_item **items,
                       size_t capacity,
                       size_t *count);

/**
 * Returns a descriptor that can be waited for with `poll`, `epoll`, `kqueue` and the like: it is readable while
 * `tc_queue_next` would not wait.
 *
 * `fd`: receives the descriptor. It is made when first asked for, and the same from then on; non-blocking, close-on-exec,
 * level-triggered. It is the queue's, until `tc_queue_free`: do not read, write or close it. It may be readable
 * though there is no item; so ask with a timeout of 0. Once that was answered with TC_ERR_TIMEOUT, it is not readable until
 * something new comes.
 *
 * Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CONNECTION when the system has no descriptor left. Since 0.1.0.
 */
int32_t tc_queue_fd(struct tc_queue *queue,
                    int32_t *fd);

/**
 * Ends a `tc_queue_next` that waits, or the next one to be called, with TC_ERR_INTERRUPTED. Several wakes before that
 * are one.
 *
 * Any thread; never blocks; callbacks may call it.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
 */
int32_t tc_queue_wake(struct tc_queue *queue);

/**
 * Detaches a queue from its cache: what was not taken out is let go, and a thread that waits in `tc_queue_next` is answered
 * with TC_ERR_CLOSED. Items that were taken out stay valid.
 *
 * Never waits. Any thread; callbacks may call it. A second call does nothing.
 *
 * Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
 */
int32_t tc_queue_close(struct tc_queue *queue);

/**
 * Frees an item; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
 */
void tc_item_free(const struct tc_item *item);

/**
 * Closes a queue and frees it, with its descriptor; NULL does nothing. Items that were taken out stay valid. Not while
 * another thread uses the queue: where one may wait, `tc_queue_close` sends it away. Never blocks; callbacks may call
 * it. Since 0.1.0.
 */
void tc_queue_free(struct tc_queue *queue);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // TC_TREECACHE_H
