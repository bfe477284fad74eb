/*
 * Two copies of the library in one process, as an extension module and its host may have them, that share one file: locks
 * belong to a descriptor and not to a process, so the two keep each other out as two processes do.
 *
 *     two_copies LIBRARY HOSTS
 *
 * Expects the tree of tree.py on the server.
 */
#define _GNU_SOURCE

#include "check.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is used of a copy; this program is not linked with any. */
typedef struct {
    void *library;
    tc_config *(*config_new)(void);
    int32_t (*config_set)(tc_config *, const char *, const char *);
    void (*config_free)(tc_config *);
    int32_t (*client_new)(const char *, const tc_config *, tc_client **);
    void (*client_free)(tc_client *);
    int32_t (*new_cache)(tc_client *, const char *, const tc_config *, tc_cache **);
    int32_t (*attach)(const char *, const tc_config *, tc_cache **);
    int32_t (*start)(tc_cache *);
    int32_t (*wait_initialized)(tc_cache *, int32_t);
    int32_t (*copy_data)(const tc_cache *, const char *, uint8_t *, size_t, size_t *, tc_stat *);
    int32_t (*get_state)(const tc_cache *, tc_state *, int64_t *);
    int32_t (*get_fault)(const tc_cache *, const tc_fault **);
    void (*fault_free)(const tc_fault *);
    void (*free_cache)(tc_cache *);
} copy;

/* ISO C knows no way from an object's pointer to a function's. */
static void resolve(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    memcpy(function, &found, sizeof found);
}

static copy load(const char *file)
{
    copy tc = {0};
    tc.library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (tc.library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    resolve(tc.library, "tc_config_new", &tc.config_new);
    resolve(tc.library, "tc_config_set", &tc.config_set);
    resolve(tc.library, "tc_config_free", &tc.config_free);
    resolve(tc.library, "tc_client_new", &tc.client_new);
    resolve(tc.library, "tc_client_free", &tc.client_free);
    resolve(tc.library, "tc_new", &tc.new_cache);
    resolve(tc.library, "tc_attach", &tc.attach);
    resolve(tc.library, "tc_start", &tc.start);
    resolve(tc.library, "tc_wait_initialized", &tc.wait_initialized);
    resolve(tc.library, "tc_copy_data", &tc.copy_data);
    resolve(tc.library, "tc_get_state", &tc.get_state);
    resolve(tc.library, "tc_get_fault", &tc.get_fault);
    resolve(tc.library, "tc_fault_free", &tc.fault_free);
    resolve(tc.library, "tc_free", &tc.free_cache);
    return tc;
}

/* CHECK_STATUS names the answer, for which it would need the library. */
#define CHECK_DONE(call) CHECK((call) == 0)

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    FILE *source = fopen(from, "rb"), *target = fopen(to, "wb");
    size_t len;
    if (source == NULL || target == NULL)
        exit(2);
    while ((len = fread(bytes, 1, sizeof bytes, source)) > 0)
        CHECK(fwrite(bytes, 1, len, target) == len);
    CHECK(fclose(source) == 0 && fclose(target) == 0);
}

static tc_cache *keep(const copy *tc, const char *hosts, const char *file, tc_client **client)
{
    tc_config *config = tc->config_new();
    tc_cache *cache = NULL;
    CHECK_DONE(tc->config_set(config, "share.file", file));
    CHECK_DONE(tc->client_new(hosts, NULL, client));
    CHECK_DONE(tc->new_cache(*client, "/c", config, &cache));
    tc->config_free(config);
    CHECK_DONE(tc->start(cache));
    CHECK_DONE(tc->wait_initialized(cache, LONG_MS));
    return cache;
}

static bool reads(const copy *tc, const tc_cache *cache)
{
    uint8_t data[16];
    size_t len = 0;
    return tc->copy_data(cache, "/c/still/a", data, sizeof data, &len, NULL) == 0 && len == 1 && data[0] == '1';
}

static bool is_in_step(const copy *tc, const tc_cache *cache)
{
    tc_state state = TC_STATE_CLOSED;
    int64_t age_ms = -1;
    CHECK_DONE(tc->get_state(cache, &state, &age_ms));
    return state == TC_STATE_IN_STEP;
}

static bool is_kept_out(const copy *tc, const tc_cache *cache)
{
    const tc_fault *fault = NULL;
    CHECK_DONE(tc->get_fault(cache, &fault));
    bool kept_out = fault != NULL && fault->status == TC_ERR_STATE && strstr(fault->message, "another cache") != NULL;
    tc->fault_free(fault);
    return kept_out;
}

int main(int count, char **arguments)
{
    char folder[] = "/dev/shm/treecache-XXXXXX", library[64], file[64], side[64];
    tc_client *clients[2] = {NULL, NULL};
    tc_cache *attached = NULL;
    if (count != 3 || mkdtemp(folder) == NULL)
        return 2;
    snprintf(library, sizeof library, "%s/libtreecache-copy.so", folder);
    snprintf(file, sizeof file, "%s/tree", folder);
    snprintf(side, sizeof side, "%s/tree.side", folder);
    copy_file(arguments[1], library);
    copy one = load(arguments[1]), other = load(library);
    CHECK(one.library != other.library && one.attach != other.attach);

    tc_cache *first = keep(&one, arguments[2], file, &clients[0]);
    CHECK_DONE(other.attach(file, NULL, &attached));
    CHECK_DONE(other.wait_initialized(attached, LONG_MS));
    CHECK(reads(&one, first) && reads(&other, attached));

    /* The second writer is kept out, goes on without the file, and takes over. */
    tc_cache *second = keep(&other, arguments[2], file, &clients[1]);
    WAIT_UNTIL(is_kept_out(&other, second));
    CHECK(reads(&other, second));
    WAIT_UNTIL(is_in_step(&other, attached));
    one.free_cache(first);
    one.client_free(clients[0]);
    WAIT_UNTIL(is_in_step(&other, attached));
    CHECK(reads(&other, attached));

    other.free_cache(attached);
    other.free_cache(second);
    other.client_free(clients[1]);
    CHECK(unlink(file) == 0 && unlink(side) == 0 && unlink(library) == 0 && rmdir(folder) == 0);
    return failures > 0;
}
