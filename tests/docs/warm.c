/*
import tempfile
zk.create("/config")
zk.create("/config/a", b"1\n2")
with tempfile.TemporaryDirectory() as folder:
    run(f"{folder}/tree", f"{folder}/tree.new")
    ends()
    with open(f"{folder}/tree", "rb") as file:
        assert file.read() == b"/config 0 \n/config/a 3 1\n2\n"
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"
#include <stdbool.h>

#include "warm.inc"

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache;

    CHECK(argc == 4);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    cache = opened(client, "/config");
    CHECK(save_tree(cache, "/config", argv[2], argv[3]));
    CHECK(!save_tree(cache, "/config", argv[2], "/there/is/no/such/folder"));
    tc_free(cache);
    tc_client_free(client);
    return failures != 0;
}
