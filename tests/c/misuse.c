/*
 * What a program should not do and does: every function from callbacks, from many threads at once, during and after a
 * close, with handles that another thread closes or frees.
 *
 *     misuse HOSTS [ROUNDS]
 *     misuse --calls           the functions that are called
 *
 * Expects the tree of tree.py on the server. ROUNDS is how often each of the threads makes every call.
 */
#define _POSIX_C_SOURCE 200809L

#include "calls.h"

#include <pthread.h>

enum { THREADS = 16 };

static const char *hosts;
static int rounds = 20;

/* A flag that is raised on one thread and looked at on another. */
typedef struct {
    int raised;
} flag;

static void raise_flag(flag *self)
{
    __atomic_store_n(&self->raised, 1, __ATOMIC_SEQ_CST);
}

static bool is_raised(flag *self)
{
    return __atomic_load_n(&self->raised, __ATOMIC_SEQ_CST) != 0;
}

static pthread_t run_thread(void *(*run)(void *), void *user)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, user) == 0);
    return thread;
}

/* --- From callbacks ------------------------------------------------------------------------------------------ */

typedef struct {
    world *w;
    flag made;
} caller;

static void call_from_event(const tc_event *event, void *user)
{
    caller *self = user;
    if (event->type == TC_EVENT_INITIALIZED) {
        MAKE_EVERY_CALL(self->w, in_callback, in_callback);
        raise_flag(&self->made);
    }
}

static void call_from_fault(const tc_fault *fault, void *user)
{
    caller *self = user;
    CHECK(fault->status == TC_ERR_CONNECTION);
    if (!is_raised(&self->made)) {
        MAKE_EVERY_CALL(self->w, in_callback, in_callback);
        raise_flag(&self->made);
    }
}

static void call_from_user_free(void *user)
{
    caller *self = user;
    MAKE_EVERY_CALL(self->w, open, in_callback); /* it runs where the last call was, or where it was taken away */
    raise_flag(&self->made);
}

static int32_t call_from_visit(const char *path, size_t path_len, const tc_node *node, void *user)
{
    caller *self = user;
    (void)path, (void)path_len, (void)node;
    MAKE_EVERY_CALL(self->w, open, open);
    raise_flag(&self->made);
    return TC_WALK_CONTINUE;
}

static void every_function_is_called_from_every_kind_of_callback(void)
{
    world w;
    uint64_t listener = 0;
    open_world(&w, hosts);

    caller event = {.w = &w}, freed = {.w = &w}, fault = {.w = &w}, visit = {.w = &w};
    CHECK_OK(tc_listen(w.cache, call_from_event, &event, NULL, &listener));
    WAIT_UNTIL(is_raised(&event.made));
    CHECK_OK(tc_unlisten(w.cache, listener));

    CHECK_OK(tc_listen(w.cache, ignore_event, &freed, call_from_user_free, &listener));
    CHECK_OK(tc_unlisten(w.cache, listener));
    WAIT_UNTIL(is_raised(&freed.made));
    freed.made.raised = 0;
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_listen(w.cache, NULL, &freed, call_from_user_free, &listener));
    CHECK(is_raised(&freed.made));

    tc_client *faulty = NULL;
    CHECK_OK(tc_client_new(nowhere, NULL, &faulty));
    CHECK_OK(tc_client_listen_fault(faulty, call_from_fault, &fault, NULL, &listener));
    WAIT_UNTIL(is_raised(&fault.made));
    tc_client_free(faulty);

    CHECK_OK(tc_snapshot_walk(w.snapshot, "/c/still/a/x", call_from_visit, &visit));
    CHECK(is_raised(&visit.made));
    free_world(&w);
    check_every_user_was_freed();
}

/* Closes the cache, and listens again while its listeners are being let go. */
static void close_and_listen_again(void *user)
{
    caller *self = user;
    uint64_t listener = 0;
    CHECK_OK(tc_close(self->w->cache));
    count_registration();
    CHECK_STATUS(TC_ERR_CLOSED, tc_listen(self->w->cache, ignore_event, NULL, count_user_free, &listener));
    raise_flag(&self->made);
}

static void a_listener_that_is_let_go_may_call_back(void)
{
    world w;
    uint64_t listener = 0;
    open_world(&w, hosts);
    caller closed = {.w = &w};
    CHECK_OK(tc_listen(w.cache, ignore_event, &closed, close_and_listen_again, &listener));
    CHECK_OK(tc_close(w.cache));
    WAIT_UNTIL(is_raised(&closed.made));
    free_world(&w);
    check_every_user_was_freed();
}

/* What a callback frees: all that there is, the cache it is called for last. */
typedef struct {
    tc_client *client;
    tc_cache *cache, *other;
    uint64_t listener;
    flag returned, freed;
} doomed;

static void free_all(const tc_event *event, void *user)
{
    doomed *self = user;
    (void)event;
    CHECK(!is_raised(&self->returned)); /* none starts after it is closed */
    tc_free(self->other);
    tc_client_free(self->client);
    tc_free(self->cache);
    CHECK(!is_raised(&self->freed)); /* not before the callback has returned */
    raise_flag(&self->returned);
}

static void free_all_of_fault(const tc_fault *fault, void *user)
{
    (void)fault;
    free_all(NULL, user);
}

static void note_free(void *user)
{
    doomed *self = user;
    CHECK(is_raised(&self->returned));
    raise_flag(&self->freed);
}

static void a_callback_may_free_everything(void)
{
    for (int round = 0; round < rounds; round++) {
        doomed all = {0};
        uint64_t listener = 0;
        bool on_fault = round % 2;
        CHECK_OK(tc_client_new(on_fault ? nowhere : hosts, NULL, &all.client));
        CHECK_OK(tc_new(all.client, "/c/still", NULL, &all.cache));
        CHECK_OK(tc_new(all.client, "/c/moving", NULL, &all.other));
        count_registration();
        CHECK_OK(tc_listen(all.other, ignore_event, NULL, count_user_free, &listener));
        if (on_fault)
            CHECK_OK(tc_listen_fault(all.cache, free_all_of_fault, &all, note_free, &listener));
        else
            CHECK_OK(tc_listen(all.cache, free_all, &all, note_free, &listener));
        CHECK_OK(tc_start(all.other));
        CHECK_OK(tc_start(all.cache));
        WAIT_UNTIL(is_raised(&all.freed));
    }
    check_every_user_was_freed();
}

/* A user_free that frees the cache from which its listener was taken. */
static void free_cache_of_listener(void *user)
{
    doomed *self = user;
    tc_free(self->cache);
    raise_flag(&self->freed);
}

static void unlisten_self(const tc_event *event, void *user)
{
    doomed *self = user;
    (void)event;
    CHECK(!is_raised(&self->returned));
    CHECK_OK(tc_unlisten(self->cache, self->listener));
    raise_flag(&self->returned);
}

static void a_listener_that_is_let_go_may_free_its_cache(void)
{
    enum { CLOSE, UNLISTEN, UNLISTEN_IN_CALLBACK, WAYS };
    tc_client *client = NULL;
    CHECK_OK(tc_client_new(hosts, NULL, &client));
    for (int way = 0; way < WAYS; way++) {
        doomed it = {0};
        uint64_t listener = 0;
        CHECK_OK(tc_new(client, "/c/still", NULL, &it.cache));
        tc_event_fn on_event = way == UNLISTEN_IN_CALLBACK ? unlisten_self : ignore_event;
        CHECK_OK(tc_listen(it.cache, ignore_event, NULL, NULL, &listener));
        CHECK_OK(tc_unlisten(it.cache, listener));
        if (way == UNLISTEN_IN_CALLBACK)
            it.listener = listener + 1; /* known before the first call: the ids of a cache follow each other */
        CHECK_OK(tc_listen(it.cache, on_event, &it, free_cache_of_listener, &listener));
        if (way == CLOSE)
            CHECK_OK(tc_close(it.cache));
        else if (way == UNLISTEN)
            CHECK_OK(tc_unlisten(it.cache, listener));
        else
            CHECK_OK(tc_start(it.cache));
        WAIT_UNTIL(is_raised(&it.freed));
    }
    tc_client_free(client);
}

/* --- From many threads --------------------------------------------------------------------------------------- */

static void *make_calls(void *user)
{
    for (int round = 0; round < rounds; round++)
        MAKE_EVERY_CALL((world *)user, open, open);
    return NULL;
}

static void every_function_is_called_from_16_threads_at_once(void)
{
    world w;
    pthread_t threads[THREADS];
    open_world(&w, hosts);
    for (int i = 0; i < THREADS; i++)
        threads[i] = run_thread(make_calls, &w);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    free_world(&w);
    check_every_user_was_freed();
}

static void *make_calls_until_closed(void *user)
{
    caller *self = user;
    bool was_closed;
    do {
        was_closed = is_raised(&self->made);
        MAKE_EVERY_CALL(self->w, open, closed);
    } while (!was_closed);
    MAKE_EVERY_CALL(self->w, closed, closed);
    return NULL;
}

static void every_function_is_called_while_another_thread_closes(void)
{
    world w;
    pthread_t threads[THREADS];
    open_world(&w, hosts);
    caller closing = {.w = &w};
    for (int i = 0; i < THREADS; i++)
        threads[i] = run_thread(make_calls_until_closed, &closing);
    sleep_ms(20);
    CHECK_OK(tc_close(w.cache));
    raise_flag(&closing.made);
    MAKE_EVERY_CALL(&w, closed, closed);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    free_world(&w);
    check_every_user_was_freed();
}

static void *wait_for_ever(void *cache)
{
    CHECK_STATUS(TC_ERR_CLOSED, tc_wait_initialized(cache, -1));
    return NULL;
}

static void *read_until_closed(void *user)
{
    tc_cache *cache = user;
    const tc_node *node = NULL;
    while (tc_get_data(cache, "/c/still", &node) == TC_OK) {
        CHECK(node->data_len == 4);
        tc_node_free(node);
    }
    CHECK_STATUS(TC_ERR_CLOSED, tc_get_data(cache, "/c/still", &node));
    return NULL;
}

static void who_uses_a_handle_that_another_thread_closes_is_told(void)
{
    world w;
    pthread_t readers[THREADS], waiters[THREADS];
    tc_client *waiting = NULL;
    tc_cache *never = NULL, *orphan = NULL;
    open_world(&w, hosts);
    CHECK_OK(tc_client_new(nowhere, NULL, &waiting));
    CHECK_OK(tc_new(waiting, "/never", NULL, &never));
    CHECK_OK(tc_new(waiting, "/orphan", NULL, &orphan));
    CHECK_OK(tc_start(never));
    CHECK_OK(tc_start(orphan));
    for (int i = 0; i < THREADS; i++) {
        readers[i] = run_thread(read_until_closed, w.cache);
        waiters[i] = run_thread(wait_for_ever, i % 2 ? never : orphan);
    }
    sleep_ms(50);
    CHECK_OK(tc_close(w.cache));
    CHECK_OK(tc_close(never));
    tc_client_free(waiting);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(readers[i], NULL);
        pthread_join(waiters[i], NULL);
    }
    tc_free(never);
    tc_free(orphan);
    free_world(&w);
}

static void *live_as_long_as_possible(void *user)
{
    tc_cache *cache = user;
    const tc_node *node = NULL;
    uint64_t listener = 0;
    count_registration();
    CHECK_OK(tc_listen(cache, ignore_event, NULL, count_user_free, &listener));
    int32_t started = tc_start(cache);
    CHECK(started == TC_OK || started == TC_ERR_CLOSED);
    int32_t waited = tc_wait_initialized(cache, -1);
    /* It may have been loaded before its start was refused; a cache that was not started says so. */
    CHECK(waited == TC_OK || waited == TC_ERR_CLOSED || (started != TC_OK && waited == TC_ERR_STATE));
    /* What was loaded can be read whatever becomes of the client. */
    int32_t read = tc_get_data(cache, "/c/still", &node);
    CHECK(read == TC_OK || (read == TC_ERR_NOT_READY && waited != TC_OK));
    tc_node_free(node);
    tc_free(cache);
    return NULL;
}

static void a_client_is_freed_while_its_caches_start(void)
{
    for (int round = 0; round < rounds; round++) {
        tc_client *client = NULL;
        pthread_t threads[THREADS];
        CHECK_OK(tc_client_new(hosts, NULL, &client));
        for (int i = 0; i < THREADS; i++) {
            tc_cache *cache = NULL;
            CHECK_OK(tc_new(client, "/c/still", NULL, &cache));
            threads[i] = run_thread(live_as_long_as_possible, cache);
        }
        sleep_ms(round % 5);
        tc_client_free(client);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    check_every_user_was_freed();
}

/* --- While a listener blocks --------------------------------------------------------------------------------- */

typedef struct {
    tc_cache *cache;
    flag entered, release, closed, freed;
} blocker;

static void block(const tc_event *event, void *user)
{
    blocker *self = user;
    (void)event;
    CHECK(!is_raised(&self->closed)); /* none starts after the close has returned */
    raise_flag(&self->entered);
    WAIT_UNTIL(is_raised(&self->release));
}

static void *free_cache(void *user)
{
    blocker *self = user;
    tc_free(self->cache);
    CHECK(is_raised(&self->release)); /* it has waited */
    raise_flag(&self->freed);
    return NULL;
}

static void closing_does_not_wait_for_a_listener_that_blocks_and_freeing_does(void)
{
    world w;
    uint64_t listener = 0;
    open_world(&w, hosts);
    blocker blocked = {0};
    CHECK_OK(tc_new(w.client, "/c/moving", NULL, &blocked.cache));
    CHECK_OK(tc_listen(blocked.cache, block, &blocked, NULL, &listener));
    CHECK_OK(tc_start(blocked.cache));
    WAIT_UNTIL(is_raised(&blocked.entered));
    CHECK_OK(tc_wait_initialized(blocked.cache, LONG_MS)); /* the cache does not depend on its listeners */
    CHECK_OK(tc_unlisten(blocked.cache, listener));
    CHECK_OK(tc_close(blocked.cache));
    raise_flag(&blocked.closed);
    MAKE_EVERY_CALL(&w, open, open);

    pthread_t freeing = run_thread(free_cache, &blocked);
    sleep_ms(100);
    CHECK(!is_raised(&blocked.freed));
    raise_flag(&blocked.release);
    pthread_join(freeing, NULL);
    free_world(&w);
    check_every_user_was_freed();
}

/* ------------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static void (*const tests[])(void) = {
        every_function_is_called_from_every_kind_of_callback,
        a_listener_that_is_let_go_may_call_back,
        a_callback_may_free_everything,
        a_listener_that_is_let_go_may_free_its_cache,
        every_function_is_called_from_16_threads_at_once,
        every_function_is_called_while_another_thread_closes,
        who_uses_a_handle_that_another_thread_closes_is_told,
        a_client_is_freed_while_its_caches_start,
        closing_does_not_wait_for_a_listener_that_blocks_and_freeing_does,
    };
    if (argc == 2 && strcmp(argv[1], "--calls") == 0) {
        for (int i = 0; i < CALLS; i++)
            puts(calls[i].name);
        return EXIT_SUCCESS;
    }
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: misuse HOSTS [ROUNDS] | --calls\n");
        return 2;
    }
    hosts = argv[1];
    if (argc == 3)
        rounds = atoi(argv[2]);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tests[i]();
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
