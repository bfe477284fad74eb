/*
zk.create("/shop")
zk.create("/shop/a")
run()
shows("a is there without a server, and in step when there is one")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <string.h>

#include "replaced.inc"

int main(int argc, char **argv)
{
    tc_client *first = NULL, *nowhere = NULL, *second = NULL;
    const tc_node *node = NULL;
    int32_t state = -1;
    int64_t age_ms = 0;
    char hosts[256]; /* with the same chroot */

    CHECK(argc == 2);
    snprintf(hosts, sizeof hosts, "127.0.0.1:1%s", strchr(argv[1], '/') ? strchr(argv[1], '/') : "");
    CHECK_OK(tc_client_new(argv[1], NULL, &first));
    tc_cache *cache = opened(first, "/shop");
    CHECK_OK(tc_client_new(hosts, NULL, &nowhere));
    CHECK_OK(replace(&cache, "/shop", nowhere));
    tc_client_free(first);
    CHECK_OK(tc_get_data(cache, "/shop/a", &node));
    CHECK_OK(tc_get_state(cache, &state, &age_ms));
    CHECK(state == TC_STATE_WARM && age_ms == -1);
    CHECK_STATUS(TC_ERR_NO_NODE, tc_get_data(cache, "/shop/b", &node));
    CHECK_OK(tc_client_new(argv[1], NULL, &second));
    CHECK_OK(replace(&cache, "/shop", second));
    tc_client_free(nowhere);
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    tc_node_free(node);
    puts("a is there without a server, and in step when there is one");
    tc_free(cache);
    tc_client_free(second);
    return failures != 0;
}
