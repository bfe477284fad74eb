/*
zk.create("/services")
zk.create("/services/a")
zk.create("/services/a/instances")
zk.create("/services/a/instances/1")
zk.create("/services/a/instances/1/debug")
zk.create("/services/a/tmp")
run()
shows("4 nodes")
zk.create("/services/b")
shows("5 nodes")
shows("1 node")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

#include "part.inc"
#include "single.inc"

static size_t nodes_of(tc_cache *cache)
{
    const tc_snapshot *snapshot = NULL;
    size_t nodes;

    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    nodes = tc_snapshot_len(snapshot);
    tc_snapshot_free(snapshot);
    return nodes;
}

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache = NULL;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    CHECK_OK(list_services(client, &cache));
    printf("%zu nodes\n", nodes_of(cache));
    fflush(stdout);
    do
        CHECK_OK(tc_sync(cache, LONG_MS));
    while (nodes_of(cache) < 5);
    printf("%zu nodes\n", nodes_of(cache));
    tc_free(cache);
    CHECK_OK(follow_node(client, "/services", &cache));
    printf("%zu node\n", nodes_of(cache));
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
