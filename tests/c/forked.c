/*
 * fork: the child may only free what the parent made, and is told so; the parent does not notice.
 *
 *     forked HOSTS [FORKS]
 *
 * Expects the tree of tree.py on the server.
 */
#define _GNU_SOURCE

#include "calls.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4 };

static const char *hosts;

/* What a log function was told of. */
static int lines_about_forks;

static void note_line(int32_t level, const char *message, void *user)
{
    (void)level, (void)user;
    if (strstr(message, "forked") != NULL)
        __atomic_fetch_add(&lines_about_forks, 1, __ATOMIC_SEQ_CST);
}

/* Without those that valgrind has for itself, which are beyond the limit. */
static int descriptors(void)
{
    int count = 0;
    struct dirent *entry;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        count += atol(entry->d_name) < sysconf(_SC_OPEN_MAX);
    closedir(dir);
    return count;
}

/* What the parent's listener was told. */
static int updates, breaks;

static void watch(const tc_event *event, void *user)
{
    (void)user;
    if (event->type == TC_EVENT_NODE_UPDATED)
        __atomic_fetch_add(&updates, 1, __ATOMIC_SEQ_CST);
    if (event->type == TC_EVENT_CONNECTION_SUSPENDED || event->type == TC_EVENT_CONNECTION_LOST)
        __atomic_fetch_add(&breaks, 1, __ATOMIC_SEQ_CST);
}

static int read_count(int *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

/* Runs `child` in a child of its own, which has to end well by itself. */
static void in_child(void (*child)(world *w), world *w)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        failures = 0;
        alarm(120); /* against hanging only */
        child(w);
        _exit(failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
}

static void refuse_all_and_say_so(world *w)
{
    CHECK_OK(tc_log_set(3, note_line, NULL));
    CHECK_STATUS(TC_ERR_STATE, tc_start(w->cache));
    CHECK(lines_about_forks == 1);
    MAKE_EVERY_CALL(w, forked, forked);
    tc_cache *cache = w->spare;
    w->spare = w->cache; /* tc_close, on both */
    MAKE_EVERY_CALL(w, forked, forked);
    w->spare = cache;
}

static int descriptors_before;

static void free_all(world *w)
{
    MAKE_EVERY_CALL(w, forked, forked);
    int freed = read_count(&user_freed);
    free_world(w);
    /* Those of the parent's listeners too, of which there were as many as were not freed at the fork. */
    CHECK(read_count(&user_freed) > freed);
    CHECK(descriptors() == descriptors_before);
}

static void free_in_another_order(world *w)
{
    tc_client_free(w->client);
    tc_config_free(w->config);
    tc_free(w->spare);
    tc_free(w->cache);
    tc_queue_free(w->queue);
    tc_snapshot_free(w->snapshot);
    CHECK(descriptors() == descriptors_before);
}

static void work_with_a_client_of_its_own(world *w)
{
    world own;
    free_world(w);
    open_world(&own, hosts);
    MAKE_EVERY_CALL(&own, open, open);
    free_world(&own);
    CHECK(descriptors() == descriptors_before);
}

static void exit_without_freeing(world *w)
{
    MAKE_EVERY_CALL(w, forked, forked);
    exit(failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void (*const children[])(world *) = {
    refuse_all_and_say_so, free_all, free_in_another_order, work_with_a_client_of_its_own, exit_without_freeing,
};
enum { CHILDREN = sizeof children / sizeof *children };

/* Keeps the library's locks busy, so that some fork comes while one is held. */
static int enough;

static void *make_calls(void *user)
{
    while (!read_count(&enough))
        MAKE_EVERY_CALL((world *)user, open, open);
    return NULL;
}

/* What other threads were in the middle of stays behind; nothing else is worse than after a fork at rest. */
static void free_in_a_storm(world *w)
{
    for (int i = 0; i < CALLS; i++) {
        /* No log can be set where a thread was writing to it. */
        if (strncmp(calls[i].name, "tc_log_set", strlen("tc_log_set")) != 0)
            CHECK_STATUS(calls[i].forked, calls[i].make(w));
    }
    free_world(w);
}

typedef struct {
    world *w;
    int done;
} forker;

static void fork_in_callback(const tc_event *event, void *user)
{
    forker *self = user;
    (void)event;
    if (read_count(&self->done) == 0) {
        in_child(free_all, self->w);
        in_child(work_with_a_client_of_its_own, self->w);
        __atomic_store_n(&self->done, 1, __ATOMIC_SEQ_CST);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: forked HOSTS [FORKS]\n");
        return 2;
    }
    hosts = argv[1];
    int forks = argc == 3 ? atoi(argv[2]) : 200;
    descriptors_before = descriptors();

    world w;
    tc_cache *moving = NULL;
    uint64_t listener = 0;
    open_world(&w, hosts);
    count_registration();
    CHECK_OK(tc_listen(w.cache, ignore_event, NULL, count_user_free, &listener));
    count_registration();
    CHECK_OK(tc_client_listen_fault(w.client, ignore_fault, NULL, count_user_free, &listener));
    CHECK_OK(tc_new(w.client, "/c/moving", NULL, &moving));
    CHECK_OK(tc_listen(moving, watch, NULL, NULL, &listener));
    CHECK_OK(tc_start(moving));
    CHECK_OK(tc_wait_initialized(moving, LONG_MS));

    for (int i = 0; i < CHILDREN; i++)
        in_child(children[i], &w);

    forker in_callback = {.w = &w};
    CHECK_OK(tc_listen(w.cache, fork_in_callback, &in_callback, NULL, &listener));
    WAIT_UNTIL(read_count(&in_callback.done));
    CHECK_OK(tc_unlisten(w.cache, listener));

    /* The parent goes on, in the same session. */
    int before = read_count(&updates);
    WAIT_UNTIL(read_count(&updates) >= before + 3);
    CHECK(read_count(&breaks) == 0);
    MAKE_EVERY_CALL(&w, open, open);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, make_calls, &w) == 0);
    for (int i = 0; i < forks; i++)
        in_child(free_in_a_storm, &w);
    __atomic_store_n(&enough, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(read_count(&breaks) == 0);

    tc_free(moving);
    free_world(&w);
    check_every_user_was_freed();
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
