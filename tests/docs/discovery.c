/*
zk.create("/services")
zk.create("/services/web")
zk.create("/services/web/i-1", b"10.0.0.1:80", ephemeral=True)
zk.create("/services/web/i-2", b"10.0.0.2:80", ephemeral=True)
zk.create("/services/web/notes", b"not an instance")
run()
shows("10.0.0.1:80 10.0.0.2:80")
network.drop()
shows("suspended: 10.0.0.1:80 10.0.0.2:80")
zk.delete("/services/web/i-1")
network.restore()
shows("10.0.0.2:80")
zk.delete("/services/web/i-2")
shows("10.0.0.2:80")
zk.create("/services/web/i-3", b"10.0.0.3:80", ephemeral=True)
shows("10.0.0.3:80")
enter()
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

#include "endpoints.inc"

static struct endpoints known;

static void print_endpoints(const char *before)
{
    fputs(before, stdout);
    for (size_t i = 0; i < known.len; i++)
        printf("%s%s", i > 0 ? " " : "", known.address[i]);
    putchar('\n');
}

static void on_event(const tc_event *event, void *user)
{
    if ((event->flags & TC_EVENT_LAST_OF_VERSION) != 0) {
        refresh_endpoints(*(tc_cache **)user, "/services/web", &known);
        print_endpoints("");
    } else if (event->type == TC_EVENT_CONNECTION_SUSPENDED) {
        refresh_endpoints(*(tc_cache **)user, "/services/web", &known);
        print_endpoints("suspended: ");
    }
}

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;
    uint64_t listener;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/services");
    CHECK_OK(tc_listen(cache, on_event, &cache, NULL, &listener));
    getchar();
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
