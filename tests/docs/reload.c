/*
zk.ensure_path("/config/database")
zk.create("/config/database/host", b"old")
zk.create("/config/database/password", b"old")
run()
shows("old old")
for beat in range(200):
    with zk.transaction() as changes:
        changes.set_data("/config/database/host", b"new%d" % beat)
        changes.set_data("/config/database/password", b"new%d" % beat)
shows("new199 new199")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <string.h>

#include "reload.inc"

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;
    tc_queue *queue = NULL;
    const tc_item *item = NULL;
    struct settings settings = {0};
    int64_t zxid = 0;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/config");
    CHECK_OK(tc_queue_open(cache, NULL, &queue));
    while (failures == 0 && strcmp(settings.host, "new199") != 0) {
        CHECK_OK(tc_queue_next(queue, LONG_MS, &item));
        on_setting(cache, tc_item_event(item), &settings);
        tc_item_free(item);
        CHECK(strcmp(settings.host, settings.password) == 0);
        if (settings.zxid > zxid)
            printf("%s %s\n", settings.host, settings.password);
        zxid = settings.zxid;
    }
    tc_queue_free(queue);
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
