/*
 * dlclose: the library stays loaded, since its threads, and the threads that have called it, run in it.
 *
 *     unloaded LIBRARY HOSTS [alive]
 *
 * Expects the tree of tree.py on the server. With `alive`, the program ends while a client lives.
 */
#define _GNU_SOURCE

#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What is used of the library; this program is not linked with it. */
static struct {
    void *library;
    int32_t (*client_new)(const char *, const tc_config *, tc_client **);
    void (*client_free)(tc_client *);
    int32_t (*new_cache)(tc_client *, const char *, const tc_config *, tc_cache **);
    int32_t (*start)(tc_cache *);
    int32_t (*wait_initialized)(tc_cache *, int32_t);
    int32_t (*listen)(tc_cache *, tc_event_fn, void *, tc_user_free_fn, uint64_t *);
    int32_t (*get_data)(const tc_cache *, const char *, const tc_node **);
    void (*node_free)(const tc_node *);
    void (*free_cache)(tc_cache *);
} tc;

/* ISO C knows no way from an object's pointer to a function's. */
static void resolve(const char *name, void *function)
{
    void *found = dlsym(tc.library, name);
    CHECK(found != NULL);
    memcpy(function, &found, sizeof found);
}

static void load(const char *file)
{
    tc.library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (tc.library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    resolve("tc_client_new", &tc.client_new);
    resolve("tc_client_free", &tc.client_free);
    resolve("tc_new", &tc.new_cache);
    resolve("tc_start", &tc.start);
    resolve("tc_wait_initialized", &tc.wait_initialized);
    resolve("tc_listen", &tc.listen);
    resolve("tc_get_data", &tc.get_data);
    resolve("tc_node_free", &tc.node_free);
    resolve("tc_free", &tc.free_cache);
}

/* CHECK_STATUS names the answer, for which it would need the library. */
#define CHECK_DONE(call) CHECK((call) == 0)

static int updates, threads_ready;
static tc_cache *cache;
static pthread_barrier_t unloaded;

static int read_count(int *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void watch(const tc_event *event, void *user)
{
    (void)user;
    if (event->type == TC_EVENT_NODE_UPDATED)
        __atomic_fetch_add(&updates, 1, __ATOMIC_SEQ_CST);
}

static void read_once(void)
{
    const tc_node *node = NULL;
    CHECK_DONE(tc.get_data(cache, "/c/moving/beat", &node));
    tc.node_free(node);
}

/* What the library keeps for this thread is taken down after the dlclose. */
static void *read_and_outlive(void *user)
{
    (void)user;
    read_once();
    __atomic_fetch_add(&threads_ready, 1, __ATOMIC_SEQ_CST);
    pthread_barrier_wait(&unloaded);
    return NULL;
}

typedef struct {
    const char *file, *hosts;
    bool stays_alive;
} task;

static void *use_what_was_unloaded(void *user)
{
    const task *self = user;
    tc_client *client = NULL;
    uint64_t listener = 0;
    pthread_t threads[2];
    load(self->file);
    CHECK_DONE(tc.client_new(self->hosts, NULL, &client));
    CHECK_DONE(tc.new_cache(client, "/c/moving", NULL, &cache));
    CHECK_DONE(tc.listen(cache, watch, NULL, NULL, &listener));
    CHECK_DONE(tc.start(cache));
    CHECK_DONE(tc.wait_initialized(cache, LONG_MS));
    pthread_barrier_init(&unloaded, NULL, 3);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, read_and_outlive, NULL);
    WAIT_UNTIL(read_count(&threads_ready) == 2);

    CHECK(dlclose(tc.library) == 0);
    pthread_barrier_wait(&unloaded);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    int before = read_count(&updates);
    WAIT_UNTIL(read_count(&updates) >= before + 3);
    read_once();
    if (!self->stays_alive) {
        tc.free_cache(cache);
        tc.client_free(client);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: unloaded LIBRARY HOSTS [alive]\n");
        return 2;
    }
    task task = {.file = argv[1], .hosts = argv[2], .stays_alive = argc == 4};
    pthread_t thread;
    pthread_create(&thread, NULL, use_what_was_unloaded, &task);
    pthread_join(thread, NULL);
    /* Also when nothing of it is in use: a thread that nobody waits for may be on its last instructions. The C library
     * looks again at each dlclose, so the first tells nothing. */
    for (int i = 0; i < 2; i++) {
        void *again = dlopen(task.file, RTLD_NOW | RTLD_NOLOAD);
        CHECK(again != NULL && dlclose(again) == 0);
    }
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
