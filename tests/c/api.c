/*
 * Every function of treecache.h from C: what it does, and what it answers to bad input.
 *
 *     api HOSTS
 *
 * Expects the tree of tree.py on the server. Run under valgrind by tests/c/run, so a leak or a bad access fails it
 * too.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NEVER_MS = 300, EVENT_TYPES = 8, PATHS_MAX = 16 };

static const char *hosts;

static const char *const malformed_paths[] = {
    "", "a", "a/b", "/a/", "//", "/a//b", "/a/../b", "/.", "/a\x01", "/\xff\xfe", "/\xed\xa0\x80",
};
enum { MALFORMED_PATHS = sizeof malformed_paths / sizeof *malformed_paths };

/* --- Recording ----------------------------------------------------------------------------------------------- */

/* What a listener was told. `react`, when given, is called with every event, on the library's thread. */
typedef struct recorder recorder;
struct recorder {
    pthread_mutex_t mutex;
    int events[EVENT_TYPES];
    int reactions[EVENT_TYPES]; /* to these events, and over */
    int faults;
    int32_t last_fault;
    int frees;
    char added[PATHS_MAX][64]; /* paths of the first events NODE_ADDED, in their order */
    int64_t zxid;
    uint32_t flags;
    void (*react)(recorder *self, const tc_event *event);
    tc_client *client;
    tc_cache *cache;
    uint64_t listener;
    bool reacted;
};

#define RECORDER {.mutex = PTHREAD_MUTEX_INITIALIZER}

static int read_count(recorder *self, const int *count)
{
    pthread_mutex_lock(&self->mutex);
    int value = *count;
    pthread_mutex_unlock(&self->mutex);
    return value;
}

static int seen(recorder *self, int32_t type)
{
    return read_count(self, &self->events[type]);
}

static int seen_in_all(recorder *self)
{
    int sum = 0;
    for (int32_t type = 0; type < EVENT_TYPES; type++)
        sum += seen(self, type);
    return sum;
}

static int freed(recorder *self)
{
    return read_count(self, &self->frees);
}

static void check_event(const tc_event *event, int64_t last_zxid)
{
    bool is_node = event->type <= TC_EVENT_NODE_REMOVED;
    CHECK(event->type >= 0 && event->type < EVENT_TYPES);
    CHECK(is_node == (event->path != NULL));
    CHECK(is_node == (event->stat != NULL));
    CHECK((event->type == TC_EVENT_NODE_UPDATED) == (event->old_stat != NULL));
    CHECK(event->zxid >= last_zxid);
    if (!is_node) {
        CHECK(event->data == NULL && event->data_len == 0 && event->path_len == 0);
        return;
    }
    CHECK(event->zxid > 0);
    CHECK(strlen(event->path) == event->path_len);
    CHECK(event->data_len == (size_t)event->stat->data_length);
    if (event->type == TC_EVENT_NODE_UPDATED) {
        CHECK(event->old_stat->czxid == event->stat->czxid);
        CHECK(event->old_stat->mzxid < event->stat->mzxid);
        CHECK(event->old_data_len == (size_t)event->old_stat->data_length);
    } else {
        CHECK(event->old_data == NULL && event->old_data_len == 0);
    }
}

static void on_event(const tc_event *event, void *user)
{
    recorder *self = user;
    pthread_mutex_lock(&self->mutex);
    CHECK(self->frees == 0);
    check_event(event, event->type <= TC_EVENT_NODE_REMOVED ? self->zxid : event->zxid);
    if (event->zxid > self->zxid)
        self->zxid = event->zxid;
    if (event->type == TC_EVENT_NODE_ADDED && self->events[TC_EVENT_NODE_ADDED] < PATHS_MAX)
        snprintf(self->added[self->events[TC_EVENT_NODE_ADDED]], sizeof self->added[0], "%s", event->path);
    self->flags |= event->flags;
    self->events[event->type]++;
    pthread_mutex_unlock(&self->mutex);
    if (self->react != NULL) {
        const int32_t type = event->type;
        self->react(self, event);
        pthread_mutex_lock(&self->mutex);
        self->reactions[type]++;
        pthread_mutex_unlock(&self->mutex);
    }
}

static void on_fault(const tc_fault *fault, void *user)
{
    recorder *self = user;
    pthread_mutex_lock(&self->mutex);
    CHECK(self->frees == 0);
    CHECK(fault->status < 0);
    CHECK(fault->message != NULL && *fault->message != '\0');
    self->last_fault = fault->status;
    self->faults++;
    pthread_mutex_unlock(&self->mutex);
}

static void on_free(void *user)
{
    recorder *self = user;
    pthread_mutex_lock(&self->mutex);
    self->frees++;
    pthread_mutex_unlock(&self->mutex);
}

/* Freed once, and nothing comes after it (on_event and on_fault check that as well). */
static void check_freed_once(recorder *self)
{
    WAIT_UNTIL(freed(self) > 0);
    sleep_ms(20);
    CHECK(freed(self) == 1);
}

/* --- Things that most tests need ----------------------------------------------------------------------------- */

static tc_client *new_client(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    return client;
}

static tc_cache *new_cache(tc_client *client, const char *path)
{
    tc_cache *cache = NULL;
    CHECK_OK(tc_new(client, path, NULL, &cache));
    return cache;
}

static tc_cache *new_loaded_cache(tc_client *client, const char *path)
{
    tc_cache *cache = new_cache(client, path);
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    return cache;
}

static tc_cache *new_loaded_cache_with(tc_client *client, const char *path, const char *key, const char *value)
{
    tc_config *config = tc_config_new();
    tc_cache *cache = NULL;
    CHECK_OK(tc_config_set(config, key, value));
    CHECK_OK(tc_new(client, path, config, &cache));
    tc_config_free(config);
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    return cache;
}

static int32_t state_of(const tc_cache *cache)
{
    int32_t state = -1;
    int64_t age_ms = -1;
    CHECK_OK(tc_get_state(cache, &state, &age_ms));
    return state;
}

static int32_t status_of_data(const tc_cache *cache, const char *path)
{
    const tc_node *node = NULL;
    int32_t status = tc_get_data(cache, path, &node);
    CHECK((status == TC_OK) == (node != NULL));
    tc_node_free(node);
    return status;
}

static int32_t status_of_children(const tc_cache *cache, const char *path)
{
    const tc_children *children = NULL;
    int32_t status = tc_get_children(cache, path, &children);
    CHECK((status == TC_OK) == (children != NULL));
    tc_children_free(children);
    return status;
}

/* --- Names and settings -------------------------------------------------------------------------------------- */

static void the_numbers_and_names_of_status_codes_hold(void)
{
    static const struct {
        int32_t status, number;
        const char *name;
    } all[] = {
#define STATUS(name, number) {name, number, #name}
        STATUS(TC_OK, 0),
        STATUS(TC_ERR_INVALID_ARGUMENT, -1),
        STATUS(TC_ERR_NO_NODE, -2),
        STATUS(TC_ERR_OUT_OF_TREE, -3),
        STATUS(TC_ERR_NOT_READY, -4),
        STATUS(TC_ERR_STATE, -5),
        STATUS(TC_ERR_CLOSED, -6),
        STATUS(TC_ERR_TIMEOUT, -7),
        STATUS(TC_ERR_WOULD_DEADLOCK, -8),
        STATUS(TC_ERR_UNSUPPORTED, -9),
        STATUS(TC_ERR_AUTH, -10),
        STATUS(TC_ERR_PANIC, -11),
        STATUS(TC_ERR_NO_PERMISSION, -12),
        STATUS(TC_ERR_CONNECTION, -13),
        STATUS(TC_ERR_PROTOCOL, -14),
        STATUS(TC_ERR_TLS, -15),
        STATUS(TC_ERR_RESET, -16),
        STATUS(TC_ERR_LIMIT, -17),
        STATUS(TC_ERR_INTERRUPTED, -18),
        STATUS(TC_ERR_TOO_SMALL, -19),
#undef STATUS
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        CHECK(all[i].status == all[i].number);
        CHECK(strcmp(tc_status_name(all[i].status), all[i].name) == 0);
    }
    CHECK(tc_status_name(1) != NULL);
    CHECK(tc_status_name(INT32_MIN) != NULL);
    CHECK(tc_status_name(INT32_MAX) != NULL);
    CHECK(strcmp(tc_version(), "0.1.0") == 0);
    CHECK(TC_EVENT_NODE_ADDED == 0 && TC_EVENT_NODE_UPDATED == 1 && TC_EVENT_NODE_REMOVED == 2);
    CHECK(TC_EVENT_CONNECTION_SUSPENDED == 3 && TC_EVENT_CONNECTION_RECONNECTED == 4);
    CHECK(TC_EVENT_CONNECTION_LOST == 5 && TC_EVENT_INITIALIZED == 6 && TC_EVENT_IN_STEP == 7);
    CHECK(TC_EVENT_LAST_OF_VERSION == 1);
    CHECK(TC_STATE_LATENT == 0 && TC_STATE_LOADING == 1 && TC_STATE_IN_STEP == 2 && TC_STATE_CATCHING_UP == 3);
    CHECK(TC_STATE_SUSPENDED == 4 && TC_STATE_LOST == 5 && TC_STATE_CLOSED == 6);
    CHECK(TC_STATE_HELD == 8);
    CHECK(TC_WALK_CONTINUE == 0 && TC_WALK_SKIP_CHILDREN == 1);
}

static void nothing_happens_when_null_is_freed(void)
{
    tc_config_free(NULL);
    tc_client_free(NULL);
    tc_free(NULL);
    tc_node_free(NULL);
    tc_children_free(NULL);
    tc_children_data_free(NULL);
    tc_error_free(NULL);
    tc_stats_free(NULL);
    tc_snapshot_free(NULL);
}

typedef struct {
    pthread_mutex_t mutex;
    int messages;
    bool names_the_key;
} log_record;

static void on_log(int32_t level, const char *message, void *user)
{
    log_record *self = user;
    pthread_mutex_lock(&self->mutex);
    CHECK(level >= 3 && level <= 7);
    CHECK(message != NULL);
    self->messages++;
    self->names_the_key = self->names_the_key || strstr(message, "no.such.key") != NULL;
    pthread_mutex_unlock(&self->mutex);
}

static void a_setting_is_checked_when_it_is_set(void)
{
    static const struct {
        const char *key, *value;
    } good[] = {
        {"session.timeout.ms", "4000"}, {"connect.timeout.ms", "1000"}, {"auth", "digest:user:password"},
        {"auth", "digest:other:password"}, {"root.create", "true"}, {"root.create", "false"},
        {"limit.nodes", "0"}, {"limit.nodes", "1000000"}, {"limit.bytes", "1000000"}, {"events.capacity", "10"},
        {"events.bytes", "1"}, {"data", "none"}, {"data.compressed", "gzip"}, {"limit.node.bytes", "1000"},
        {"close.keep", "true"}, {"root.container", "true"},
    },
      bad[] = {
        {"", "1"}, {"Session.Timeout.Ms", "1000"}, {"session.timeout.ms", ""}, {"session.timeout.ms", "soon"},
        {"session.timeout.ms", "-1"}, {"session.timeout.ms", "0"}, {"session.timeout.ms", "99999999999999999999"},
        {"session.timeout.ms", "1000 "}, {"connect.timeout.ms", "0"}, {"auth", "digest"}, {"auth", ""},
        {"root.create", "maybe"}, {"limit.nodes", "-1"}, {"limit.bytes", "1k"}, {"events.capacity", "0"},
        {"events.bytes", "0"}, {"\xff", "1"}, {"auth", "digest:\xff:x"}, {NULL, "1"}, {"auth", NULL},
    };
    log_record log = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    CHECK_OK(tc_log_set(7, on_log, &log));

    tc_config *config = tc_config_new();
    CHECK(config != NULL);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_OK(tc_config_set(config, good[i].key, good[i].value));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t status = tc_config_set(config, bad[i].key, bad[i].value);
        if (status != TC_ERR_INVALID_ARGUMENT)
            fprintf(stderr, "%s=%s: %s\n", bad[i].key, bad[i].value, tc_status_name(status));
        CHECK(status == TC_ERR_INVALID_ARGUMENT);
    }
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(NULL, "root.create", "true"));
    CHECK(!log.names_the_key);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(config, "no.such.key", "1"));
    CHECK(log.names_the_key);
    tc_config_free(config);

    CHECK_OK(tc_log_set(7, NULL, NULL));
    int messages = log.messages;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(NULL, "root.create", "true"));
    CHECK(log.messages == messages);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_log_set(-1, on_log, &log));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_log_set(8, on_log, &log));
}

/* What nobody should do. */
static void log_within_a_log(int32_t level, const char *message, void *user)
{
    (void)level, (void)message;
    ++*(int *)user;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(NULL, "root.create", "true"));
    CHECK_STATUS(TC_ERR_WOULD_DEADLOCK, tc_log_set(7, NULL, NULL));
}

static void a_log_function_is_not_called_within_itself(void)
{
    int calls = 0;
    CHECK_OK(tc_log_set(3, log_within_a_log, &calls));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(NULL, "root.create", "true"));
    CHECK(calls == 1);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(NULL, "root.create", "true"));
    CHECK(calls == 2);
    CHECK_OK(tc_log_set(3, NULL, NULL));
}

/* The error is of an argument, and about this; NULL for what it is not about. Frees it. */
static void check_told(const tc_error *error, const char *key, const char *path, const char *message)
{
    CHECK(error != NULL && error->status == TC_ERR_INVALID_ARGUMENT);
    CHECK((key == NULL) == (error->key == NULL) && (key == NULL || strcmp(error->key, key) == 0));
    CHECK((path == NULL) == (error->path == NULL) && (path == NULL || strcmp(error->path, path) == 0));
    CHECK(strstr(error->message, message) != NULL);
    tc_error_free(error);
}

/* The last call with `config` failed, and was about this; NULL for what it was not about. */
static void check_error(const tc_config *config, const char *key, const char *path, const char *message)
{
    const tc_error *error = NULL;
    CHECK_OK(tc_config_get_error(config, &error));
    check_told(error, key, path, message);
}

static void check_no_error(const tc_config *config)
{
    const tc_error *error = (const tc_error *)&failures;
    CHECK_OK(tc_config_get_error(config, &error));
    CHECK(error == NULL);
}

static void a_constructor_tells_why_it_failed(void)
{
    tc_config *config = tc_config_new();
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    tc_queue *queue = NULL;
    const tc_error *error = NULL;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new_or_error("host:port", NULL, &client, &error));
    check_told(error, NULL, NULL, "host:port");
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new_or_error("host:port", NULL, &client, NULL));
    CHECK_OK(tc_config_set(config, "tls", "true"));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new_or_error(hosts, config, &client, &error));
    check_told(error, "tls.ca.file", NULL, "tls.ca.file");
    check_no_error(config);
    CHECK_OK(tc_config_set(config, "tls", "false"));
    CHECK_OK(tc_client_new_or_error(hosts, config, &client, &error));
    CHECK(error == NULL);

    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new_or_error(client, "/c/", config, &cache, &error));
    check_told(error, NULL, "/c/", "/c/");
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new_or_error(NULL, "/c", config, &cache, &error));
    check_told(error, NULL, NULL, "client is NULL");
    check_no_error(config);
    CHECK_OK(tc_new_or_error(client, "/c/still", config, &cache, &error));
    CHECK(error == NULL);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_open_or_error(cache, config, NULL, &error));
    check_told(error, NULL, NULL, "out is NULL");
    CHECK_OK(tc_queue_open_or_error(cache, config, &queue, &error));
    CHECK(error == NULL);
    tc_queue_free(queue);
    CHECK_OK(tc_close(cache));
    CHECK_STATUS(TC_ERR_CLOSED, tc_queue_open_or_error(cache, config, &queue, &error));
    CHECK(error != NULL && error->status == TC_ERR_CLOSED);
    tc_error_free(error);
    tc_free(cache);
    tc_client_free(client);
    tc_config_free(config);
}

static void a_configuration_says_why_the_last_call_with_it_failed(void)
{
    tc_config *config = tc_config_new();
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    tc_queue *queue = NULL;
    check_no_error(config);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(config, "no.such.key", "1"));
    check_error(config, "no.such.key", NULL, "no.such.key");
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(config, "limit.nodes", "many"));
    check_error(config, "limit.nodes", NULL, "many");
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(config, "auth", "geheim"));
    const tc_error *error = NULL;
    CHECK_OK(tc_config_get_error(config, &error));
    CHECK(strcmp(error->key, "auth") == 0 && strstr(error->message, "geheim") == NULL);
    tc_error_free(error);
    CHECK_OK(tc_config_set(config, "limit.nodes", "0"));
    check_no_error(config);

    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new("host:port", config, &client));
    check_error(config, NULL, NULL, "host:port");
    CHECK_OK(tc_config_set(config, "tls", "true"));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new(hosts, config, &client));
    check_error(config, "tls.ca.file", NULL, "tls.ca.file");
    CHECK_OK(tc_config_set(config, "tls", "false"));
    CHECK_OK(tc_client_new(hosts, config, &client));
    check_no_error(config);

    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new(client, "/c/", config, &cache));
    check_error(config, NULL, "/c/", "/c/");
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new(client, NULL, config, &cache));
    check_error(config, NULL, NULL, "path is NULL");
    CHECK_OK(tc_new(client, "/c/still", config, &cache));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_open(cache, config, NULL));
    check_error(config, NULL, NULL, "out is NULL");
    CHECK_OK(tc_close(cache));
    CHECK_STATUS(TC_ERR_CLOSED, tc_queue_open(cache, config, &queue));
    CHECK_OK(tc_config_get_error(config, &error));
    CHECK(error->status == TC_ERR_CLOSED);
    tc_error_free(error);

    error = (const tc_error *)&failures;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_get_error(NULL, &error));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_get_error(config, NULL));
    CHECK((const void *)error == &failures);
    tc_free(cache);
    tc_client_free(client);
    tc_config_free(config);
}

static void one_config_serves_clients_and_caches(void)
{
    tc_config *config = tc_config_new();
    CHECK_OK(tc_config_set(config, "session.timeout.ms", "8000"));
    CHECK_OK(tc_config_set(config, "events.capacity", "1000"));
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    CHECK_OK(tc_client_new(hosts, config, &client));
    CHECK_OK(tc_new(client, "/c/still", config, &cache));
    tc_config_free(config); /* it was copied */
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    tc_free(cache);
    tc_client_free(client);
}

/* --- Bad input ----------------------------------------------------------------------------------------------- */

static void a_client_refuses_bad_input(void)
{
    static const char *const bad_hosts[] = {
        "", ",", "localhost:abc", ":2181", "localhost:0", "localhost:65536", "localhost:2181/a/", "localhost:2181//",
        "[::1", "\xff",
    };
    tc_client *const untouched = (tc_client *)&failures;
    tc_client *client = untouched;
    for (size_t i = 0; i < sizeof bad_hosts / sizeof *bad_hosts; i++) {
        int32_t status = tc_client_new(bad_hosts[i], NULL, &client);
        if (status != TC_ERR_INVALID_ARGUMENT)
            fprintf(stderr, "hosts \"%s\": %s\n", bad_hosts[i], tc_status_name(status));
        CHECK(status == TC_ERR_INVALID_ARGUMENT);
        CHECK(client == untouched);
    }
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new(NULL, NULL, &client));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_new(hosts, NULL, NULL));
    CHECK(client == untouched);

    client = new_client();
    uint64_t listener = 4711;
    recorder refused[3] = {RECORDER, RECORDER, RECORDER};
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_listen_fault(NULL, on_fault, &refused[0], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_listen_fault(client, NULL, &refused[1], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_listen_fault(client, on_fault, &refused[2], on_free, NULL));
    CHECK(listener == 4711);
    for (int i = 0; i < 3; i++)
        check_freed_once(&refused[i]);
    tc_client_free(client);
}

static int32_t visit_nothing(const char *path, size_t path_len, const tc_node *node, void *user)
{
    (void)path, (void)path_len, (void)node, (void)user;
    CHECK(false);
    return TC_WALK_CONTINUE;
}

static void a_cache_refuses_bad_input(void)
{
    tc_client *client = new_client();
    tc_cache *const untouched = (tc_cache *)&failures;
    tc_cache *cache = untouched;
    for (int i = 0; i < MALFORMED_PATHS; i++)
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new(client, malformed_paths[i], NULL, &cache));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new(NULL, "/c", NULL, &cache));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new(client, NULL, NULL, &cache));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_new(client, "/c", NULL, NULL));
    CHECK(cache == untouched);

    cache = new_loaded_cache(client, "/c/still");
    int32_t state = 4711;
    int64_t age_ms = 4711;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_start(NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_start_from(NULL, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_wait_initialized(NULL, 0));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_state(NULL, &state, &age_ms));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_state(cache, NULL, &age_ms));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_state(cache, &state, NULL));
    CHECK(state == 4711 && age_ms == 4711);
    const tc_stats *stats = (const tc_stats *)&failures;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_stats(NULL, &stats));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_stats(cache, NULL));
    CHECK((const void *)stats == &failures);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_sync(NULL, 0));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_sync(cache, -2));
    CHECK(!tc_is_initialized(NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_close(NULL));

    recorder refused[9] = {RECORDER, RECORDER, RECORDER, RECORDER, RECORDER, RECORDER, RECORDER, RECORDER, RECORDER};
    uint64_t listener = 4711;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen(NULL, on_event, &refused[0], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen(cache, NULL, &refused[1], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen(cache, on_event, &refused[2], on_free, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen_fault(NULL, on_fault, &refused[3], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen_fault(cache, NULL, &refused[4], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen_fault(cache, on_fault, &refused[5], on_free, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen_with(NULL, NULL, on_event, &refused[6], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen_with(cache, NULL, NULL, &refused[7], on_free, &listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen_with(cache, NULL, on_event, &refused[8], on_free, NULL));
    CHECK(listener == 4711);
    for (int i = 0; i < 9; i++)
        check_freed_once(&refused[i]);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_unlisten(NULL, 1));
    CHECK(tc_unlisten(cache, UINT64_MAX) < 0);

    const tc_node *node = (const tc_node *)&failures;
    const tc_children *children = (const tc_children *)&failures;
    const tc_snapshot *snapshot = (const tc_snapshot *)&failures;
    uint8_t buffer[8] = "before";
    size_t data_len = 4711;
    tc_stat stat = {.czxid = 4711};
    for (int i = 0; i < MALFORMED_PATHS; i++) {
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_data(cache, malformed_paths[i], &node));
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_copy_data(cache, malformed_paths[i], buffer, 8, &data_len, &stat));
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children(cache, malformed_paths[i], &children));
    }
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_data(NULL, "/c/still", &node));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_data(cache, NULL, &node));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_data(cache, "/c/still", NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_copy_data(NULL, "/c/still", buffer, 8, &data_len, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_copy_data(cache, NULL, buffer, 8, &data_len, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_copy_data(cache, "/c/still", NULL, 8, &data_len, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_copy_data(cache, "/c/still", buffer, 8, NULL, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children(NULL, "/c/still", &children));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children(cache, NULL, &children));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children(cache, "/c/still", NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_snapshot(NULL, &snapshot));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_snapshot(cache, NULL));
    CHECK((const void *)node == &failures && (const void *)children == &failures);
    CHECK((const void *)snapshot == &failures);

    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    for (int i = 0; i < MALFORMED_PATHS; i++) {
        const char *path = malformed_paths[i];
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_data(snapshot, path, &node));
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_copy_data(snapshot, path, buffer, 8, &data_len, &stat));
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_children(snapshot, path, &children));
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_walk(snapshot, path, visit_nothing, NULL));
    }
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_data(NULL, "/c/still", &node));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_data(snapshot, NULL, &node));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_data(snapshot, "/c/still", NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_copy_data(NULL, "/c/still", buffer, 8, &data_len, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_copy_data(snapshot, NULL, buffer, 8, &data_len, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_copy_data(snapshot, "/c/still", NULL, 8, &data_len, &stat));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_copy_data(snapshot, "/c/still", buffer, 8, NULL, &stat));
    CHECK(strcmp((const char *)buffer, "before") == 0 && data_len == 4711 && stat.czxid == 4711);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_children(NULL, "/c/still", &children));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_children(snapshot, NULL, &children));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_children(snapshot, "/c/still", NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_walk(NULL, "/c/still", visit_nothing, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_walk(snapshot, NULL, visit_nothing, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_walk(snapshot, "/c/still", NULL, NULL));

    tc_walk *walk = (tc_walk *)&failures;
    const tc_visit *visit = (const tc_visit *)&failures;
    for (int i = 0; i < MALFORMED_PATHS; i++)
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_new(snapshot, malformed_paths[i], &walk));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_new(NULL, "/c/still", &walk));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_new(snapshot, NULL, &walk));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_new(snapshot, "/c/still", NULL));
    CHECK((const void *)walk == &failures);
    CHECK_OK(tc_walk_new(snapshot, "/c/still", &walk));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_next(NULL, &visit));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_next(walk, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_walk_skip(NULL));
    CHECK((const void *)visit == &failures);
    tc_walk_free(walk);
    tc_walk_free(NULL);
    CHECK(tc_snapshot_zxid(NULL) == 0 && !tc_snapshot_is_cut(NULL) && tc_snapshot_len(NULL) == 0);
    CHECK(tc_snapshot_root(NULL) == NULL);
    CHECK((const void *)node == &failures && (const void *)children == &failures);
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);
}

/* --- The life of a cache ------------------------------------------------------------------------------------- */

static void a_cache_that_was_not_started_is_empty_and_not_ready(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    CHECK(state_of(cache) == TC_STATE_LATENT);
    CHECK_STATUS(TC_ERR_STATE, tc_wait_initialized(cache, 0));
    CHECK_STATUS(TC_ERR_STATE, tc_sync(cache, LONG_MS));
    CHECK(!tc_is_initialized(cache));
    CHECK_STATUS(TC_ERR_NOT_READY, status_of_data(cache, "/c/still"));
    CHECK_STATUS(TC_ERR_NOT_READY, status_of_children(cache, "/c/still/a"));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, status_of_data(cache, "/c/stillborn"));

    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    CHECK(tc_snapshot_zxid(snapshot) == 0);
    CHECK(tc_snapshot_len(snapshot) == 0);
    CHECK(!tc_snapshot_is_cut(snapshot));
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);
}

static void a_cache_is_started_once(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/still");
    CHECK_STATUS(TC_ERR_STATE, tc_start(cache));
    WAIT_UNTIL(state_of(cache) == TC_STATE_IN_STEP);
    CHECK_OK(tc_wait_initialized(cache, 0));
    CHECK_OK(tc_wait_initialized(cache, -1));
    CHECK(tc_is_initialized(cache));
    int32_t state = -1;
    int64_t age_ms = -1;
    CHECK_OK(tc_get_state(cache, &state, &age_ms));
    CHECK(age_ms >= 0 && age_ms < LONG_MS);
    tc_free(cache);
    tc_client_free(client);
}

static void a_cache_begins_with_what_another_one_has_read(void)
{
    tc_client *client = new_client(), *nowhere = NULL;
    tc_cache *cache = new_loaded_cache(client, "/c/still");
    const tc_snapshot *snapshot = NULL, *nothing = NULL;
    int32_t state = -1;
    int64_t age_ms = 0;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    int nodes = (int)tc_snapshot_len(snapshot);
    CHECK_STATUS(TC_ERR_STATE, tc_start_from(cache, snapshot));
    tc_free(cache);
    tc_client_free(client);

    CHECK_OK(tc_client_new("127.0.0.1:1", NULL, &nowhere)); /* nobody serves there */
    cache = new_cache(nowhere, "/c");
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_start_from(cache, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_start_from(cache, snapshot)); /* of another root */
    CHECK(state_of(cache) == TC_STATE_LATENT);
    tc_free(cache);

    cache = new_cache(nowhere, "/c/still");
    CHECK_OK(tc_start_from(cache, snapshot));
    CHECK_STATUS(TC_ERR_STATE, tc_start_from(cache, snapshot));
    CHECK_STATUS(TC_ERR_STATE, tc_start(cache));
    tc_snapshot_free(snapshot);
    CHECK_OK(tc_get_state(cache, &state, &age_ms));
    CHECK(state == TC_STATE_WARM && age_ms == -1);
    CHECK_OK(status_of_data(cache, "/c/still/a/x"));
    CHECK_STATUS(TC_ERR_NO_NODE, status_of_data(cache, "/c/still/nowhere"));
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_wait_initialized(cache, 10));
    CHECK(!tc_is_initialized(cache));
    recorder early = RECORDER;
    CHECK_OK(tc_listen(cache, on_event, &early, on_free, &early.listener));
    WAIT_UNTIL(seen(&early, TC_EVENT_NODE_ADDED) == nodes);
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    CHECK_OK(tc_close(cache));
    CHECK_STATUS(TC_ERR_CLOSED, tc_start_from(cache, snapshot));
    tc_free(cache);
    check_freed_once(&early);
    tc_client_free(nowhere);

    /* With a server, that tree is verified. */
    client = new_client();
    cache = new_cache(client, "/c/still");
    CHECK_OK(tc_get_snapshot(cache, &nothing)); /* from before the first version */
    recorder events = RECORDER;
    CHECK_OK(tc_listen(cache, on_event, &events, on_free, &events.listener));
    CHECK_OK(tc_start_from(cache, snapshot));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    WAIT_UNTIL(state_of(cache) == TC_STATE_IN_STEP);
    WAIT_UNTIL(seen(&events, TC_EVENT_IN_STEP) == 1);
    CHECK(seen(&events, TC_EVENT_NODE_ADDED) == nodes);
    CHECK(seen(&events, TC_EVENT_NODE_UPDATED) == 0 && seen(&events, TC_EVENT_NODE_REMOVED) == 0);
    tc_free(cache);
    check_freed_once(&events);
    cache = new_cache(client, "/c/still");
    CHECK_OK(tc_start_from(cache, nothing));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    CHECK_OK(status_of_data(cache, "/c/still/a/x"));
    tc_free(cache);
    cache = new_cache(client, "/c/still");
    tc_client_free(client);
    CHECK_STATUS(TC_ERR_CLOSED, tc_start_from(cache, snapshot));
    tc_free(cache);
    tc_snapshot_free(snapshot);
    tc_snapshot_free(nothing);
}

static void a_closed_cache_serves_nothing_but_what_was_handed_out(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/still");
    const tc_node *node = NULL;
    const tc_children *children = NULL;
    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_data(cache, "/c/still", &node));
    CHECK_OK(tc_get_children(cache, "/c/still", &children));
    CHECK_OK(tc_get_snapshot(cache, &snapshot));

    CHECK_OK(tc_close(cache));
    CHECK_OK(tc_close(cache));
    CHECK(state_of(cache) == TC_STATE_CLOSED);
    CHECK_STATUS(TC_ERR_CLOSED, tc_start(cache));
    CHECK_STATUS(TC_ERR_CLOSED, tc_wait_initialized(cache, LONG_MS));
    CHECK_STATUS(TC_ERR_CLOSED, tc_sync(cache, LONG_MS));
    CHECK(!tc_is_initialized(cache));
    CHECK_STATUS(TC_ERR_CLOSED, status_of_data(cache, "/c/still"));
    CHECK_STATUS(TC_ERR_CLOSED, status_of_children(cache, "/c/still"));
    const tc_snapshot *refused = NULL;
    CHECK_STATUS(TC_ERR_CLOSED, tc_get_snapshot(cache, &refused));
    CHECK(refused == NULL);
    recorder late = RECORDER;
    uint64_t listener = 0;
    CHECK_STATUS(TC_ERR_CLOSED, tc_listen(cache, on_event, &late, on_free, &listener));
    check_freed_once(&late);
    tc_free(cache);
    tc_client_free(client);

    CHECK(node->data_len == 4 && memcmp(node->data, "root", 4) == 0);
    CHECK(children->len == 3 && strcmp(children->names[0], "a") == 0);
    const tc_node *from_snapshot = NULL;
    CHECK_OK(tc_snapshot_get_data(snapshot, "/c/still/b", &from_snapshot));
    tc_snapshot_free(snapshot);
    CHECK(from_snapshot->data_len == 1 && from_snapshot->data[0] == '2');
    tc_node_free(from_snapshot);
    tc_children_free(children);
    tc_node_free(node);
}

static void with_close_keep_reads_go_on_until_the_cache_is_freed(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache_with(client, "/c/still", "close.keep", "true");
    CHECK_OK(tc_close(cache));
    tc_client_free(client);
    CHECK(state_of(cache) == TC_STATE_CLOSED);
    CHECK_OK(status_of_data(cache, "/c/still/a"));
    CHECK_STATUS(TC_ERR_NO_NODE, status_of_data(cache, "/c/still/c"));
    CHECK_OK(status_of_children(cache, "/c/still"));
    uint8_t byte = 0;
    size_t data_len = 0;
    CHECK_OK(tc_copy_data(cache, "/c/still/b", &byte, 1, &data_len, NULL));
    CHECK(data_len == 1 && byte == '2');
    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    CHECK(tc_snapshot_is_cut(snapshot) && tc_snapshot_len(snapshot) == 6);
    CHECK_STATUS(TC_ERR_CLOSED, tc_sync(cache, LONG_MS));
    CHECK_STATUS(TC_ERR_CLOSED, tc_wait_initialized(cache, LONG_MS));
    tc_free(cache);
    tc_snapshot_free(snapshot);
}

static void a_cache_closed_before_its_start_stays_closed(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    CHECK_OK(tc_close(cache));
    CHECK(state_of(cache) == TC_STATE_CLOSED);
    CHECK_STATUS(TC_ERR_CLOSED, tc_start(cache));
    tc_free(cache);
    tc_client_free(client);
}

static void caches_outlive_their_client_and_say_that_it_is_gone(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still"), *latent = new_cache(client, "/c/moving");
    recorder events = RECORDER;
    CHECK_OK(tc_listen(cache, on_event, &events, on_free, &events.listener));
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    tc_client_free(client);

    WAIT_UNTIL(seen(&events, TC_EVENT_CONNECTION_LOST) == 1);
    CHECK(state_of(cache) == TC_STATE_LOST);
    CHECK_STATUS(TC_ERR_CLOSED, tc_sync(cache, LONG_MS));
    CHECK_OK(status_of_data(cache, "/c/still/a/x"));
    CHECK_OK(status_of_children(cache, "/c/still"));
    CHECK_STATUS(TC_ERR_CLOSED, tc_start(latent));
    tc_free(cache);
    check_freed_once(&events);
    tc_free(latent);
}

static void waiting_ends_in_time(void)
{
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    CHECK_OK(tc_client_new("127.0.0.1:1", NULL, &client)); /* nobody serves there */
    cache = new_cache(client, "/c/still");
    recorder faults = RECORDER;
    CHECK_OK(tc_client_listen_fault(client, on_fault, &faults, on_free, &faults.listener));
    CHECK_OK(tc_start(cache));
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_wait_initialized(cache, 0));
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_wait_initialized(cache, 50));
    CHECK_STATUS(TC_ERR_CONNECTION, tc_sync(cache, -1));
    CHECK_STATUS(TC_ERR_NOT_READY, status_of_data(cache, "/c/still"));
    WAIT_UNTIL(read_count(&faults, &faults.faults) > 0);
    CHECK_STATUS(TC_ERR_CONNECTION, faults.last_fault);
    tc_free(cache);
    tc_client_free(client);
    check_freed_once(&faults);
}

static void a_fault_listener_of_a_client_can_be_removed(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new("127.0.0.1:1", NULL, &client)); /* nobody serves there */
    recorder gone = RECORDER, stays = RECORDER;
    CHECK_OK(tc_client_listen_fault(client, on_fault, &gone, on_free, &gone.listener));
    CHECK_OK(tc_client_listen_fault(client, on_fault, &stays, on_free, &stays.listener));
    WAIT_UNTIL(read_count(&gone, &gone.faults) > 0);
    CHECK_OK(tc_client_unlisten(client, gone.listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_unlisten(client, gone.listener));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_unlisten(client, UINT64_MAX));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_client_unlisten(NULL, stays.listener));
    int told = read_count(&stays, &stays.faults);
    WAIT_UNTIL(read_count(&stays, &stays.faults) > told + 1);
    check_freed_once(&gone);
    tc_client_free(client);
    check_freed_once(&stays);
}

static void *close_soon(void *cache)
{
    sleep_ms(100);
    CHECK_OK(tc_close(cache));
    return NULL;
}

static void closing_ends_a_wait(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new("127.0.0.1:1", NULL, &client));
    tc_cache *cache = new_cache(client, "/c/still");
    CHECK_OK(tc_start(cache));
    pthread_t thread;
    pthread_create(&thread, NULL, close_soon, cache);
    CHECK_STATUS(TC_ERR_CLOSED, tc_wait_initialized(cache, -1));
    pthread_join(thread, NULL);
    tc_free(cache);
    tc_client_free(client);
}

static int32_t beat(tc_cache *cache)
{
    const tc_node *node = NULL;
    CHECK_OK(tc_get_data(cache, "/c/moving/beat", &node));
    int32_t version = node->stat.version;
    tc_node_free(node);
    return version;
}

static void what_one_cache_has_heard_of_another_has_after_a_sync(void)
{
    tc_client *clients[] = {new_client(), new_client()};
    tc_cache *caches[] = {new_loaded_cache(clients[0], "/c/moving"), new_loaded_cache(clients[1], "/c/moving")};
    for (int round = 0; round < 20; round++) {
        int32_t heard_of = beat(caches[round % 2]);
        CHECK_OK(tc_sync(caches[1 - round % 2], round % 3 != 0 ? LONG_MS : -1));
        CHECK(beat(caches[1 - round % 2]) >= heard_of);
        sleep_ms(round);
    }
    for (int i = 0; i < 2; i++) {
        tc_free(caches[i]);
        tc_client_free(clients[i]);
    }
}

static void stats_are_numbers_about_the_cache(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    const tc_stats *latent = NULL, *loaded = NULL;
    CHECK_OK(tc_get_stats(cache, &latent));
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    WAIT_UNTIL(state_of(cache) == TC_STATE_IN_STEP);
    CHECK_OK(tc_get_stats(cache, &loaded));
    tc_free(cache);
    tc_client_free(client);

    CHECK(latent->state == TC_STATE_LATENT && latent->cut_age_ms == -1 && latent->zxid == 0);
    CHECK(latent->nodes == 0 && latent->versions == 0 && latent->reads == 0);
    CHECK(loaded->state == TC_STATE_IN_STEP && loaded->zxid > 0);
    CHECK(loaded->nodes == 6 && loaded->bytes == 4 + 1 + 0 + 3 + 1 + 1);
    CHECK(loaded->contact_age_ms >= 0 && loaded->cut_age_ms >= 0);
    CHECK(loaded->versions >= loaded->cuts && loaded->cuts >= 1);
    CHECK(loaded->reads >= 6 && loaded->batches >= 1 && loaded->resyncs == 0);
    CHECK(loaded->connections == 1 && loaded->session_id != 0);
    CHECK(loaded->server != NULL && strcmp(loaded->server, hosts) == 0);
    tc_stats_free(latent);
    tc_stats_free(loaded);
}

static void a_missing_root_is_created_or_waited_for(void)
{
    tc_client *client = new_client();
    tc_config *config = tc_config_new();
    tc_cache *cache = NULL;
    char root[64]; /* one that no run before has left */
    snprintf(root, sizeof root, "/c/created/by/%ld", (long)getpid());
    CHECK_OK(tc_config_set(config, "root.create", "false"));
    CHECK_OK(tc_new(client, root, config, &cache));
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    CHECK_STATUS(TC_ERR_NO_NODE, status_of_data(cache, root));
    CHECK_STATUS(TC_ERR_NO_NODE, status_of_children(cache, root));

    tc_cache *creator = new_loaded_cache(client, root);
    CHECK_OK(status_of_data(creator, root));
    WAIT_UNTIL(status_of_data(cache, root) == TC_OK);
    tc_free(creator);
    tc_free(cache);
    tc_config_free(config);
    tc_client_free(client);
}

static void a_tree_beyond_the_limit_is_a_fault(void)
{
    tc_client *client = new_client();
    tc_config *config = tc_config_new();
    tc_cache *cache = NULL;
    CHECK_OK(tc_config_set(config, "limit.nodes", "2"));
    CHECK_OK(tc_new(client, "/c/still", config, &cache));
    recorder faults = RECORDER;
    CHECK_OK(tc_listen_fault(cache, on_fault, &faults, on_free, &faults.listener));
    CHECK_OK(tc_start(cache));
    WAIT_UNTIL(read_count(&faults, &faults.faults) > 0);
    CHECK_STATUS(TC_ERR_LIMIT, faults.last_fault);
    tc_free(cache);
    check_freed_once(&faults);
    tc_config_free(config);
    tc_client_free(client);
}

/* --- Reading ------------------------------------------------------------------------------------------------- */

static void data_and_children_are_the_servers(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/still");
    const tc_node *node = NULL;
    CHECK_OK(tc_get_data(cache, "/c/still/a/y", &node));
    CHECK(node->data_len == 3 && memcmp(node->data, "\0\xff\n", 3) == 0);
    CHECK(node->stat.data_length == 3 && node->stat.num_children == 0 && node->stat.version == 0);
    CHECK(node->stat.czxid > 0 && node->stat.mzxid == node->stat.czxid && node->stat.pzxid == node->stat.czxid);
    CHECK(node->stat.ctime > 0 && node->stat.mtime == node->stat.ctime && node->stat.ephemeral_owner == 0);
    tc_node_free(node);
    CHECK_OK(tc_get_data(cache, "/c/still/a/x", &node));
    CHECK(node->data_len == 0);
    tc_node_free(node);
    CHECK_OK(tc_get_data(cache, "/c/still/größe", &node));
    CHECK(node->data_len == 1 && node->data[0] == '3');
    tc_node_free(node);

    static const char *const names[] = {"a", "b", "größe"};
    const tc_children *children = NULL;
    CHECK_OK(tc_get_children(cache, "/c/still", &children));
    CHECK(children->len == 3);
    for (size_t i = 0; i < children->len && i < 3; i++) {
        CHECK(strcmp(children->names[i], names[i]) == 0);
        CHECK(children->name_lens[i] == strlen(names[i]));
    }
    tc_children_free(children);
    CHECK_OK(tc_get_children(cache, "/c/still/b", &children));
    CHECK(children->len == 0);
    tc_children_free(children);

    CHECK_STATUS(TC_ERR_NO_NODE, status_of_data(cache, "/c/still/c"));
    CHECK_STATUS(TC_ERR_NO_NODE, status_of_children(cache, "/c/still/c/d"));
    static const char *const outside[] = {"/", "/c", "/c/stillborn", "/c/moving", "/x"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        CHECK_STATUS(TC_ERR_OUT_OF_TREE, status_of_data(cache, outside[i]));
        CHECK_STATUS(TC_ERR_OUT_OF_TREE, status_of_children(cache, outside[i]));
    }
    tc_free(cache);
    tc_client_free(client);
}

static void check_no_data(const tc_node *node, int32_t data_length)
{
    CHECK(node != NULL && node->data == NULL && node->data_len == 0);
    CHECK(node != NULL && node->stat.data_length == data_length);
}

static int32_t check_visited(const char *path, size_t path_len, const tc_node *node, void *user)
{
    (void)path_len;
    check_no_data(node, strcmp(path, "/c/still/a/y") == 0 ? 3 : node->stat.data_length);
    ++*(int *)user;
    return TC_WALK_CONTINUE;
}

static void without_data_there_are_names_and_stats(void)
{
    static const struct {
        const char *path;
        int32_t data_length;
    } nodes[] = {{"/c/still", 4}, {"/c/still/a/x", 0}, {"/c/still/a/y", 3}};
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache_with(client, "/c/still", "data", "none");
    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        const tc_node *node = NULL;
        CHECK_OK(tc_get_data(cache, nodes[i].path, &node));
        check_no_data(node, nodes[i].data_length);
        tc_node_free(node);
        CHECK_OK(tc_snapshot_get_data(snapshot, nodes[i].path, &node));
        check_no_data(node, nodes[i].data_length);
        tc_node_free(node);
        size_t data_len = 4711;
        tc_stat stat = {.data_length = -1};
        CHECK_OK(tc_copy_data(cache, nodes[i].path, NULL, 0, &data_len, &stat));
        CHECK(data_len == 0 && stat.data_length == nodes[i].data_length);
    }
    int visited = 0;
    CHECK_OK(tc_snapshot_walk(snapshot, "/c/still", check_visited, &visited));
    CHECK(visited == 6);
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);
}

/* What both functions do, as both do it. */
static int32_t copy(const tc_cache *cache, const tc_snapshot *snapshot, const char *path, uint8_t *buffer,
                    size_t capacity, size_t *data_len, tc_stat *stat)
{
    return cache != NULL ? tc_copy_data(cache, path, buffer, capacity, data_len, stat)
                         : tc_snapshot_copy_data(snapshot, path, buffer, capacity, data_len, stat);
}

static void check_copies(const tc_cache *cache, const tc_snapshot *snapshot)
{
    uint8_t buffer[4] = "---";
    size_t data_len = 4711;
    tc_stat stat = {.czxid = 4711};
    CHECK_STATUS(TC_ERR_TOO_SMALL, copy(cache, snapshot, "/c/still/a/y", NULL, 0, &data_len, &stat));
    CHECK(data_len == 3 && stat.czxid == 4711);
    data_len = 4711;
    CHECK_STATUS(TC_ERR_TOO_SMALL, copy(cache, snapshot, "/c/still/a/y", buffer, 2, &data_len, &stat));
    CHECK(data_len == 3 && stat.czxid == 4711 && memcmp(buffer, "---", 4) == 0);
    CHECK_OK(copy(cache, snapshot, "/c/still/a/y", buffer, 3, &data_len, NULL));
    CHECK(data_len == 3 && memcmp(buffer, "\0\xff\n", 4) == 0); /* and no byte behind it */
    CHECK_OK(copy(cache, snapshot, "/c/still/b", buffer, 4, &data_len, &stat));
    CHECK(data_len == 1 && buffer[0] == '2' && stat.data_length == 1 && stat.czxid > 0 && stat.czxid != 4711);
    CHECK_OK(copy(cache, snapshot, "/c/still/a/x", NULL, 0, &data_len, &stat));
    CHECK(data_len == 0 && stat.data_length == 0);
    data_len = 4711;
    CHECK_STATUS(TC_ERR_NO_NODE, copy(cache, snapshot, "/c/still/c", buffer, 4, &data_len, &stat));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, copy(cache, snapshot, "/c/stillborn", buffer, 4, &data_len, &stat));
    CHECK(data_len == 4711 && stat.data_length == 0 && buffer[0] == '2');
}

static void data_is_copied_into_the_callers_buffer(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/still");
    const tc_snapshot *snapshot = NULL;
    uint8_t buffer[1];
    size_t data_len = 4711;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    check_copies(cache, NULL);
    check_copies(NULL, snapshot);
    CHECK_OK(tc_close(cache));
    CHECK_STATUS(TC_ERR_CLOSED, tc_copy_data(cache, "/c/still/b", buffer, 1, &data_len, NULL));
    CHECK(data_len == 4711);
    check_copies(NULL, snapshot);
    tc_free(cache);
    tc_client_free(client);
    check_copies(NULL, snapshot);
    tc_snapshot_free(snapshot);
}

static void large_data_is_copied_when_there_is_room(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/large");
    const tc_node *node = NULL;
    size_t data_len = 0;
    CHECK_STATUS(TC_ERR_TOO_SMALL, tc_copy_data(cache, "/c/large", NULL, 0, &data_len, NULL));
    CHECK(data_len == 5000);
    uint8_t *buffer = malloc(data_len);
    CHECK_OK(tc_copy_data(cache, "/c/large", buffer, data_len, &data_len, NULL));
    CHECK_OK(tc_get_data(cache, "/c/large", &node));
    tc_free(cache);
    tc_client_free(client);
    CHECK(data_len == 5000 && node->data_len == 5000 && memcmp(buffer, node->data, 5000) == 0);
    CHECK(memcmp(buffer, "largelarge", 10) == 0 && node->stat.data_length == 5000);
    tc_node_free(node);
    free(buffer);
}

static void a_chroot_is_the_clients_root(void)
{
    char chrooted[256];
    snprintf(chrooted, sizeof chrooted, "%s/c/still", hosts);
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(chrooted, NULL, &client));
    tc_cache *cache = new_loaded_cache(client, "/a");
    CHECK_OK(status_of_data(cache, "/a/y"));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, status_of_data(cache, "/b"));
    tc_free(cache);
    tc_client_free(client);
}

static void what_the_session_may_not_read_is_said_so(void)
{
    tc_client *stranger = new_client(), *friend = NULL;
    tc_cache *cache = new_loaded_cache(stranger, "/c/guarded");
    CHECK_OK(status_of_data(cache, "/c/guarded/open"));
    CHECK_STATUS(TC_ERR_NO_PERMISSION, status_of_data(cache, "/c/guarded/private"));
    size_t data_len = 4711;
    CHECK_STATUS(TC_ERR_NO_PERMISSION, tc_copy_data(cache, "/c/guarded/private", NULL, 0, &data_len, NULL));
    CHECK(data_len == 4711);
    CHECK_STATUS(TC_ERR_NO_PERMISSION, status_of_children(cache, "/c/guarded/private"));
    tc_free(cache);
    tc_client_free(stranger);

    tc_config *config = tc_config_new();
    CHECK_OK(tc_config_set(config, "auth", "digest:c:secret"));
    CHECK_OK(tc_client_new(hosts, config, &friend));
    tc_config_free(config);
    cache = new_loaded_cache(friend, "/c/guarded");
    CHECK_OK(status_of_data(cache, "/c/guarded/private"));
    CHECK_OK(status_of_children(cache, "/c/guarded/private"));
    tc_free(cache);
    tc_client_free(friend);
}

typedef struct {
    const char *skip_below, *stop_at;
    char seen[256];
} tour;

static int32_t visit(const char *path, size_t path_len, const tc_node *node, void *user)
{
    tour *self = user;
    CHECK(strlen(path) == path_len);
    CHECK(node != NULL && node->data_len == (size_t)node->stat.data_length);
    strncat(self->seen, path, sizeof self->seen - strlen(self->seen) - 1);
    strncat(self->seen, " ", sizeof self->seen - strlen(self->seen) - 1);
    if (self->stop_at != NULL && strcmp(path, self->stop_at) == 0)
        return TC_WALK_STOP;
    if (self->skip_below != NULL && strcmp(path, self->skip_below) == 0)
        return TC_WALK_SKIP_CHILDREN;
    return TC_WALK_CONTINUE;
}

static void a_snapshot_is_a_cut_of_the_whole_tree(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/still");
    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    CHECK(tc_snapshot_is_cut(snapshot));
    CHECK(tc_snapshot_zxid(snapshot) > 0);
    CHECK(tc_snapshot_len(snapshot) == 6);

    tour whole = {0}, part = {0}, skipping = {.skip_below = "/c/still/a"}, stopping = {.stop_at = "/c/still/a/x"};
    CHECK_OK(tc_snapshot_walk(snapshot, "/c/still", visit, &whole));
    CHECK(strcmp(whole.seen, "/c/still /c/still/a /c/still/a/x /c/still/a/y /c/still/b /c/still/größe ") == 0);
    CHECK_OK(tc_snapshot_walk(snapshot, "/c/still/a", visit, &part));
    CHECK(strcmp(part.seen, "/c/still/a /c/still/a/x /c/still/a/y ") == 0);
    CHECK_OK(tc_snapshot_walk(snapshot, "/c/still", visit, &skipping));
    CHECK(strcmp(skipping.seen, "/c/still /c/still/a /c/still/b /c/still/größe ") == 0);
    CHECK_OK(tc_snapshot_walk(snapshot, "/c/still", visit, &stopping));
    CHECK(strcmp(stopping.seen, "/c/still /c/still/a /c/still/a/x ") == 0);
    CHECK_STATUS(TC_ERR_NO_NODE, tc_snapshot_walk(snapshot, "/c/still/c", visit_nothing, NULL));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, tc_snapshot_walk(snapshot, "/c", visit_nothing, NULL));

    const tc_node *node = NULL;
    const tc_children *children = NULL;
    CHECK_OK(tc_snapshot_get_data(snapshot, "/c/still/b", &node));
    CHECK(node->data_len == 1 && node->data[0] == '2');
    CHECK_OK(tc_snapshot_get_children(snapshot, "/c/still/a", &children));
    CHECK(children->len == 2 && strcmp(children->names[1], "y") == 0);
    tc_children_free(children);
    tc_node_free(node);
    CHECK_STATUS(TC_ERR_NO_NODE, tc_snapshot_get_data(snapshot, "/c/still/c", &node));
    CHECK_STATUS(TC_ERR_NO_NODE, tc_snapshot_get_children(snapshot, "/c/still/c", &children));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, tc_snapshot_get_data(snapshot, "/c/stillborn", &node));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, tc_snapshot_get_children(snapshot, "/", &children));
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);
}

/* Notes the path and data of what a walk has to give, and leaves out what is below `skip_below`. */
static void go_through(tc_walk *walk, tour *self)
{
    const tc_visit *visit;
    while (tc_walk_next(walk, &visit) == TC_OK && visit != NULL) {
        size_t len = strlen(self->seen);
        CHECK(strlen(visit->path) == visit->path_len && strlen(visit->name) == visit->name_len);
        CHECK(visit->name + visit->name_len == visit->path + visit->path_len && visit->name[-1] == '/');
        snprintf(self->seen + len, sizeof self->seen - len, "%zu%s%s ", visit->depth, visit->path,
                 visit->node == NULL ? "?" : "");
        if (self->skip_below != NULL && strcmp(visit->path, self->skip_below) == 0)
            CHECK_OK(tc_walk_skip(walk));
    }
    CHECK(tc_walk_next(walk, &visit) == TC_OK && visit == NULL); /* and so it stays */
}

static void a_walk_has_what_may_not_be_read_and_outlives_its_snapshot(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c");
    const tc_snapshot *snapshot = NULL;
    tc_walk *still = NULL, *skipping = NULL, *guarded = NULL, *private = NULL, *begun = NULL, *none = NULL;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    CHECK_OK(tc_walk_new(snapshot, "/c/still", &still));
    CHECK_OK(tc_walk_new(snapshot, "/c/still", &skipping));
    CHECK_OK(tc_walk_new(snapshot, "/c/guarded", &guarded));
    CHECK_OK(tc_walk_new(snapshot, "/c/guarded/private", &private));
    CHECK_OK(tc_walk_new(snapshot, "/c", &begun));
    CHECK_STATUS(TC_ERR_NO_PERMISSION, tc_walk_new(snapshot, "/c/guarded/private/x", &none));
    CHECK_STATUS(TC_ERR_NO_NODE, tc_walk_new(snapshot, "/c/still/c", &none));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, tc_walk_new(snapshot, "/d", &none));
    CHECK(none == NULL);
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);

    tour whole = {0}, part = {.skip_below = "/c/still/a"}, opaque = {0}, single = {0};
    go_through(still, &whole);
    CHECK(strcmp(whole.seen, "0/c/still 1/c/still/a 2/c/still/a/x 2/c/still/a/y 1/c/still/b 1/c/still/größe ") == 0);
    go_through(skipping, &part);
    CHECK(strcmp(part.seen, "0/c/still 1/c/still/a 1/c/still/b 1/c/still/größe ") == 0);
    go_through(guarded, &opaque);
    CHECK(strcmp(opaque.seen, "0/c/guarded 1/c/guarded/open 1/c/guarded/private? ") == 0);
    go_through(private, &single);
    CHECK(strcmp(single.seen, "0/c/guarded/private? ") == 0);

    const tc_visit *visit = NULL;
    CHECK_OK(tc_walk_next(begun, &visit));
    CHECK(strcmp(visit->name, "c") == 0 && visit->node->stat.num_children >= 4);
    tc_walk_free(begun); /* in the middle */
    tc_walk_free(still);
    tc_walk_free(skipping);
    tc_walk_free(guarded);
    tc_walk_free(private);
}

static void *read_and_read(void *user)
{
    const tc_cache *cache = user;
    for (int i = 0; i < 200; i++) {
        const tc_snapshot *snapshot = NULL;
        tour whole = {0};
        uint8_t buffer[64];
        size_t data_len = 0;
        tc_stat stat;
        CHECK_OK(status_of_data(cache, "/c/moving/beat"));
        CHECK_OK(tc_copy_data(cache, "/c/moving/beat", buffer, sizeof buffer, &data_len, &stat));
        CHECK(data_len == (size_t)stat.data_length); /* of one version */
        CHECK_OK(tc_get_snapshot(cache, &snapshot));
        CHECK_OK(tc_snapshot_walk(snapshot, "/c/moving", visit, &whole));
        tc_snapshot_free(snapshot);
        sleep_ms(2);
    }
    return NULL;
}

static void children_come_with_their_data(void)
{
    static const char *const names[] = {"a", "b", "größe"}, *const data[] = {"1", "2", "3"};
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c");
    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    for (int from_snapshot = 0; from_snapshot < 2; from_snapshot++) {
        const tc_children_data *children = NULL;
        CHECK_OK(from_snapshot ? tc_snapshot_get_children_data(snapshot, "/c/still", &children)
                               : tc_get_children_data(cache, "/c/still", &children));
        CHECK(children->len == 3);
        for (int i = 0; i < 3; i++) {
            CHECK(strcmp(children->names[i], names[i]) == 0 && children->name_lens[i] == strlen(names[i]));
            CHECK(children->nodes[i]->data_len == 1 && *children->nodes[i]->data == (uint8_t)*data[i]);
        }
        CHECK(children->nodes[0]->stat.num_children == 2);
        tc_children_data_free(children);
    }
    const tc_children_data *guarded = NULL;
    CHECK_OK(tc_get_children_data(cache, "/c/guarded", &guarded));
    CHECK(guarded->len == 2 && guarded->nodes[0]->data_len == 11 && guarded->nodes[1] == NULL);
    const tc_children_data *untouched = guarded;
    CHECK_STATUS(TC_ERR_NO_NODE, tc_get_children_data(cache, "/c/none", &guarded));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, tc_get_children_data(cache, "/d", &guarded));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children_data(cache, "c", &guarded));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children_data(cache, NULL, &guarded));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children_data(NULL, "/c", &guarded));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_children_data(cache, "/c", NULL));
    CHECK_STATUS(TC_ERR_NO_PERMISSION, tc_snapshot_get_children_data(snapshot, "/c/guarded/private", &guarded));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_children_data(NULL, "/c", &guarded));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_get_children_data(snapshot, "/c", NULL));
    CHECK(guarded == untouched);
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);
    CHECK(strcmp(guarded->names[1], "private") == 0);
    tc_children_data_free(guarded);
}

typedef struct {
    int seen, stop_after;
    char last[64];
    bool is_last;
    int64_t zxid;
} comparison;

static int32_t compare(const tc_event *change, void *user)
{
    comparison *self = user;
    self->seen++;
    snprintf(self->last, sizeof self->last, "%" PRId32 " %s", change->type, change->path);
    self->is_last = change->flags == TC_EVENT_LAST_OF_VERSION;
    self->zxid = change->zxid;
    CHECK((change->type == TC_EVENT_NODE_UPDATED) == (change->old_stat != NULL));
    return self->seen == self->stop_after ? 77 : TC_WALK_CONTINUE;
}

static void two_snapshots_have_a_difference(void)
{
    tc_client *client = new_client();
    tc_cache *latent = new_cache(client, "/c/still"), *still = new_loaded_cache(client, "/c/still");
    tc_cache *moving = new_loaded_cache(client, "/c/moving");
    const tc_snapshot *empty = NULL, *full = NULL, *before = NULL, *after = NULL;
    CHECK_OK(tc_get_snapshot(latent, &empty));
    CHECK_OK(tc_get_snapshot(still, &full));

    comparison self = {0};
    CHECK_OK(tc_snapshot_diff(empty, full, compare, &self));
    CHECK(self.seen == 6 && self.is_last && strcmp(self.last, "0 /c/still/größe") == 0);
    CHECK(self.zxid == tc_snapshot_zxid(full));
    self = (comparison){.stop_after = 2};
    CHECK_OK(tc_snapshot_diff(full, empty, compare, &self));
    CHECK(self.seen == 2 && !self.is_last && strcmp(self.last, "2 /c/still/a/y") == 0);
    self = (comparison){0};
    CHECK_OK(tc_snapshot_diff(full, full, compare, &self));
    CHECK(self.seen == 0);

    CHECK_OK(tc_get_snapshot(moving, &before));
    do {
        sleep_ms(20);
        tc_snapshot_free(after);
        CHECK_OK(tc_get_snapshot(moving, &after));
        self = (comparison){0};
        CHECK_OK(tc_snapshot_diff(before, after, compare, &self));
    } while (self.seen == 0);
    /* A beat; and the blink may be gone, there, or another one. */
    CHECK(self.seen <= 3 && self.is_last);

    self = (comparison){0};
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_diff(full, after, compare, &self));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_diff(NULL, after, compare, &self));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_diff(before, NULL, compare, &self));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_snapshot_diff(before, after, NULL, &self));
    CHECK(self.seen == 0);
    tc_snapshot_free(empty);
    tc_snapshot_free(full);
    tc_snapshot_free(before);
    tc_snapshot_free(after);
    tc_free(latent);
    tc_free(still);
    tc_free(moving);
    tc_client_free(client);
}

static void many_threads_may_read_at_once(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_loaded_cache(client, "/c/moving");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, read_and_read, cache);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    tc_free(cache);
    tc_client_free(client);
}

/* --- Listening ----------------------------------------------------------------------------------------------- */

static void check_told_of_the_still_tree(recorder *events)
{
    static const char *const expected[] = {
        "/c/still", "/c/still/a", "/c/still/b", "/c/still/größe", "/c/still/a/x", "/c/still/a/y",
    };
    WAIT_UNTIL(seen(events, TC_EVENT_INITIALIZED) == 1);
    CHECK(seen(events, TC_EVENT_NODE_ADDED) == 6);
    for (int i = 0; i < 6; i++) {
        /* Parents come first; which of two subtrees does is not promised. */
        int at[2] = {-1, -1};
        const char *slash = strrchr(expected[i], '/');
        for (int j = 0; j < 6; j++) {
            if (strcmp(events->added[j], expected[i]) == 0)
                at[0] = j;
            if (strncmp(events->added[j], expected[i], (size_t)(slash - expected[i])) == 0 &&
                strlen(events->added[j]) == (size_t)(slash - expected[i]))
                at[1] = j;
        }
        CHECK(at[0] >= 0);
        CHECK(at[1] < at[0]);
    }
    CHECK(events->flags & TC_EVENT_LAST_OF_VERSION);
}

static void early_and_late_listeners_are_told_of_the_whole_tree(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    recorder early = RECORDER, late = RECORDER;
    CHECK_OK(tc_listen(cache, on_event, &early, on_free, &early.listener));
    CHECK_OK(tc_start(cache));
    check_told_of_the_still_tree(&early);
    CHECK_OK(tc_listen(cache, on_event, &late, on_free, &late.listener));
    CHECK(early.listener != late.listener);
    check_told_of_the_still_tree(&late);
    CHECK(seen(&early, TC_EVENT_NODE_ADDED) == 6);

    CHECK_OK(tc_unlisten(cache, early.listener));
    check_freed_once(&early);
    CHECK(tc_unlisten(cache, early.listener) < 0);
    CHECK(freed(&late) == 0);
    tc_free(cache);
    check_freed_once(&late);
    tc_client_free(client);
}

static tc_config *config_of(const char *const (*settings)[2], int count)
{
    tc_config *config = tc_config_new();
    for (int i = 0; i < count; i++)
        CHECK_OK(tc_config_set(config, settings[i][0], settings[i][1]));
    return config;
}

static void a_listener_is_told_what_its_configuration_leaves(void)
{
    static const char *const settings[][2] = {
        {"listen.under", "/c/still/a"}, {"listen.under", "/c/still/a/x"}, {"listen.depth", "0"},
        {"listen.events", "added,initialized"},
    };
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    tc_config *config = config_of(settings, 4);
    recorder some = RECORDER, beat = RECORDER;
    CHECK_OK(tc_listen_with(cache, config, on_event, &some, on_free, &some.listener));
    tc_config_free(config);
    CHECK_OK(tc_start(cache));
    WAIT_UNTIL(seen(&some, TC_EVENT_INITIALIZED) == 1);
    CHECK(seen(&some, TC_EVENT_NODE_ADDED) == 2 && seen_in_all(&some) == 3);
    CHECK(strcmp(some.added[0], "/c/still/a") == 0 && strcmp(some.added[1], "/c/still/a/x") == 0);
    CHECK_OK(tc_unlisten(cache, some.listener));
    check_freed_once(&some);
    tc_free(cache);

    static const char *const updates[][2] = {{"listen.events", "updated"}, {"listen.initial", "false"}};
    cache = new_loaded_cache(client, "/c/moving");
    config = config_of(updates, 2);
    CHECK_OK(tc_listen_with(cache, config, on_event, &beat, on_free, &beat.listener));
    tc_config_free(config);
    WAIT_UNTIL(seen(&beat, TC_EVENT_NODE_UPDATED) >= 5);
    tc_free(cache);
    check_freed_once(&beat);
    CHECK(seen_in_all(&beat) == seen(&beat, TC_EVENT_NODE_UPDATED));
    tc_client_free(client);
}

static void a_listener_of_what_is_elsewhere_is_refused(void)
{
    static const char *const outside[] = {"/c", "/c/stillborn", "/"};
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    for (int i = 0; i < 3; i++) {
        recorder refused = RECORDER;
        uint64_t listener = 4711;
        tc_queue *const untouched = (tc_queue *)&failures, *queue = untouched;
        tc_config *config = tc_config_new();
        CHECK_OK(tc_config_set(config, "listen.under", outside[i]));
        for (int is_queue = 0; is_queue < 2; is_queue++) {
            const tc_error *error = NULL;
            CHECK_STATUS(TC_ERR_INVALID_ARGUMENT,
                is_queue ? tc_queue_open(cache, config, &queue)
                         : tc_listen_with(cache, config, on_event, &refused, on_free, &listener));
            CHECK_OK(tc_config_get_error(config, &error));
            CHECK(error != NULL && strcmp(error->key, "listen.under") == 0);
            CHECK(strstr(error->message, outside[i]) != NULL && strstr(error->message, "\"/c/still\"") != NULL);
            tc_error_free(error);
        }
        CHECK(listener == 4711 && queue == untouched);
        check_freed_once(&refused);
        tc_config_free(config);
    }
    static const char *const bad[][2] = {
        {"listen.under", "c/still"}, {"listen.under", "/c/"}, {"listen.depth", "-1"}, {"listen.depth", "all"},
        {"listen.events", "added,gone"}, {"listen.events", ""}, {"listen.initial", "no"},
        {"listen.after.initialized", "1"},
    };
    tc_config *config = tc_config_new();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const tc_error *error = NULL;
        CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_config_set(config, bad[i][0], bad[i][1]));
        CHECK_OK(tc_config_get_error(config, &error));
        char quoted[32];
        snprintf(quoted, sizeof quoted, "\"%s\"", bad[i][1]);
        CHECK(strcmp(error->key, bad[i][0]) == 0 && strstr(error->message, quoted) != NULL);
        tc_error_free(error);
    }
    tc_config_free(config);
    tc_free(cache);
    tc_client_free(client);
}

static void changes_come_as_events(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/moving");
    recorder events = RECORDER;
    CHECK_OK(tc_listen(cache, on_event, &events, on_free, &events.listener));
    CHECK_OK(tc_start(cache));
    WAIT_UNTIL(seen(&events, TC_EVENT_INITIALIZED) == 1);
    int added = seen(&events, TC_EVENT_NODE_ADDED);
    WAIT_UNTIL(seen(&events, TC_EVENT_NODE_UPDATED) >= 3);
    WAIT_UNTIL(seen(&events, TC_EVENT_NODE_ADDED) > added);
    WAIT_UNTIL(seen(&events, TC_EVENT_NODE_REMOVED) >= 1);

    /* Once tc_close() has returned, no callback starts; a running one may still end, and its `user` is freed then. */
    CHECK_OK(tc_close(cache));
    int in_all = seen_in_all(&events);
    WAIT_UNTIL(freed(&events) > 0);
    CHECK(seen_in_all(&events) <= in_all + 1);
    in_all = seen_in_all(&events);
    sleep_ms(NEVER_MS);
    CHECK(seen_in_all(&events) == in_all);
    tc_free(cache);
    check_freed_once(&events);
    tc_client_free(client);
}

static void nobody_need_have_a_free_function_or_a_user(void)
{
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    recorder events = RECORDER;
    uint64_t fault_listener = 0;
    CHECK_OK(tc_listen(cache, on_event, &events, NULL, &events.listener));
    CHECK_OK(tc_listen_fault(cache, on_fault, NULL, NULL, &fault_listener));
    CHECK_OK(tc_start(cache));
    WAIT_UNTIL(seen(&events, TC_EVENT_INITIALIZED) == 1);
    CHECK_OK(tc_unlisten(cache, fault_listener));
    tc_free(cache);
    tc_client_free(client);
}

/* --- From within callbacks ----------------------------------------------------------------------------------- */

static void read_and_fail_to_wait(recorder *self, const tc_event *event)
{
    if (event->type == TC_EVENT_NODE_ADDED)
        CHECK_OK(status_of_data(self->cache, event->path)); /* the version is readable before its events arrive */
    CHECK_STATUS(TC_ERR_WOULD_DEADLOCK, tc_wait_initialized(self->cache, LONG_MS));
    CHECK_STATUS(TC_ERR_WOULD_DEADLOCK, tc_sync(self->cache, LONG_MS));
    if (event->type == TC_EVENT_INITIALIZED)
        CHECK(tc_is_initialized(self->cache));
    const tc_snapshot *snapshot = NULL;
    CHECK_OK(tc_get_snapshot(self->cache, &snapshot));
    tc_snapshot_free(snapshot);
}

static void unlisten_self(recorder *self, const tc_event *event)
{
    (void)event;
    CHECK(!self->reacted);
    self->reacted = true;
    CHECK_OK(tc_unlisten(self->cache, self->listener));
}

static void close_cache(recorder *self, const tc_event *event)
{
    (void)event;
    CHECK(!self->reacted);
    self->reacted = true;
    CHECK_OK(tc_close(self->cache));
    CHECK(state_of(self->cache) == TC_STATE_CLOSED);
}

static void free_cache(recorder *self, const tc_event *event)
{
    (void)event;
    CHECK(!self->reacted);
    self->reacted = true;
    tc_free(self->cache);
}

static void free_client(recorder *self, const tc_event *event)
{
    (void)event;
    if (!self->reacted) {
        self->reacted = true;
        tc_client_free(self->client);
        self->client = NULL;
    }
}

/* Runs a cache with a listener that reacts so, until it has reacted to `until`; the cache is freed here unless the
 * listener has done so. */
static void react(void (*reaction)(recorder *, const tc_event *), int32_t until, bool frees_cache)
{
    recorder events = RECORDER;
    events.client = new_client();
    events.cache = new_cache(events.client, "/c/still");
    events.react = reaction;
    CHECK_OK(tc_listen(events.cache, on_event, &events, on_free, &events.listener));
    CHECK_OK(tc_start(events.cache));
    WAIT_UNTIL(read_count(&events, &events.reactions[until]) == 1);
    if (!frees_cache)
        tc_free(events.cache);
    check_freed_once(&events);
    tc_client_free(events.client);
}

static void a_callback_may_read_but_not_wait(void)
{
    react(read_and_fail_to_wait, TC_EVENT_IN_STEP, false); /* the last event: none is closed amid its calls */
}

static void a_callback_may_unlisten_itself(void)
{
    react(unlisten_self, TC_EVENT_NODE_ADDED, false);
}

static void a_callback_may_close_its_cache(void)
{
    react(close_cache, TC_EVENT_NODE_ADDED, false);
}

static void a_callback_may_free_its_cache(void)
{
    react(free_cache, TC_EVENT_NODE_ADDED, true);
}

static void a_callback_may_free_the_client(void)
{
    react(free_client, TC_EVENT_CONNECTION_LOST, false);
}

static void hold_on(recorder *self, const tc_event *event)
{
    (void)event;
    pthread_mutex_lock(&self->mutex);
    self->reacted = false;
    pthread_mutex_unlock(&self->mutex);
    sleep_ms(100);
    pthread_mutex_lock(&self->mutex);
    self->reacted = true;
    pthread_mutex_unlock(&self->mutex);
}

static void freeing_waits_for_the_running_callback(void)
{
    recorder events = RECORDER;
    tc_client *client = new_client();
    tc_cache *cache = new_cache(client, "/c/still");
    events.react = hold_on;
    CHECK_OK(tc_listen(cache, on_event, &events, on_free, &events.listener));
    CHECK_OK(tc_start(cache));
    WAIT_UNTIL(seen(&events, TC_EVENT_NODE_ADDED) >= 1);
    tc_free(cache);
    pthread_mutex_lock(&events.mutex);
    CHECK(events.reacted); /* not in the middle of its sleep */
    pthread_mutex_unlock(&events.mutex);
    int in_all = seen_in_all(&events);
    sleep_ms(NEVER_MS);
    CHECK(seen_in_all(&events) == in_all);
    check_freed_once(&events);
    tc_client_free(client);
}

/* ------------------------------------------------------------------------------------------------------------- */

static const test tests[] = {
    TEST(the_numbers_and_names_of_status_codes_hold),
    TEST(nothing_happens_when_null_is_freed),
    TEST(a_setting_is_checked_when_it_is_set),
    TEST(a_log_function_is_not_called_within_itself),
    TEST(a_constructor_tells_why_it_failed),
    TEST(a_configuration_says_why_the_last_call_with_it_failed),
    TEST(one_config_serves_clients_and_caches),
    TEST(a_client_refuses_bad_input),
    TEST(a_cache_refuses_bad_input),
    TEST(a_cache_that_was_not_started_is_empty_and_not_ready),
    TEST(a_cache_is_started_once),
    TEST(a_cache_begins_with_what_another_one_has_read),
    TEST(a_closed_cache_serves_nothing_but_what_was_handed_out),
    TEST(with_close_keep_reads_go_on_until_the_cache_is_freed),
    TEST(a_cache_closed_before_its_start_stays_closed),
    TEST(caches_outlive_their_client_and_say_that_it_is_gone),
    TEST(waiting_ends_in_time),
    TEST(closing_ends_a_wait),
    TEST(what_one_cache_has_heard_of_another_has_after_a_sync),
    TEST(stats_are_numbers_about_the_cache),
    TEST(a_missing_root_is_created_or_waited_for),
    TEST(a_tree_beyond_the_limit_is_a_fault),
    TEST(data_and_children_are_the_servers),
    TEST(without_data_there_are_names_and_stats),
    TEST(data_is_copied_into_the_callers_buffer),
    TEST(large_data_is_copied_when_there_is_room),
    TEST(a_chroot_is_the_clients_root),
    TEST(what_the_session_may_not_read_is_said_so),
    TEST(a_snapshot_is_a_cut_of_the_whole_tree),
    TEST(a_walk_has_what_may_not_be_read_and_outlives_its_snapshot),
    TEST(children_come_with_their_data),
    TEST(two_snapshots_have_a_difference),
    TEST(many_threads_may_read_at_once),
    TEST(early_and_late_listeners_are_told_of_the_whole_tree),
    TEST(a_listener_is_told_what_its_configuration_leaves),
    TEST(a_listener_of_what_is_elsewhere_is_refused),
    TEST(changes_come_as_events),
    TEST(nobody_need_have_a_free_function_or_a_user),
    TEST(a_callback_may_read_but_not_wait),
    TEST(a_fault_listener_of_a_client_can_be_removed),
    TEST(a_callback_may_unlisten_itself),
    TEST(a_callback_may_close_its_cache),
    TEST(a_callback_may_free_its_cache),
    TEST(a_callback_may_free_the_client),
    TEST(freeing_waits_for_the_running_callback),
};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: api HOSTS\n");
        return 2;
    }
    hosts = argv[1];
    return run_tests(tests, sizeof tests / sizeof *tests);
}
