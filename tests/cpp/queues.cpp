// Queues: as ranges, with poll(2), from several threads, and how they end.
//
//     queues HOSTS
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>

#if __cplusplus >= 202002L
#include <ranges>
#endif

namespace {

using treecache::event_kind;
using treecache::status;
using strings = std::vector<std::string>;

const strings still_paths{"/c/still", "/c/still/a", "/c/still/a/x", "/c/still/a/y", "/c/still/b", "/c/still/größe"};

bool readable(int fd, int timeout_ms)
{
    pollfd waiting{fd, POLLIN, 0};
    const int ready = poll(&waiting, 1, timeout_ms);
    return ready == 1 && (waiting.revents & POLLIN) != 0;
}

void as_a_range(treecache::cache &still)
{
    treecache::queue queue(still);
    strings paths;
    bool initialized = false;
    // Wakes itself when it has seen enough, which ends the range and not the queue.
    for (const treecache::item &item : queue) {
        const std::optional<treecache::event> event = item.event();
        CHECK(event && !item.fault());
        if (event->kind() == event_kind::node_added)
            paths.emplace_back(event->path());
        if (event->kind() == event_kind::initialized) {
            initialized = true;
            queue.wake();
        }
    }
    CHECK(initialized && paths == still_paths);
    CHECK(!queue.next(0s) && !queue.next(1ms));

    std::thread closer([&] {
        sleep_ms(20);
        queue.close();
    });
    for (const treecache::item &item : queue)
        CHECK(!item.event()); // none comes
    closer.join();
    CHECK_THROWS(status::closed, queue.next());
    CHECK_THROWS(status::closed, queue.drain());
    CHECK(queue.begin() == queue.end());
}

void of_some_events(treecache::cache &still, treecache::cache &moving)
{
    using treecache::event_filter;
    const auto paths_of = [&](const event_filter &filter) {
        treecache::queue queue(still, treecache::config().set(filter));
        strings paths;
        for (const treecache::item &item : queue.drain())
            paths.emplace_back(item.event()->path());
        return paths;
    };
    const auto added = {event_kind::node_added};
    CHECK((paths_of(event_filter().under("/c/still/a").kinds(added))
           == strings{"/c/still/a", "/c/still/a/x", "/c/still/a/y"}));
    CHECK((paths_of(event_filter().under("/c/still/b").under("/c/still/a").depth(0).kinds(added))
           == strings{"/c/still/a", "/c/still/b"}));
    CHECK(paths_of(event_filter().initial(false).kinds(added)).empty());
    CHECK(paths_of(event_filter().after_initialized().kinds({event_kind::initialized, event_kind::node_added}))
          == strings{""});

    std::atomic<int> updates{0}, others{0};
    {
        const auto tell = [&](const treecache::event &event) {
            (event.kind() == event_kind::node_updated ? updates : others)++;
        };
        const event_filter filter = event_filter().initial(false).kinds({event_kind::node_updated});
        const treecache::subscription subscription = moving.listen(filter, tell);
        const treecache::subscription handled =
            moving.listen(event_filter().kinds({event_kind::node_updated}), tell, [](std::exception_ptr) {});
        wait_until([&] { return updates >= 6; });
    }
    CHECK(others == 0);

    try {
        const auto refused = still.listen(event_filter().under("/c/moving"), [](treecache::event) {});
        CHECK(false);
    } catch (const treecache::error &error) {
        CHECK(error.status() == status::invalid_argument && error.key() == "listen.under");
        CHECK(error.message().find("/c/moving") != std::string_view::npos);
    }
    CHECK_THROWS(status::invalid_argument, still.listen(event_filter().kinds({}), [](treecache::event) {}));
    CHECK_THROWS(status::invalid_argument, treecache::config().set(event_filter().under("c")));
}

#if __cplusplus >= 202002L
void as_a_view(treecache::cache &still)
{
    treecache::queue queue(still);
    const auto is_node = [](const treecache::item &item) { return !item.event()->path().empty(); };
    int nodes = 0;
    for (const treecache::item &item : queue | std::views::filter(is_node) | std::views::take(5))
        nodes += item.event()->kind() == event_kind::node_added;
    CHECK(nodes == 5);
}
#endif

void with_poll(treecache::cache &moving)
{
    treecache::queue queue(moving);
    const int fd = queue.fd();
    CHECK(queue.fd() == fd);
    int updates = 0;
    for (int waited = 0; waited < 1000 && updates < 3; waited++) {
        CHECK(readable(fd, LONG_MS));
        for (const treecache::item &item : queue.drain())
            updates += item.event()->kind() == event_kind::node_updated;
    }
    CHECK(updates >= 3);
    queue.close();
    CHECK(readable(fd, LONG_MS));
}

void woken(treecache::cache &still)
{
    treecache::queue queue(still);
    while (queue.next(0s)) {
    }
    CHECK(!readable(queue.fd(), 0) || !queue.next(0s));
    queue.wake();
    CHECK(readable(queue.fd(), LONG_MS));
    CHECK(!queue.next());
    std::thread waker([&] {
        sleep_ms(20);
        queue.wake();
    });
    CHECK(!queue.next());
    waker.join();
}

// Each item goes to one of them.
void from_several_threads(treecache::cache &still)
{
    treecache::queue queue(still);
    std::mutex mutex;
    strings paths;
    std::atomic<int> events{0};
    std::vector<std::thread> consumers;
    for (int number = 0; number < 4; number++)
        consumers.emplace_back([&] {
            for (const treecache::item &item : queue) {
                const std::lock_guard lock(mutex);
                if (item.event()->kind() == event_kind::node_added)
                    paths.emplace_back(item.event()->path());
                events++;
            }
        });
    wait_until([&] { return events >= 7; });
    queue.close();
    for (std::thread &consumer : consumers)
        consumer.join();
    std::sort(paths.begin(), paths.end());
    CHECK(paths == still_paths);
}

void items_outlive_all(const char *hosts)
{
    std::vector<treecache::item> kept;
    {
        const treecache::client client(hosts);
        treecache::cache cache = loaded(client, "/c/still");
        treecache::queue queue(cache, {{"events.capacity", "100"}});
        while (kept.size() < still_paths.size()) {
            std::optional<treecache::item> item = queue.next(a_while);
            CHECK(item && item->event());
            if (!item)
                return;
            kept.push_back(std::move(*item));
        }
    }
    for (std::size_t index = 0; index < kept.size(); index++)
        CHECK(kept[index].event()->path() == still_paths[index]);
    CHECK(kept[1].event()->data().text() == "1");
    CHECK(!treecache::item().event() && !treecache::item().fault());
}

void ends_with_the_client(const char *hosts)
{
    std::optional<treecache::client> client(hosts);
    treecache::cache cache = loaded(*client, "/c/still");
    treecache::queue queue(cache);
    client.reset();
    event_kind last{};
    for (const treecache::item &item : queue)
        last = item.event()->kind();
    CHECK(last == event_kind::connection_lost);
}

void ends_with_the_failure(const treecache::client &client)
{
    treecache::cache cache(client, "/c/still", {{"limit.nodes", "3"}});
    treecache::queue queue(cache);
    cache.start();
    CHECK_THROWS(status::limit, cache.wait_initialized(a_while));
    bool thrown = false;
    try {
        for (const treecache::item &item : queue)
            CHECK(item.event().has_value());
    } catch (const treecache::error &error) {
        thrown = error.status() == status::limit;
    }
    CHECK(thrown);
}

void carries_faults()
{
    const treecache::client client("localhost:1");
    treecache::cache cache(client, "/c");
    treecache::queue queue(cache, {{"queue.faults", "true"}});
    cache.start();
    const std::optional<treecache::item> item = queue.next(a_while);
    CHECK(item && !item->event() && item->fault());
    CHECK(item && item->fault()->status() == status::connection && !item->fault()->message().empty());
}

void cannot_be_opened(const treecache::client &client)
{
    treecache::cache cache(client, "/c/still");
    cache.close();
    CHECK_THROWS(status::closed, treecache::queue(cache));
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: queues HOSTS\n");
        return 2;
    }
    const treecache::client client(argv[1]);
    treecache::cache still = loaded(client, "/c/still");
    treecache::cache moving = loaded(client, "/c/moving");
    as_a_range(still);
#if __cplusplus >= 202002L
    as_a_view(still);
#endif
    of_some_events(still, moving);
    with_poll(moving);
    woken(still);
    from_several_threads(still);
    items_outlive_all(argv[1]);
    ends_with_the_client(argv[1]);
    ends_with_the_failure(client);
    carries_faults();
    cannot_be_opened(client);
    return failures == 0 ? 0 : 1;
}
