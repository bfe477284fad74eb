/*
zk.create("/config")
run()
shows("ready")
mzxid = zk.create("/config/a", b"1", include_data=True)[1].mzxid
enter(mzxid)
shows("arrived")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <inttypes.h>
#include <stdbool.h>

#include "sync.inc"

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;
    int64_t mzxid = 0;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/config");
    puts("ready");
    CHECK(scanf("%" SCNd64, &mzxid) == 1);
    CHECK(has_arrived(cache, "/config/a", mzxid));
    CHECK(!has_arrived(cache, "/config/b", mzxid));
    puts("arrived");
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
