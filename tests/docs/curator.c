/*
zk.create("/app")
zk.create("/app/a", b"1")
run()
shows("ready")
zk.create("/app/b", b"2")
zk.create("/app/b/c", b"3")
shows("created /app/b 2", "created /app/b/c 3")
zk.set("/app/b", b"4")
shows("changed /app/b 4")
zk.delete("/app/b/c")
shows("deleted /app/b/c")
enter()
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

#include "built.inc"

static void print_node(const char *what, const char *path, const uint8_t *data, size_t len)
{
    printf("%s %s %.*s\n", what, path, (int)len, (const char *)data);
}

static void on_created(const char *path, const uint8_t *data, size_t len)
{
    print_node("created", path, data, len);
}

static void on_changed(const char *path, const uint8_t *data, size_t len)
{
    print_node("changed", path, data, len);
}

static void on_deleted(const char *path)
{
    printf("deleted %s\n", path);
}

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    uint64_t id;
    struct listener listener = {.created = on_created, .changed = on_changed, .deleted = on_deleted};

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/app");
    CHECK_OK(listen_as_built(cache, &listener, &id));
    puts("ready");
    getchar();
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
