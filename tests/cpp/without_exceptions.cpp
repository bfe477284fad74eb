// What there is of treecache.hpp without exceptions and without run-time types.
//
//     without_exceptions HOSTS
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <atomic>
#include <string_view>

#ifdef __cpp_exceptions
#error "compile this with -fno-exceptions"
#endif

namespace {

using treecache::status;

// The first status that is not ok, or ok.
status tour(const char *hosts)
{
    const auto config = treecache::config::try_make({{"session.timeout.ms", "8000"}, {"queue.faults", "true"}});
    if (!config)
        return config.status();
    CHECK(treecache::config::try_make({{"session.timeout", "8000"}}).error().key() == "session.timeout");
    auto client = treecache::client::try_make(hosts, *config);
    if (!client)
        return client.status();
    auto cache = treecache::cache::try_make(*client, "/c/still", *config);
    if (!cache)
        return cache.status();

    std::atomic<int> told{0};
    const auto subscription = cache->try_listen([&](const treecache::event &) { told++; });
    const auto faults = cache->try_listen_fault([](const treecache::fault &) {});
    const auto session_faults = client->try_listen_fault([](const treecache::fault &) {});
    const auto some = cache->try_listen(
        treecache::event_filter().under("/c/still/a").initial(false), [](const treecache::event &) {});
    CHECK(some);
    CHECK(cache->try_listen(treecache::event_filter().under("/c"), [](const treecache::event &) {}).error().key()
          == "listen.under");
    CHECK(treecache::cache::try_attach("/dev/shm").status() == status::invalid_argument);
    auto queue = treecache::queue::try_make(*cache, *config);
    if (!subscription || !faults || !session_faults || !queue)
        return status::state;

    CHECK(cache->try_wait_initialized(0s).status() == status::state);
    if (const auto started = cache->try_start(); !started)
        return started.status();
    if (const auto ready = cache->try_wait_initialized(a_while); !ready)
        return ready.status();
    if (const auto synced = cache->try_sync(a_while); !synced)
        return synced.status();
    wait_until([&] { return told >= 7; });

    const auto node = cache->try_get_data("/c/still/b");
    CHECK(node && node->data().text() == "2");
    CHECK(cache->try_get_data("/c/still/c").status() == status::no_node);
    std::string copied;
    const auto stat = cache->try_copy_data("/c/still/b", copied);
    CHECK(stat && stat->data_length == 1 && copied == "2");
    const auto found = cache->try_find("/c/still/c");
    CHECK(found && !*found);
    const auto snapshot = cache->try_snapshot();
    if (!snapshot)
        return snapshot.status();
    int walked = 0, gone_through = 0, children = 0, changes = 0;
    CHECK(snapshot->try_walk("/c/still", [&](std::string_view, treecache::node_view) { walked++; }));
    auto subtree = snapshot->try_subtree("/c/still");
    if (!subtree)
        return subtree.status();
    for (auto [path, at] : *subtree)
        gone_through += !path.empty() && at.stat().czxid > 0;
    const auto list = snapshot->try_get_children_data("/c/still");
    if (!list)
        return list.status();
    for (auto [name, child] : *list)
        children += !name.empty() && child.has_value();
    CHECK(snapshot->try_diff(*snapshot, [&](treecache::event) { changes++; }));
    CHECK(walked == 6 && gone_through == 6 && children == 3 && changes == 0);

    const auto first = queue->try_next(a_while);
    CHECK(first && *first && (*first)->event()->path() == "/c/still");
    const auto rest = queue->try_drain();
    CHECK(rest && !rest->empty());
    CHECK(queue->try_fd() && *queue->try_fd() >= 0);
    queue->wake();
    const auto woken = queue->try_next();
    CHECK(woken && !*woken);
    queue->close();
    CHECK(queue->try_next().status() == status::closed);

    CHECK(cache->try_stats() && cache->try_stats()->nodes() == 6);
    CHECK(cache->try_state() && cache->try_state()->age);
    return status::ok;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: without_exceptions HOSTS\n");
        return 2;
    }
    CHECK_OK(static_cast<int>(tour(argv[1])));
    return failures == 0 ? 0 : 1;
}
