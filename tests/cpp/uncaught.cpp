// What a listener without a handler throws ends the program, and is what the terminate handler finds.
//
//     uncaught HOSTS
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <cstdlib>
#include <exception>
#include <stdexcept>

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: uncaught HOSTS\n");
        return 2;
    }
    std::set_terminate([] {
        try {
            std::rethrow_exception(std::current_exception());
        } catch (const std::runtime_error &error) {
            std::printf("terminated by: %s\n", error.what());
            std::fflush(stdout);
        }
        std::_Exit(0);
    });
    const treecache::client client(argv[1]);
    treecache::cache cache = loaded(client, "/c/still");
    const treecache::subscription listening =
        cache.listen([](const treecache::event &event) { throw std::runtime_error(std::string(event.path())); });
    sleep_ms(LONG_MS);
    FAIL("not terminated");
    return 1;
}
