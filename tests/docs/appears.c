/*
zk.create("/jobs")
zk.create("/jobs/early")
run()
shows("early is there", "late is not")
zk.create("/jobs/late")
shows("late is there")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <stdbool.h>
#include <string.h>

#include "appears.inc"

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/jobs");
    CHECK_OK(wait_for_node(cache, "/jobs/early", LONG_MS));
    puts("early is there");
    CHECK_STATUS(TC_ERR_TIMEOUT, wait_for_node(cache, "/jobs/late", 100));
    puts("late is not");
    CHECK_OK(wait_for_node(cache, "/jobs/late", LONG_MS));
    puts("late is there");
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
