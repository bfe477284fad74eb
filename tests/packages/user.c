/* The least that uses the library in earnest: loads a tree and prints how many nodes it has. */
#include <stdio.h>
#include <treecache.h>

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    const tc_snapshot *snapshot = NULL;
    int32_t status;

    if (argc != 3) {
        fprintf(stderr, "usage: user HOSTS PATH\n");
        return 2;
    }
    if ((status = tc_client_new(argv[1], NULL, &client)) == TC_OK &&
        (status = tc_new(client, argv[2], NULL, &cache)) == TC_OK && (status = tc_start(cache)) == TC_OK &&
        (status = tc_wait_initialized(cache, 30000)) == TC_OK &&
        (status = tc_get_snapshot(cache, &snapshot)) == TC_OK)
        printf("libtreecache %s: %zu nodes\n", tc_version(), tc_snapshot_len(snapshot));
    else
        fprintf(stderr, "%s\n", tc_status_name(status));
    tc_snapshot_free(snapshot);
    tc_free(cache);
    tc_client_free(client);
    return status == TC_OK ? 0 : 1;
}
