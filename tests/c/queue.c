/*
 * Event queues from C: what comes out of them, waiting for them in every way, and taking from them in threads.
 *
 *     queue HOSTS
 *
 * Expects the tree of tree.py on the server.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *hosts;

static tc_cache *new_cache(tc_client *client, const char *path)
{
    tc_cache *cache = NULL;
    CHECK_OK(tc_new(client, path, NULL, &cache));
    return cache;
}

static tc_queue *open_queue(tc_cache *cache, const char *key, const char *value)
{
    tc_queue *queue = NULL;
    tc_config *config = tc_config_new();
    if (key != NULL)
        CHECK_OK(tc_config_set(config, key, value));
    CHECK_OK(tc_queue_open(cache, config, &queue));
    tc_config_free(config);
    return queue;
}

static int fd_of(tc_queue *queue)
{
    int32_t fd = -1;
    CHECK_OK(tc_queue_fd(queue, &fd));
    CHECK(fd >= 0);
    return fd;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    return poll(&wanted, 1, timeout_ms) == 1 && wanted.revents == POLLIN;
}

/* --- Content ------------------------------------------------------------------------------------------------- */

static void the_tree_so_far_comes_first_and_items_outlive_everything(void)
{
    static const char *const paths[] = {
        "/c/still", "/c/still/a", "/c/still/a/x", "/c/still/a/y", "/c/still/b", "/c/still/größe", NULL,
    };
    enum { EVENTS = sizeof paths / sizeof *paths };
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    tc_cache *cache = new_cache(client, "/c/still");
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));

    tc_queue *queue = open_queue(cache, NULL, NULL);
    const tc_item *items[EVENTS];
    for (int i = 0; i < EVENTS; i++)
        CHECK_OK(tc_queue_next(queue, LONG_MS, &items[i]));
    tc_queue_free(queue);
    tc_free(cache);
    tc_client_free(client);

    for (int i = 0; i < EVENTS; i++) {
        const tc_event *event = tc_item_event(items[i]);
        CHECK(event != NULL && tc_item_fault(items[i]) == NULL);
        if (paths[i] == NULL) {
            CHECK(event->type == TC_EVENT_INITIALIZED && event->path == NULL && event->stat == NULL);
        } else {
            CHECK(event->type == TC_EVENT_NODE_ADDED && strcmp(event->path, paths[i]) == 0);
            CHECK(event->path_len == strlen(paths[i]) && event->data_len == (size_t)event->stat->data_length);
            bool is_last = paths[i + 1] == NULL;
            CHECK(event->flags == (is_last ? TC_EVENT_LAST_OF_VERSION : 0));
        }
        tc_item_free(items[i]);
    }
}

static void changes_come_in_order(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    tc_cache *cache = new_cache(client, "/c/moving");
    tc_queue *queue = open_queue(cache, NULL, NULL);
    CHECK_OK(tc_start(cache));
    int64_t last_zxid = 0;
    int updates = 0, blinks = 0;
    bool is_on = false;
    while (updates < 10 || blinks < 4) {
        const tc_item *item = NULL;
        CHECK_OK(tc_queue_next(queue, LONG_MS, &item));
        const tc_event *event = tc_item_event(item);
        if (event == NULL)
            break;
        CHECK(event->zxid >= last_zxid || event->zxid == 0);
        last_zxid = event->zxid > 0 ? event->zxid : last_zxid;
        if (event->type == TC_EVENT_NODE_UPDATED) {
            CHECK(strcmp(event->path, "/c/moving/beat") == 0 && event->old_stat->mzxid < event->stat->mzxid);
            updates++;
        } else if (event->path != NULL && strcmp(event->path, "/c/moving/blink") == 0) {
            CHECK(is_on == (event->type == TC_EVENT_NODE_REMOVED));
            is_on = event->type == TC_EVENT_NODE_ADDED;
            blinks++;
        }
        tc_item_free(item);
    }
    tc_free(cache);
    tc_queue_free(queue);
    tc_client_free(client);
}

static void faults_are_in_it_where_they_are_wanted(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new("127.0.0.1:1", NULL, &client));
    tc_cache *cache = new_cache(client, "/c");
    tc_queue *both = open_queue(cache, "queue.faults", "true"), *events = open_queue(cache, NULL, NULL);
    CHECK_OK(tc_start(cache));
    const tc_item *item = NULL;
    CHECK_OK(tc_queue_next(both, LONG_MS, &item));
    const tc_fault *fault = tc_item_fault(item);
    CHECK(tc_item_event(item) == NULL && fault != NULL);
    CHECK(fault->status == TC_ERR_CONNECTION && strstr(fault->message, "127.0.0.1:1") != NULL);
    tc_item_free(item);
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_queue_next(events, 0, &item));
    tc_queue_free(both);
    tc_queue_free(events);
    tc_free(cache);
    tc_client_free(client);
}

/* --- Waiting ------------------------------------------------------------------------------------------------- */

static void a_descriptor_is_readable_while_there_is_something_to_take(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    tc_cache *cache = new_cache(client, "/c/still");
    tc_queue *queue = open_queue(cache, NULL, NULL);
    int fd = fd_of(queue);
    CHECK(fd == fd_of(queue) && !is_readable(fd, 0));
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);

    CHECK_OK(tc_start(cache));
    int events = 0;
    for (bool in_step = false; !in_step && is_readable(fd, LONG_MS);) {
        const tc_item *items[2];
        size_t count = 0;
        CHECK_OK(tc_queue_drain(queue, items, 2, &count));
        for (size_t i = 0; i < count; i++) {
            in_step = in_step || tc_item_event(items[i])->type == TC_EVENT_IN_STEP;
            tc_item_free(items[i]);
            events++;
        }
    }
    CHECK(events == 8 && !is_readable(fd, 0));

    const tc_item *item = NULL;
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_queue_next(queue, 0, &item));
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_queue_next(queue, 20, &item));
    CHECK_OK(tc_queue_wake(queue));
    CHECK(is_readable(fd, 0));
    CHECK_STATUS(TC_ERR_INTERRUPTED, tc_queue_next(queue, -1, &item));
    CHECK(!is_readable(fd, 0) && item == NULL);

    tc_client_free(client);
    CHECK(is_readable(fd, 0));
    CHECK_OK(tc_queue_next(queue, -1, &item));
    CHECK(tc_item_event(item)->type == TC_EVENT_CONNECTION_LOST);
    tc_item_free(item);
    CHECK_STATUS(TC_ERR_CLOSED, tc_queue_next(queue, -1, &item));
    CHECK(is_readable(fd, 0));
    tc_queue_free(queue);
    CHECK(fcntl(fd, F_GETFD) == -1);
    tc_free(cache);
}

/* What threads together have taken out of a queue. */
typedef struct {
    tc_queue *queue;
    int taken, interrupted, ended;
    int32_t end;
} takers;

static void count(int *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static int read_count(const int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static void *take_until_closed(void *user)
{
    takers *self = user;
    for (;;) {
        const tc_item *item = NULL;
        int32_t status = tc_queue_next(self->queue, -1, &item);
        if (status != TC_OK && status != TC_ERR_INTERRUPTED) {
            __atomic_store_n(&self->end, status, __ATOMIC_SEQ_CST);
            count(&self->ended);
            return NULL;
        }
        count(status == TC_OK ? &self->taken : &self->interrupted);
        tc_item_free(item);
    }
}

static void a_descriptor_is_readable_for_what_is_wanted_only(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    tc_cache *cache = new_cache(client, "/c/moving");
    tc_queue *still = NULL, *moving = NULL, *all = open_queue(cache, NULL, NULL);
    const tc_item *item = NULL;
    CHECK_OK(tc_start(cache));
    /* A queue that is opened behind IN_STEP is not told of it. */
    for (bool in_step = false; !in_step;) {
        int32_t status = tc_queue_next(all, LONG_MS, &item);
        CHECK_OK(status);
        if (status != TC_OK)
            break;
        in_step = tc_item_event(item)->type == TC_EVENT_IN_STEP;
        tc_item_free(item);
    }
    tc_queue_free(all);
    tc_config *config = tc_config_new();
    CHECK_OK(tc_config_set(config, "listen.initial", "false"));
    CHECK_OK(tc_config_set(config, "listen.events", "updated,connection"));
    CHECK_OK(tc_queue_open(cache, config, &moving));
    CHECK_OK(tc_config_set(config, "listen.under", "/c/moving/elsewhere"));
    CHECK_OK(tc_queue_open(cache, config, &still));
    tc_config_free(config);
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_queue_next(still, 0, &item));
    int readable = 0;
    for (int updates = 0; updates < 20; updates++) {
        CHECK_OK(tc_queue_next(moving, LONG_MS, &item));
        CHECK(tc_item_event(item)->type == TC_EVENT_NODE_UPDATED);
        tc_item_free(item);
        readable += is_readable(fd_of(still), 0);
    }
    CHECK(readable == 0);
    CHECK_STATUS(TC_ERR_TIMEOUT, tc_queue_next(still, 0, &item));
    tc_client_free(client);
    CHECK(is_readable(fd_of(still), LONG_MS));
    CHECK_OK(tc_queue_next(still, LONG_MS, &item));
    CHECK(tc_item_event(item)->type == TC_EVENT_CONNECTION_LOST);
    tc_item_free(item);
    tc_free(cache);
    tc_queue_free(still);
    tc_queue_free(moving);
}

static void threads_share_a_queue_and_are_sent_away_by_a_close(void)
{
    enum { THREADS = 4 };
    for (int round = 0; round < 3; round++) {
        tc_client *client = NULL;
        CHECK_OK(tc_client_new(hosts, NULL, &client));
        tc_cache *cache = new_cache(client, "/c/still");
        tc_queue *queue = open_queue(cache, NULL, NULL), *witness = open_queue(cache, NULL, NULL);
        takers all = {.queue = queue};
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, take_until_closed, &all) == 0);
        CHECK_OK(tc_start(cache));
        WAIT_UNTIL(read_count(&all.taken) == 8); /* 6 nodes, INITIALIZED, IN_STEP */
        CHECK(!is_readable(fd_of(queue), 0) && is_readable(fd_of(witness), 0));
        CHECK_OK(tc_queue_wake(queue));
        WAIT_UNTIL(read_count(&all.interrupted) == 1);
        CHECK(read_count(&all.ended) == 0);
        switch (round) {
        case 0: CHECK_OK(tc_queue_close(queue)); break;
        case 1: CHECK_OK(tc_close(cache)); break;
        default: tc_client_free(client); client = NULL; break;
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        CHECK_STATUS(TC_ERR_CLOSED, all.end);
        /* Where the client was freed, that is told. */
        CHECK(all.taken == (round == 2 ? 9 : 8) && all.interrupted == 1 && all.ended == THREADS);
        CHECK_OK(tc_queue_close(queue));
        tc_queue_free(queue);
        tc_free(cache);
        tc_queue_free(witness);
        tc_client_free(client);
    }
}

static void a_tree_beyond_the_limit_ends_it(void)
{
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    tc_config *config = tc_config_new();
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    CHECK_OK(tc_config_set(config, "limit.nodes", "2"));
    CHECK_OK(tc_new(client, "/c/still", config, &cache));
    tc_config_free(config);
    tc_queue *queue = open_queue(cache, NULL, NULL);
    CHECK_OK(tc_start(cache));
    takers self = {.queue = queue};
    take_until_closed(&self);
    CHECK_STATUS(TC_ERR_LIMIT, self.end);
    tc_queue_free(queue);
    tc_free(cache);
    tc_client_free(client);
}

/* --- Bad input ----------------------------------------------------------------------------------------------- */

static void a_queue_refuses_bad_input(void)
{
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    tc_cache *cache = new_cache(client, "/c/still");
    tc_queue *const untouched = (tc_queue *)&failures, *queue = untouched;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_open(NULL, NULL, &queue));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_open(cache, NULL, NULL));
    CHECK(queue == untouched);
    queue = open_queue(cache, "events.capacity", "10");

    const tc_item *item = (const tc_item *)&failures;
    size_t count = 4711;
    int32_t fd = 4711;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_next(NULL, 0, &item));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_next(queue, 0, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_next(queue, -2, &item));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_drain(NULL, &item, 1, &count));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_drain(queue, NULL, 1, &count));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_drain(queue, &item, 1, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_fd(NULL, &fd));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_fd(queue, NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_wake(NULL));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_queue_close(NULL));
    CHECK((const void *)item == &failures && count == 4711 && fd == 4711);
    CHECK_OK(tc_queue_drain(queue, &item, 0, &count));
    CHECK(count == 0);
    CHECK(tc_item_event(NULL) == NULL && tc_item_fault(NULL) == NULL);
    tc_item_free(NULL);
    tc_queue_free(NULL);

    CHECK_OK(tc_close(cache));
    tc_queue *late = untouched;
    CHECK_STATUS(TC_ERR_CLOSED, tc_queue_open(cache, NULL, &late));
    CHECK(late == untouched);
    tc_queue_free(queue);
    tc_free(cache);
    tc_client_free(client);
}

/* ------------------------------------------------------------------------------------------------------------- */

static const test tests[] = {
    TEST(the_tree_so_far_comes_first_and_items_outlive_everything),
    TEST(changes_come_in_order),
    TEST(faults_are_in_it_where_they_are_wanted),
    TEST(a_descriptor_is_readable_while_there_is_something_to_take),
    TEST(a_descriptor_is_readable_for_what_is_wanted_only),
    TEST(threads_share_a_queue_and_are_sent_away_by_a_close),
    TEST(a_tree_beyond_the_limit_ends_it),
    TEST(a_queue_refuses_bad_input),
};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: queue HOSTS\n");
        return 2;
    }
    hosts = argv[1];
    return run_tests(tests, sizeof tests / sizeof *tests);
}
