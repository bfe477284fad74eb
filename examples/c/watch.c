/*
 * watch: prints what happens in a ZooKeeper subtree, as it happens.
 *
 *     watch [--progress] [--dump FILE] [--listen KEY=VALUE]... HOSTS PATH
 *     watch localhost:2181 /services
 *     watch --listen under=/services/web --listen depth=1 --listen events=added,removed localhost:2181 /services
 *
 * Every event is one line on standard output. What goes wrong in the background (a server that does not answer,
 * say) is a line on standard error, and nothing to act upon: the cache reconnects, verifies what it has and tells
 * the differences as events. With --listen, only some of them are told: KEY is what stands behind "listen." in
 * docs/configuration.md. Ctrl-C or SIGTERM ends the program; with --dump, it then writes the tree to FILE.
 *
 * Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <treecache.h>
#include <unistd.h>

#include "shown.h"

struct options {
    bool progress;
    FILE *dump_file;   /* or NULL */
    tc_config *wanted; /* which events are told */
};

enum { EXIT_USAGE = 2, SHOWN_BYTES = 48, PROGRESS_MS = 200 };

static void print_data(const uint8_t *data, size_t len)
{
    struct shown shown;
    putchar('"');
    for (size_t at = 0; at < len && at < SHOWN_BYTES;) {
        at += next_shown((const char *)data + at, len - at, false, &shown);
        printf("%s%s", strcmp(shown.text, "\"") == 0 ? "\\" : "", shown.text);
    }
    putchar('"');
    if (len > SHOWN_BYTES)
        printf("... (%zu bytes)", len);
}

static void print_path(const char *what, const char *path)
{
    printf("%-8s ", what);
    print_shown(stdout, path);
}

/* What is watched. */
struct watched {
    const tc_cache *cache;
    const char *root;
};

/* An empty tree has a root. */
static bool root_is_missing(const struct watched *watched)
{
    const tc_node *node = NULL;
    int32_t status = tc_get_data(watched->cache, watched->root, &node);
    tc_node_free(node);
    return status == TC_ERR_NO_NODE;
}

/* Called on the library's own thread. The event is borrowed: what is to outlive this call must be copied. */
static void on_event(const tc_event *event, void *user)
{
    switch (event->type) {
    case TC_EVENT_NODE_ADDED:
        print_path("added", event->path);
        putchar(' ');
        print_data(event->data, event->data_len);
        break;
    case TC_EVENT_NODE_UPDATED:
        print_path("updated", event->path);
        putchar(' ');
        print_data(event->old_data, event->old_data_len);
        printf(" -> ");
        print_data(event->data, event->data_len);
        break;
    case TC_EVENT_NODE_REMOVED:
        print_path("removed", event->path);
        break;
    case TC_EVENT_CONNECTION_SUSPENDED:
        printf("suspended: the connection is lost, the tree may be out of date");
        break;
    case TC_EVENT_CONNECTION_RECONNECTED:
        printf("reconnected: what was missed follows");
        break;
    case TC_EVENT_CONNECTION_LOST:
        printf("lost: the session has ended, a new one is being made");
        break;
    case TC_EVENT_INITIALIZED:
        printf("initialized: the whole tree is here");
        break;
    case TC_EVENT_IN_STEP:
        printf("in step%s", root_is_missing(user) ? "; the root does not exist" : ": nothing is outstanding");
        break;
    default: /* A newer library may know more. */
        printf("event %" PRId32, event->type);
        break;
    }
    putchar('\n');
    fflush(stdout);
}

static void on_fault(const tc_fault *fault, void *user)
{
    (void)user;
    /* The message can be shown as it is; a path is as the server has it. */
    fprintf(stderr, "watch: %s: %s%s", tc_status_name(fault->status), fault->message,
            fault->path != NULL ? " at " : "");
    print_shown(stderr, fault->path != NULL ? fault->path : "");
    fputc('\n', stderr);
}

/* Errors of the caller are logged with the value that is wrong. The level is syslog's: 3 is an error. */
static void on_log(int32_t level, const char *message, void *user)
{
    (void)level;
    (void)user;
    fprintf(stderr, "watch: %s\n", message);
}

/* --- The first load ------------------------------------------------------------------------------------------ */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The tree can be read while it grows: a snapshot knows its number of nodes. */
static void print_progress(const tc_cache *cache, double began)
{
    const tc_snapshot *snapshot;
    if (tc_get_snapshot(cache, &snapshot) != TC_OK)
        return;
    size_t nodes = tc_snapshot_len(snapshot);
    tc_snapshot_free(snapshot);
    fprintf(stderr, "%sloading: %zu nodes, %.0f nodes/s%s", isatty(STDERR_FILENO) ? "\r\033[K" : "", nodes,
            (double)nodes / (seconds_now() - began), isatty(STDERR_FILENO) ? "" : "\n");
}

/* Blocked signals stay pending until somebody takes them; this asks without taking. */
static bool signal_came(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

/* Waits for the first load or a signal. The tree may be large or the server away: that is no error. */
static int32_t wait_for_load(tc_cache *cache, bool progress)
{
    double began = seconds_now();
    int32_t status;
    while ((status = tc_wait_initialized(cache, PROGRESS_MS)) == TC_ERR_TIMEOUT && !signal_came()) {
        if (progress)
            print_progress(cache, began);
    }
    if (progress) {
        print_progress(cache, began);
        if (isatty(STDERR_FILENO))
            fputc('\n', stderr);
    }
    return status == TC_ERR_TIMEOUT ? TC_OK : status;
}

/* --- The tree at the end ------------------------------------------------------------------------------------- */

/* One line per node: path, zxid of the last change, data in hex; separated by tabs, which are escaped in a path. */
static int32_t dump_node(const char *path, size_t path_len, const tc_node *node, void *user)
{
    FILE *file = user;
    (void)path_len;
    print_shown(file, path);
    fprintf(file, "\t%" PRId64 "\t", node->stat.mzxid);
    for (size_t i = 0; i < node->data_len; i++)
        fprintf(file, "%02x", node->data[i]);
    fputc('\n', file);
    return TC_WALK_CONTINUE;
}

static int32_t dump(const tc_cache *cache, const char *root, FILE *file)
{
    const tc_snapshot *snapshot;
    int32_t status = tc_get_snapshot(cache, &snapshot);
    if (status != TC_OK)
        return status;
    status = tc_snapshot_walk(snapshot, root, dump_node, file);
    tc_snapshot_free(snapshot);
    /* No root, no lines: an empty tree is a tree. */
    return status == TC_ERR_NO_NODE ? TC_OK : status;
}

/* --- The whole ----------------------------------------------------------------------------------------------- */

static int failed(const char *what, int32_t status)
{
    fprintf(stderr, "watch: %s: %s\n", what, tc_status_name(status));
    return EXIT_FAILURE;
}

/* Sets what is wanted, from KEY=VALUE. */
static bool set_wanted(tc_config *config, const char *setting)
{
    char key[64];
    const char *equals = strchr(setting, '=');
    if (equals == NULL || equals - setting > 40) {
        fprintf(stderr, "watch: --listen needs KEY=VALUE\n");
        return false;
    }
    snprintf(key, sizeof key, "listen.%.*s", (int)(equals - setting), setting);
    if (tc_config_set(config, key, equals + 1) == TC_OK)
        return true;
    const tc_error *error = NULL;
    if (tc_config_get_error(config, &error) == TC_OK && error != NULL)
        fprintf(stderr, "watch: %s\n", error->message);
    tc_error_free(error);
    return false;
}

/* Follows the tree until a signal comes. */
static int watch(tc_cache *cache, struct watched *watched, const struct options *options, const sigset_t *signals)
{
    int32_t status;
    uint64_t listener; /* for tc_unlisten(), which tc_free() makes needless here */
    if ((status = tc_listen_with(cache, options->wanted, on_event, watched, NULL, &listener)) != TC_OK ||
        (status = tc_listen_fault(cache, on_fault, NULL, NULL, &listener)) != TC_OK) /* the client's too */
        return failed("cannot listen", status);
    if ((status = tc_start(cache)) != TC_OK)
        return failed("cannot start", status);
    if ((status = wait_for_load(cache, options->progress)) != TC_OK)
        return failed("cannot load the tree", status);

    int signal_number;
    sigwait(signals, &signal_number);

    if (options->dump_file != NULL && (status = dump(cache, watched->root, options->dump_file)) != TC_OK)
        return failed("cannot read the tree", status);
    return EXIT_SUCCESS;
}

/* One client is one session; any number of caches may share it. */
static int run(const char *hosts, const char *path, const struct options *options, const sigset_t *signals)
{
    tc_client *client;
    int32_t status = tc_client_new(hosts, NULL, &client);
    if (status != TC_OK)
        return failed(hosts, status);

    int exit_code;
    tc_cache *cache;
    tc_config *config = tc_config_new();
    tc_config_set(config, "root.create", "false"); /* who looks at a tree does not make it */
    status = tc_new(client, path, config, &cache);
    tc_config_free(config);
    if (status != TC_OK) {
        exit_code = failed(path, status);
    } else {
        struct watched watched = {cache, path};
        exit_code = watch(cache, &watched, options, signals);
        tc_free(cache); /* No callback runs after this. */
    }
    tc_client_free(client);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct options options = {.progress = isatty(STDERR_FILENO), .wanted = tc_config_new()};
    const char *dump_path = NULL;
    bool is_usable = true;
    int next = 1;
    for (; is_usable && next < argc && strncmp(argv[next], "--", 2) == 0; next++) {
        if (strcmp(argv[next], "--progress") == 0)
            options.progress = true;
        else if (strcmp(argv[next], "--dump") == 0 && next + 1 < argc)
            dump_path = argv[++next];
        else if (strcmp(argv[next], "--listen") == 0 && next + 1 < argc)
            is_usable = set_wanted(options.wanted, argv[++next]);
        else
            break;
    }
    if (!is_usable || argc - next != 2) {
        fprintf(stderr, "usage: watch [--progress] [--dump FILE] [--listen KEY=VALUE]... HOSTS PATH\n");
        tc_config_free(options.wanted);
        return EXIT_USAGE;
    }

    /* Blocked here, the signals wait for sigwait(), and no handler has to know what is safe to call in it. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    tc_log_set(3, on_log, NULL);
    int exit_code = EXIT_FAILURE;
    if (dump_path != NULL && (options.dump_file = fopen(dump_path, "w")) == NULL)
        perror(dump_path);
    else
        exit_code = run(argv[next], argv[next + 1], &options, &signals);
    tc_config_free(options.wanted);
    if (options.dump_file != NULL && fclose(options.dump_file) != 0) {
        perror(dump_path);
        exit_code = EXIT_FAILURE;
    }
    return exit_code;
}
