// The header alone, and twice. Compiled once for each language and mode, and all of that linked into one program.
#include <treecache.hpp>
#include <treecache.hpp>

// Uses what is inline, so that there is something to collide.
int USES_THE_HEADER()
{
    const treecache::result<treecache::client> client = treecache::client::try_make("localhost:port");
    return client.status() == treecache::status::invalid_argument;
}
