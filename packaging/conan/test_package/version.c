/* The least that shows that the package can be compiled with, linked and loaded: makes a client, which needs no server. */
#include <stdio.h>
#include <treecache.h>

int main(void)
{
    tc_client *client = NULL;
    int32_t status = tc_client_new("127.0.0.1:1", NULL, &client);

    printf("libtreecache %s: %s\n", tc_version(), tc_status_name(status));
    tc_client_free(client);
    return status == TC_OK ? 0 : 1;
}
