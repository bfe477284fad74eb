/*
 * Every function of treecache.h as a call that can be made anywhere, and what it answers where. tests/c/run compares
 * the names with the header, so that there is none without its misuse.
 */
#ifndef CALLS_H
#define CALLS_H

#include "check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What the calls are made with: a cache of /c/still that has loaded, its queue, and a spare one that may be closed. */
typedef struct {
    tc_client *client;
    tc_cache *cache, *spare;
    tc_queue *queue;
    tc_config *config;
    const tc_snapshot *snapshot;
} world;

/* Nobody serves there. */
static const char nowhere[] = "127.0.0.1:1";

/* How often callbacks were registered, and how often their user was freed: the same in the end. */
static int registered, user_freed;

static void count_user_free(void *user)
{
    (void)user;
    __atomic_fetch_add(&user_freed, 1, __ATOMIC_SEQ_CST);
}

static void count_registration(void)
{
    __atomic_fetch_add(&registered, 1, __ATOMIC_SEQ_CST);
}

static void check_every_user_was_freed(void)
{
    WAIT_UNTIL(__atomic_load_n(&user_freed, __ATOMIC_SEQ_CST) == __atomic_load_n(&registered, __ATOMIC_SEQ_CST));
}

static void ignore_event(const tc_event *event, void *user)
{
    (void)event, (void)user;
}

static void ignore_fault(const tc_fault *fault, void *user)
{
    (void)fault, (void)user;
}

static void ignore_line(int32_t level, const char *message, void *user)
{
    (void)level, (void)message, (void)user;
}

static int32_t visit_all(const char *path, size_t path_len, const tc_node *node, void *user)
{
    (void)path, (void)path_len, (void)node, (void)user;
    return TC_WALK_CONTINUE;
}

static int32_t call_tc_version(world *w)
{
    (void)w;
    CHECK(*tc_version() != '\0');
    return TC_OK;
}

static int32_t call_tc_status_name(world *w)
{
    (void)w;
    CHECK(strcmp(tc_status_name(TC_ERR_STATE), "TC_ERR_STATE") == 0);
    return TC_OK;
}

static int32_t call_tc_config_new(world *w)
{
    (void)w;
    tc_config *config = tc_config_new();
    CHECK(config != NULL);
    tc_config_free(config);
    return TC_OK;
}

static int32_t call_tc_config_set(world *w)
{
    return tc_config_set(w->config, "limit.nodes", "0");
}

static int32_t call_tc_log_set(world *w)
{
    (void)w;
    return tc_log_set(3, ignore_line, NULL);
}

static int32_t call_tc_log_set_fd(world *w)
{
    (void)w;
    return tc_log_set_fd(3, -1);
}

static int32_t call_tc_client_new(world *w)
{
    (void)w;
    tc_client *client = NULL;
    int32_t status = tc_client_new(nowhere, NULL, &client);
    tc_client_free(client);
    return status;
}

static int32_t call_tc_client_listen_fault(world *w)
{
    uint64_t listener = 0;
    count_registration();
    int32_t status = tc_client_listen_fault(w->client, ignore_fault, w, count_user_free, &listener);
    if (status == TC_OK)
        (void)tc_client_unlisten(w->client, listener); /* all those would slow the rest down */
    return status;
}

static int32_t call_tc_client_unlisten(world *w)
{
    uint64_t listener = 0;
    count_registration();
    int32_t status = tc_client_listen_fault(w->client, ignore_fault, w, count_user_free, &listener);
    return status == TC_OK ? tc_client_unlisten(w->client, listener) : status;
}

static int32_t call_tc_new(world *w)
{
    tc_cache *cache = NULL;
    int32_t status = tc_new(w->client, "/c/still", w->config, &cache);
    tc_free(cache);
    return status;
}

static int32_t call_tc_start(world *w)
{
    return tc_start(w->cache);
}

static int32_t call_tc_attach(world *w)
{
    (void)w;
    tc_cache *cache = NULL;
    int32_t status = tc_attach("/dev/shm/no-such-tree", NULL, &cache);
    tc_free(cache);
    return status;
}

/* An error is told where there is one, and has its status. */
static int32_t told(int32_t status, const tc_error *const *error)
{
    CHECK((*error == NULL) == (status == TC_OK) && (*error == NULL || (*error)->status == status));
    tc_error_free(*error);
    return status;
}

static int32_t call_tc_start_or_error(world *w)
{
    const tc_error *error = NULL;
    return told(tc_start_or_error(w->cache, &error), &error);
}

static int32_t call_tc_start_from_or_error(world *w)
{
    const tc_error *error = NULL;
    return told(tc_start_from_or_error(w->cache, w->snapshot, &error), &error);
}

static int32_t call_tc_wait_initialized_or_error(world *w)
{
    const tc_error *error = NULL;
    return told(tc_wait_initialized_or_error(w->cache, 0, &error), &error);
}

static int32_t call_tc_sync_or_error(world *w)
{
    const tc_error *error = NULL;
    return told(tc_sync_or_error(w->cache, LONG_MS, &error), &error);
}

static int32_t call_tc_start_from(world *w)
{
    return tc_start_from(w->cache, w->snapshot);
}

static int32_t call_tc_wait_initialized(world *w)
{
    return tc_wait_initialized(w->cache, 0);
}

static int32_t call_tc_is_initialized(world *w)
{
    return tc_is_initialized(w->cache) ? TC_OK : TC_ERR_NOT_READY;
}

static int32_t call_tc_sync(world *w)
{
    return tc_sync(w->cache, LONG_MS);
}

static int32_t call_tc_get_stats(world *w)
{
    const tc_stats *stats = NULL;
    int32_t status = tc_get_stats(w->cache, &stats);
    tc_stats_free(stats);
    return status;
}

static int32_t call_tc_get_fault(world *w)
{
    const tc_fault *fault = NULL;
    int32_t status = tc_get_fault(w->cache, &fault);
    tc_fault_free(fault);
    return status;
}

static int32_t call_tc_get_state(world *w)
{
    int32_t state = -1;
    int64_t age_ms = -1;
    return tc_get_state(w->cache, &state, &age_ms);
}

static int32_t call_tc_close(world *w)
{
    return tc_close(w->spare);
}

static int32_t call_tc_free(world *w)
{
    tc_cache *cache = NULL;
    int32_t status = tc_new(w->client, "/c/still", NULL, &cache);
    if (status == TC_OK)
        status = tc_start(cache);
    tc_free(cache);
    return status;
}

static int32_t call_tc_unlisten(world *w)
{
    uint64_t listener = 0;
    count_registration();
    int32_t status = tc_listen(w->cache, ignore_event, w, count_user_free, &listener);
    return status == TC_OK ? tc_unlisten(w->cache, listener) : status;
}

static int32_t call_tc_listen(world *w)
{
    uint64_t listener = 0;
    count_registration();
    int32_t status = tc_listen(w->cache, ignore_event, w, count_user_free, &listener);
    if (status == TC_OK)
        (void)tc_unlisten(w->cache, listener);
    return status;
}

static int32_t call_tc_listen_with(world *w)
{
    uint64_t listener = 0;
    tc_config *config = tc_config_new();
    count_registration();
    int32_t status = tc_config_set(config, "listen.under", "/c/still/a");
    if (status == TC_OK)
        status = tc_listen_with(w->cache, config, ignore_event, w, count_user_free, &listener);
    if (status == TC_OK)
        (void)tc_unlisten(w->cache, listener);
    tc_config_free(config);
    return status;
}

static int32_t call_tc_listen_fault(world *w)
{
    uint64_t listener = 0;
    count_registration();
    int32_t status = tc_listen_fault(w->cache, ignore_fault, w, count_user_free, &listener);
    if (status == TC_OK)
        (void)tc_unlisten(w->cache, listener);
    return status;
}

static int32_t call_tc_get_data(world *w)
{
    const tc_node *node = NULL;
    int32_t status = tc_get_data(w->cache, "/c/still/a", &node);
    tc_node_free(node);
    return status;
}

static int32_t call_tc_copy_data(world *w)
{
    uint8_t buffer[1];
    size_t data_len = 4711;
    int32_t status = tc_copy_data(w->cache, "/c/still/a", buffer, sizeof buffer, &data_len, NULL);
    CHECK(status != TC_OK ? data_len == 4711 : data_len == 1 && *buffer == '1');
    return status;
}

static int32_t call_tc_get_children(world *w)
{
    const tc_children *children = NULL;
    int32_t status = tc_get_children(w->cache, "/c/still", &children);
    tc_children_free(children);
    return status;
}

static int32_t call_tc_get_snapshot(world *w)
{
    const tc_snapshot *snapshot = NULL;
    int32_t status = tc_get_snapshot(w->cache, &snapshot);
    tc_snapshot_free(snapshot);
    return status;
}

static int32_t call_tc_snapshot_zxid(world *w)
{
    CHECK(tc_snapshot_zxid(w->snapshot) > 0);
    return TC_OK;
}

static int32_t call_tc_snapshot_is_cut(world *w)
{
    CHECK(tc_snapshot_is_cut(w->snapshot));
    return TC_OK;
}

static int32_t call_tc_snapshot_len(world *w)
{
    CHECK(tc_snapshot_len(w->snapshot) == 6);
    return TC_OK;
}

static int32_t call_tc_snapshot_root(world *w)
{
    CHECK(strcmp(tc_snapshot_root(w->snapshot), "/c/still") == 0);
    return TC_OK;
}

static int32_t call_tc_snapshot_get_data(world *w)
{
    const tc_node *node = NULL;
    int32_t status = tc_snapshot_get_data(w->snapshot, "/c/still/a", &node);
    CHECK(status == TC_OK && node->data_len == 1 && *node->data == '1');
    tc_node_free(node);
    return status;
}

static int32_t call_tc_snapshot_copy_data(world *w)
{
    uint8_t buffer[1];
    size_t data_len = 0;
    tc_stat stat;
    int32_t status = tc_snapshot_copy_data(w->snapshot, "/c/still/a", buffer, sizeof buffer, &data_len, &stat);
    CHECK(status == TC_OK && data_len == 1 && *buffer == '1' && stat.data_length == 1);
    return status;
}

static int32_t call_tc_snapshot_get_children(world *w)
{
    const tc_children *children = NULL;
    int32_t status = tc_snapshot_get_children(w->snapshot, "/c/still", &children);
    CHECK(status == TC_OK && children->len == 3);
    tc_children_free(children);
    return status;
}

static int32_t call_tc_snapshot_walk(world *w)
{
    return tc_snapshot_walk(w->snapshot, "/c/still", visit_all, NULL);
}

static int32_t visit_change(const tc_event *change, void *user)
{
    (void)change, (void)user;
    return TC_WALK_CONTINUE;
}

static int32_t call_tc_snapshot_diff(world *w)
{
    return tc_snapshot_diff(w->snapshot, w->snapshot, visit_change, NULL);
}

static int32_t call_tc_snapshot_get_children_data(world *w)
{
    const tc_children_data *children = NULL;
    int32_t status = tc_snapshot_get_children_data(w->snapshot, "/c/still", &children);
    CHECK(status == TC_OK && children->len == 3 && *children->nodes[0]->data == '1');
    tc_children_data_free(children);
    return status;
}

static int32_t call_tc_get_children_data(world *w)
{
    const tc_children_data *children = NULL;
    int32_t status = tc_get_children_data(w->cache, "/c/still", &children);
    tc_children_data_free(children);
    return status;
}

static int32_t call_tc_config_get_error(world *w)
{
    const tc_error *error = NULL;
    int32_t status = tc_config_get_error(w->config, &error);
    tc_error_free(error);
    return status;
}

static int32_t call_tc_queue_open(world *w)
{
    tc_queue *queue = NULL;
    int32_t status = tc_queue_open(w->cache, w->config, &queue);
    tc_queue_free(queue);
    return status;
}

static int32_t call_tc_queue_close(world *w)
{
    tc_queue *queue = NULL;
    int32_t status = tc_queue_open(w->cache, NULL, &queue);
    if (status == TC_OK)
        status = tc_queue_close(queue);
    tc_queue_free(queue);
    return status;
}

/* The queue is everybody's: another thread may have taken out what was there, or woken this one. */
static int32_t unless_idle(int32_t status)
{
    return status == TC_ERR_TIMEOUT || status == TC_ERR_INTERRUPTED ? TC_OK : status;
}

static int32_t call_tc_queue_next(world *w)
{
    const tc_item *item = NULL;
    int32_t status = tc_queue_next(w->queue, 0, &item);
    CHECK((status == TC_OK) == (tc_item_event(item) != NULL) && tc_item_fault(item) == NULL);
    tc_item_free(item);
    return unless_idle(status);
}

static int32_t call_tc_queue_next_or_error(world *w)
{
    const tc_item *item = NULL;
    const tc_error *error = NULL;
    int32_t status = told(tc_queue_next_or_error(w->queue, 0, &item, &error), &error);
    tc_item_free(item);
    return unless_idle(status);
}

static int32_t call_tc_queue_drain(world *w)
{
    const tc_item *items[4];
    size_t count = 0;
    int32_t status = tc_queue_drain(w->queue, items, 4, &count);
    while (count > 0)
        tc_item_free(items[--count]);
    return status;
}

static int32_t call_tc_queue_fd(world *w)
{
    int32_t fd = -1;
    return tc_queue_fd(w->queue, &fd);
}

static int32_t call_tc_queue_wake(world *w)
{
    return tc_queue_wake(w->queue);
}

static int32_t call_tc_client_new_or_error(world *w)
{
    (void)w;
    tc_client *client = NULL;
    const tc_error *error = NULL;
    int32_t status = tc_client_new_or_error(nowhere, NULL, &client, &error);
    CHECK((error == NULL) == (status == TC_OK));
    tc_error_free(error);
    tc_client_free(client);
    return status;
}

static int32_t call_tc_new_or_error(world *w)
{
    tc_cache *cache = NULL;
    const tc_error *error = NULL;
    int32_t status = tc_new_or_error(w->client, "/c/still", w->config, &cache, &error);
    CHECK(status == TC_OK ? error == NULL : error->status == status);
    tc_error_free(error);
    tc_free(cache);
    return status;
}

static int32_t call_tc_queue_open_or_error(world *w)
{
    tc_queue *queue = NULL;
    const tc_error *error = NULL;
    int32_t status = tc_queue_open_or_error(w->cache, w->config, &queue, &error);
    CHECK(status == TC_OK ? error == NULL : error->status == status);
    tc_error_free(error);
    tc_queue_free(queue);
    return status;
}

static int32_t call_tc_walk_new(world *w)
{
    tc_walk *walk = NULL;
    int32_t status = tc_walk_new(w->snapshot, "/c/still", &walk);
    tc_walk_free(walk);
    return status;
}

static int32_t call_tc_walk_next(world *w)
{
    tc_walk *walk = NULL;
    const tc_visit *visit = NULL;
    int nodes = 0;
    CHECK_OK(tc_walk_new(w->snapshot, "/c/still", &walk));
    int32_t status;
    while ((status = tc_walk_next(walk, &visit)) == TC_OK && visit != NULL)
        nodes++;
    CHECK(nodes == 6);
    tc_walk_free(walk);
    return status;
}

static int32_t call_tc_walk_skip(world *w)
{
    tc_walk *walk = NULL;
    const tc_visit *visit = NULL;
    CHECK_OK(tc_walk_new(w->snapshot, "/c/still", &walk));
    CHECK_OK(tc_walk_next(walk, &visit));
    int32_t status = tc_walk_skip(walk);
    CHECK(strcmp(visit->path, "/c/still") == 0); /* still lent */
    CHECK(tc_walk_next(walk, &visit) == TC_OK && visit == NULL);
    tc_walk_free(walk);
    return status;
}

/* The free functions and those of items are called by the calls above. */
#define call_tc_config_free call_tc_config_new
#define call_tc_client_free call_tc_client_new
#define call_tc_node_free call_tc_snapshot_get_data
#define call_tc_children_free call_tc_snapshot_get_children
#define call_tc_stats_free call_tc_get_stats
#define call_tc_fault_free call_tc_get_fault
#define call_tc_snapshot_free call_tc_get_snapshot
#define call_tc_children_data_free call_tc_snapshot_get_children_data
#define call_tc_walk_free call_tc_walk_new
#define call_tc_error_free call_tc_config_get_error
#define call_tc_queue_free call_tc_queue_open
#define call_tc_item_event call_tc_queue_next
#define call_tc_item_fault call_tc_queue_next
#define call_tc_item_free call_tc_queue_next

typedef struct {
    const char *name;
    int32_t (*make)(world *w);
    int32_t open;        /* on a thread of the program */
    int32_t in_callback; /* on a thread of the library */
    int32_t closed;      /* after tc_close on the cache */
    int32_t forked;      /* in the child of a fork, with what the parent made */
} tc_call;

#define CALL(name, open, in_callback, closed, forked) {#name, call_##name, open, in_callback, closed, forked}

static const tc_call calls[] = {
    CALL(tc_version, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_status_name, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_config_new, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_config_set, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_config_get_error, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_error_free, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_config_free, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_log_set, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_log_set_fd, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_client_new, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_client_new_or_error, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_client_listen_fault, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_client_unlisten, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_client_free, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_new, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_new_or_error, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_attach, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_start, TC_ERR_STATE, TC_ERR_STATE, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_start_or_error, TC_ERR_STATE, TC_ERR_STATE, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_start_from_or_error, TC_ERR_STATE, TC_ERR_STATE, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_wait_initialized_or_error, TC_OK, TC_ERR_WOULD_DEADLOCK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_sync_or_error, TC_OK, TC_ERR_WOULD_DEADLOCK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_get_fault, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_fault_free, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_start_from, TC_ERR_STATE, TC_ERR_STATE, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_wait_initialized, TC_OK, TC_ERR_WOULD_DEADLOCK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_is_initialized, TC_OK, TC_OK, TC_ERR_NOT_READY, TC_ERR_NOT_READY),
    CALL(tc_sync, TC_OK, TC_ERR_WOULD_DEADLOCK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_get_state, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_get_stats, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_stats_free, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_close, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_free, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_listen, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_listen_with, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_listen_fault, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_unlisten, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_get_data, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_copy_data, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_node_free, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_get_children, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_children_free, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_get_children_data, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_children_data_free, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_get_snapshot, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_snapshot_zxid, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_is_cut, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_len, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_root, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_get_data, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_copy_data, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_get_children, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_walk, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_get_children_data, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_diff, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_snapshot_free, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_walk_new, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_walk_next, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_walk_skip, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_walk_free, TC_OK, TC_OK, TC_OK, TC_OK),
    CALL(tc_queue_open, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_queue_open_or_error, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_queue_next_or_error, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_queue_next, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_item_event, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_item_fault, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_item_free, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_queue_drain, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_queue_fd, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_queue_wake, TC_OK, TC_OK, TC_OK, TC_ERR_STATE),
    CALL(tc_queue_close, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
    CALL(tc_queue_free, TC_OK, TC_OK, TC_ERR_CLOSED, TC_ERR_STATE),
};
enum { CALLS = sizeof calls / sizeof *calls };

/* Makes every call once; each answers what the table says in `column`, or in `or`. */
#define MAKE_EVERY_CALL(w, column, or)                                                                             \
    do {                                                                                                           \
        for (int at = 0; at < CALLS; at++) {                                                                       \
            int32_t answer = calls[at].make(w);                                                                    \
            if (answer != calls[at].column && answer != calls[at].or) {                                            \
                fprintf(stderr, "%s:%d: %s (%s): %s\n", __FILE__, __LINE__, calls[at].name, #column,               \
                        tc_status_name(answer));                                                                   \
                COUNT_FAILURE();                                                                                   \
            }                                                                                                      \
        }                                                                                                          \
    } while (0)

static void open_world(world *w, const char *hosts)
{
    int32_t fd = -1;
    w->config = tc_config_new();
    CHECK_OK(tc_client_new(hosts, w->config, &w->client));
    CHECK_OK(tc_new(w->client, "/c/still", w->config, &w->cache));
    CHECK_OK(tc_new(w->client, "/c/still", w->config, &w->spare));
    CHECK_OK(tc_start(w->cache));
    CHECK_OK(tc_start(w->spare));
    CHECK_OK(tc_wait_initialized(w->cache, LONG_MS));
    CHECK_OK(tc_get_snapshot(w->cache, &w->snapshot));
    CHECK_OK(tc_queue_open(w->cache, NULL, &w->queue));
    CHECK_OK(tc_queue_fd(w->queue, &fd));
}

static void free_world(world *w)
{
    tc_snapshot_free(w->snapshot);
    tc_queue_free(w->queue);
    tc_free(w->cache);
    tc_client_free(w->client);
    tc_free(w->spare);
    tc_config_free(w->config);
}

#endif
