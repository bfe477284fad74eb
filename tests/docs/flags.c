/*
zk.create("/flags")
zk.create("/flags/fast", b"on")
zk.create("/flags/safe", b"off")
run()
shows("1 0 0")
zk.set("/flags/fast", b"off")
shows("off")
zk.set("/flags/fast", b"on")
shows("on")
zk.delete("/flags/fast")
shows("off")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <stdbool.h>
#include <string.h>

#include "flag.inc"
#include "watched.inc"

static int watched;

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *flags, *flag;
    uint64_t listener;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    flags = opened(client, "/flags");
    flag = opened(client, "/flags/fast");
    CHECK_OK(tc_listen(flag, on_flag, &watched, NULL, &listener));
    WAIT_UNTIL(__atomic_load_n(&watched, __ATOMIC_RELAXED));
    printf("%d %d %d\n", flag_is_on(flags, "/flags/fast"), flag_is_on(flags, "/flags/safe"),
           flag_is_on(flags, "/flags/none"));
    fflush(stdout);
    WAIT_UNTIL(!__atomic_load_n(&watched, __ATOMIC_RELAXED) && !flag_is_on(flags, "/flags/fast"));
    puts("off");
    WAIT_UNTIL(__atomic_load_n(&watched, __ATOMIC_RELAXED) && flag_is_on(flags, "/flags/fast"));
    puts("on");
    WAIT_UNTIL(!__atomic_load_n(&watched, __ATOMIC_RELAXED) && !flag_is_on(flags, "/flags/fast"));
    puts("off");
    tc_free(flag);
    tc_free(flags);
    tc_client_free(client);
    return failures != 0;
}
