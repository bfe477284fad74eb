/*
zk.create("/config")
zk.create("/config/a", b"1")
zk.create("/config/b", b"22")
run()
shows("/config/a: not known yet")
shows("/config/a: 1 (version 0)", "/config/c: not set", "/elsewhere: TC_ERR_OUT_OF_TREE")
shows("a: 1 bytes", "b: 2 bytes", "3 nodes, 3 bytes, exact", "config", "  a", "  b", "ready")
with zk.transaction() as changes:
    changes.delete("/config/a")
    changes.create("/config/c", b"3")
    changes.set_data("/config/b", b"2")
shows("removed /config/a", "updated /config/b", "added /config/c")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "connect.inc"
#include "copy.inc"
#include "diff.inc"
#include "faults.inc"
#include "list.inc"
#include "outline.inc"
#include "read.inc"
#include "shutdown.inc"
#include "snapshot.inc"
#include "state.inc"
#include "waits.inc"

/* Takes out of a queue until it is closed. */
static void *consume(void *queue)
{
    const tc_item *item;
    while (tc_queue_next(queue, -1, &item) == TC_OK)
        tc_item_free(item);
    return NULL;
}

int main(int argc, char **argv)
{
    tc_client *client = NULL, *none = NULL;
    tc_cache *cache = NULL;
    tc_queue *queue = NULL, *changes = NULL;
    const tc_snapshot *seen = NULL;
    const tc_item *item = NULL;
    pthread_t consumer;

    CHECK(argc == 2);
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, connect_to("no:such:hosts", &none));
    CHECK_OK(connect_to(argv[1], &client));
    CHECK_OK(tc_new(client, "/config", NULL, &cache));
    CHECK_OK(tell_everything(client, cache));
    CHECK_OK(tc_queue_open(cache, NULL, &queue));
    CHECK(pthread_create(&consumer, NULL, consume, queue) == 0);
    print_setting(cache, "/config/a");
    CHECK(!is_fresh(cache, 10000));

    CHECK_OK(tc_start(cache));
    CHECK_OK(load(cache));
    print_setting(cache, "/config/a");
    print_setting(cache, "/config/c");
    print_setting(cache, "/elsewhere");
    CHECK(read_number(cache, "/config/b", 7) == 22);
    CHECK(read_number(cache, "/config", 7) == 7 && read_number(cache, "/config/c", 7) == 7);
    print_children(cache, "/config");
    print_size(cache);
    WAIT_UNTIL(is_fresh(cache, 10000));

    /* The tree so far, INITIALIZED and IN_STEP; then what the steps change as one. */
    CHECK_OK(tc_queue_open(cache, NULL, &changes));
    CHECK_OK(tc_get_snapshot(cache, &seen));
    print_outline(seen);
    for (bool told = false; failures == 0 && !told; tc_item_free(item)) {
        CHECK_OK(tc_queue_next(changes, LONG_MS, &item));
        told = tc_item_event(item)->type == TC_EVENT_INITIALIZED;
    }
    puts("ready");
    for (bool told = false; failures == 0 && !told; tc_item_free(item)) {
        CHECK_OK(tc_queue_next(changes, LONG_MS, &item));
        told = (tc_item_event(item)->flags & TC_EVENT_LAST_OF_VERSION) != 0;
    }
    seen = print_changes(cache, seen);
    tc_snapshot_free(seen);
    tc_queue_free(changes);
    shut_down(client, cache, queue, consumer);
    tc_log_set(3, NULL, NULL);
    return failures != 0;
}
