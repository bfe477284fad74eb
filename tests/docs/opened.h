/* What the programs in this folder begin with. */
#ifndef OPENED_H
#define OPENED_H

#include "check.h"

/* A cache of `root` whose first load is complete. */
static inline tc_cache *opened(tc_client *client, const char *root)
{
    tc_cache *cache = NULL;
    CHECK_OK(tc_new(client, root, NULL, &cache));
    CHECK_OK(tc_start(cache));
    CHECK_OK(tc_wait_initialized(cache, LONG_MS));
    return cache;
}

#endif
