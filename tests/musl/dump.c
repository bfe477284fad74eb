/* Shows a tree each time that a line comes in, until there are no more:
 *
 *     dump FILE                reads what another process keeps in that file
 *     dump FILE HOSTS PATH     reads a tree of servers, and keeps it in that file
 *
 * Each node is a line: its path, its Stat and its data, in hexadecimal; a line with a dot ends the tree. */
#include <inttypes.h>
#include <stdio.h>
#include <treecache.h>

static int32_t show(const char *path, size_t path_len, const tc_node *node, void *user)
{
    const tc_stat *s = &node->stat;

    (void)path_len, (void)user;
    printf("%s\t%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId32 " %" PRId32 " %" PRId32, path, s->czxid, s->mzxid,
           s->ctime, s->mtime, s->version, s->cversion, s->aversion);
    printf(" %" PRId64 " %" PRId32 " %" PRId32 " %" PRId64 "\t", s->ephemeral_owner, s->data_length, s->num_children, s->pzxid);
    for (size_t i = 0; i < node->data_len; i++)
        printf("%02x", node->data[i]);
    putchar('\n');
    return TC_WALK_CONTINUE;
}

static int32_t made(int argc, char **argv, tc_client **client, tc_cache **cache)
{
    tc_config *config;
    int32_t status;

    if (argc == 2)
        return tc_attach(argv[1], NULL, cache);
    config = tc_config_new();
    if ((status = tc_config_set(config, "share.file", argv[1])) == TC_OK &&
        (status = tc_client_new(argv[2], NULL, client)) == TC_OK &&
        (status = tc_new(*client, argv[3], config, cache)) == TC_OK)
        status = tc_start(*cache);
    tc_config_free(config);
    return status;
}

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    tc_cache *cache = NULL;
    int32_t status;

    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: dump FILE [HOSTS PATH]\n");
        return 2;
    }
    if ((status = made(argc, argv, &client, &cache)) == TC_OK && (status = tc_wait_initialized(cache, 30000)) == TC_OK) {
        while (status == TC_OK && getchar() == '\n') {
            const tc_snapshot *snapshot = NULL;
            if ((status = tc_get_snapshot(cache, &snapshot)) == TC_OK)
                status = tc_snapshot_walk(snapshot, tc_snapshot_root(snapshot), show, NULL);
            tc_snapshot_free(snapshot);
            puts(".");
            fflush(stdout);
        }
    }
    if (status != TC_OK)
        fprintf(stderr, "%s\n", tc_status_name(status));
    tc_free(cache);
    tc_client_free(client);
    return status != TC_OK;
}
