/*
zk.create("/election")
first = zk.create("/election/b-", b"first", ephemeral=True, sequence=True)
zk.create("/election/a-", b"second", ephemeral=True, sequence=True)
run()
shows("first")
zk.delete(first)
shows("second")
zk.delete("/election", recursive=True)
shows("nobody")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <stdbool.h>
#include <string.h>

#include "leader.inc"

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;
    char leader[64] = "";

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/election");
    WAIT_UNTIL(find_leader(cache, "/election", leader, sizeof leader) && strcmp(leader, "first") == 0);
    puts(leader);
    WAIT_UNTIL(find_leader(cache, "/election", leader, sizeof leader) && strcmp(leader, "second") == 0);
    puts(leader);
    WAIT_UNTIL(!find_leader(cache, "/election", leader, sizeof leader));
    puts("nobody");
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
