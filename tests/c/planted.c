/*
 * Misuses memory across the boundary, so that valgrind and the sanitizers can show that they notice.
 *
 *     planted HOSTS free|race
 *
 * Expects the tree of tree.py on the server.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <stdlib.h>
#include <string.h>

/* What the library allocated is read after it was freed. */
static void use_after_free(const tc_cache *cache)
{
    const tc_children *children = NULL;
    CHECK_OK(tc_get_children(cache, "/c/still", &children));
    tc_children_free(children);
    printf("%zu children\n", children->len);
}

/* What the callback writes, on the library's thread, is read here, without a lock. */
static int events;

static void count(const tc_event *event, void *user)
{
    (void)event, (void)user;
    events++;
}

static void race(tc_cache *cache)
{
    uint64_t listener = 0;
    CHECK_OK(tc_listen(cache, count, NULL, NULL, &listener));
    sleep_ms(500);
    printf("%d events\n", events);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: planted HOSTS free|race\n");
        return 2;
    }
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    CHECK_OK(tc_new(client, "/c/still", NULL, &cache));
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    if (strcmp(argv[2], "free") == 0)
        use_after_free(cache);
    else
        race(cache);
    tc_free(cache);
    tc_client_free(client);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
