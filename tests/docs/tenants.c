/*
zk.create("/tenants")
zk.create("/tenants/a")
run()
shows("a is there, b is not")
zk.create("/tenants/b")
shows("b is there")
*/
#define _POSIX_C_SOURCE 200809L
#include "opened.h"

#include "tenants.inc"

static int32_t look(const struct tenant *tenant)
{
    const tc_node *node = NULL;
    int32_t status = tc_get_data(tenant->cache, tenant->root, &node);
    tc_node_free(node);
    return status;
}

int main(int argc, char **argv)
{
    tc_client *client = NULL;
    struct tenant a, b;

    CHECK(argc == 2);
    CHECK_OK(tc_client_new(argv[1], NULL, &client));
    CHECK_OK(open_tenant(client, &a, "a"));
    CHECK_OK(open_tenant(client, &b, "b"));
    CHECK_OK(tc_wait_initialized(a.cache, LONG_MS));
    CHECK_OK(tc_wait_initialized(b.cache, LONG_MS));
    CHECK_OK(look(&a));
    CHECK_STATUS(TC_ERR_NO_NODE, look(&b));
    puts("a is there, b is not");
    close_tenant(&a);
    WAIT_UNTIL(look(&b) == TC_OK);
    puts("b is there");
    close_tenant(&b);
    tc_client_free(client);
    return failures != 0;
}
