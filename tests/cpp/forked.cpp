// Ends a subscription in the child of a fork that came while its listener was being called: in the child nobody returns
// from that call, so it is not waited for.
//
//     forked HOSTS
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: forked HOSTS\n");
        return 2;
    }
    const treecache::client client(argv[1]);
    treecache::cache cache = loaded(client, "/c/still");
    gate entered, go_on;
    treecache::subscription listening = cache.listen([&](const treecache::event &) {
        entered.open();
        go_on.pass();
    });
    entered.pass();
    const pid_t child = fork();
    if (child == 0) {
        alarm(4 * LONG_MS / 1000);
        const treecache::result<void> started = cache.try_start();
        CHECK(std::strstr(started.error().what(), "before the process was forked") != nullptr);
        listening.unlisten();
        _exit(failures == 0 ? 7 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    go_on.open();
    listening.unlisten();
    return failures == 0 ? 0 : 1;
}
