/* Compiled as every C and C++ that is supported: the header needs nothing before it, and may come twice. */
#include <treecache.h>
#include <treecache.h>

const char *(*header_is_usable)(void) = tc_version;
