/*
zk.create("/a")
zk.create("/b")
run()
zk.create("/a/x")
shows("0 /a/x")
zk.create("/b/y")
shows("0 /b/y")
zk.delete("/a/x")
shows("2 /a/x")
zk.create("/b/end")
shows("0 /b/end")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "epoll.inc"

static bool ended;

static void print_event(const tc_event *event)
{
    if (event->path == NULL)
        return;
    printf("%d %s\n", (int)event->type, event->path);
    ended = ended || strcmp(event->path, "/b/end") == 0;
}

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *caches[2];
    tc_queue *queues[2] = {NULL};
    int epoll = epoll_create1(0);

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    for (int i = 0; i < 2; i++) {
        caches[i] = opened(client, i == 0 ? "/a" : "/b");
        CHECK_OK(tc_queue_open(caches[i], NULL, &queues[i]));
        CHECK_OK(add_queue(epoll, queues[i]));
    }
    while (failures == 0 && !ended) {
        struct epoll_event ready;
        CHECK(epoll_wait(epoll, &ready, 1, LONG_MS) == 1);
        CHECK_OK(serve_queue(ready.data.ptr, print_event));
    }
    tc_queue_close(queues[0]);
    CHECK_STATUS(TC_ERR_CLOSED, serve_queue(queues[0], print_event));
    for (int i = 0; i < 2; i++) {
        tc_queue_free(queues[i]);
        tc_free(caches[i]);
    }
    close(epoll);
    tc_client_free(client);
    return failures != 0;
}
