/*
zk.create("/config")
zk.create("/config/a", b"12345")
run()
shows('treecache_in_step{root="/config"} 1')
shows('treecache_nodes{root="/config"} 2')
shows('treecache_data_bytes{root="/config"} 5')
shows('treecache_connections_total{root="/config"} 1')
shows('treecache_faults_total{root="/config"} 0')
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <inttypes.h>

#include "stats.inc"

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;
    tc_state state = TC_STATE_LATENT;
    int64_t age_ms;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/config");
    WAIT_UNTIL(tc_get_state(cache, &state, &age_ms) == TC_OK && state == TC_STATE_IN_STEP);
    print_stats(cache, "/config");
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
