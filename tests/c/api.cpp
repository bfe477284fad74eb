// A tour of treecache.h from C++, with the ownership that C++ programs give it: unique_ptr and lambdas.
//
//     api_cpp HOSTS
//
// Expects the tree of tree.py on the server. Compiled as C++11 and C++20.
#include "check.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

template <typename T, void (*release)(T *)>
struct Releaser {
    void operator()(T *handle) const { release(handle); }
};
template <typename T, void (*release)(T *)>
using Handle = std::unique_ptr<T, Releaser<T, release>>;

using Config = Handle<tc_config, tc_config_free>;
using Client = Handle<tc_client, tc_client_free>;
using Cache = Handle<tc_cache, tc_free>;
using Node = Handle<const tc_node, tc_node_free>;
using Children = Handle<const tc_children, tc_children_free>;
using Snapshot = Handle<const tc_snapshot, tc_snapshot_free>;

// What a listener counts; shared by the program and the library, which gives its share up through user_free.
struct Counts {
    std::atomic<int> added{0}, initialized{0};
};
using SharedCounts = std::shared_ptr<Counts>;

SharedCounts listen(tc_cache *cache)
{
    SharedCounts counts = std::make_shared<Counts>();
    uint64_t listener = 0;
    CHECK_OK(tc_listen(
        cache,
        [](const tc_event *event, void *user) {
            Counts &counts = **static_cast<SharedCounts *>(user);
            counts.added += event->type == TC_EVENT_NODE_ADDED;
            counts.initialized += event->type == TC_EVENT_INITIALIZED;
        },
        new SharedCounts(counts), [](void *user) { delete static_cast<SharedCounts *>(user); }, &listener));
    CHECK(listener != 0);
    return counts;
}

template <typename Condition>
void wait_until(Condition condition)
{
    for (int waited = 0; waited < 30000 && !condition(); waited += 5)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(condition());
}

Client connect(const char *hosts)
{
    Config config(tc_config_new());
    CHECK_OK(tc_config_set(config.get(), "session.timeout.ms", "8000"));
    tc_client *client = nullptr;
    CHECK_OK(tc_client_new(hosts, config.get(), &client));
    return Client(client);
}

Cache load(tc_client *client, const char *path)
{
    tc_cache *cache = nullptr;
    CHECK_OK(tc_new(client, path, nullptr, &cache));
    return Cache(cache);
}

void reads(const tc_cache *cache)
{
    const tc_node *node = nullptr;
    CHECK_OK(tc_get_data(cache, "/c/still/b", &node));
    Node owned_node(node);
    CHECK(std::string(reinterpret_cast<const char *>(node->data), node->data_len) == "2");

    const tc_children *children = nullptr;
    CHECK_OK(tc_get_children(cache, "/c/still/a", &children));
    Children owned_children(children);
    CHECK(std::vector<std::string>(children->names, children->names + children->len) ==
          (std::vector<std::string>{"x", "y"}));

    CHECK_STATUS(TC_ERR_NO_NODE, tc_get_data(cache, "/c/still/c", &node));
    CHECK_STATUS(TC_ERR_OUT_OF_TREE, tc_get_data(cache, "/c/stillborn", &node));
    CHECK_STATUS(TC_ERR_INVALID_ARGUMENT, tc_get_data(cache, nullptr, &node));
}

Snapshot snapshot_of(const tc_cache *cache)
{
    const tc_snapshot *snapshot = nullptr;
    CHECK_OK(tc_get_snapshot(cache, &snapshot));
    return Snapshot(snapshot);
}

void walks(const tc_snapshot *snapshot)
{
    std::vector<std::string> paths;
    CHECK_OK(tc_snapshot_walk(
        snapshot, "/c/still/a",
        [](const char *path, size_t path_len, const tc_node *, void *user) -> int32_t {
            static_cast<std::vector<std::string> *>(user)->emplace_back(path, path_len);
            return TC_WALK_CONTINUE;
        },
        &paths));
    CHECK(paths == (std::vector<std::string>{"/c/still/a", "/c/still/a/x", "/c/still/a/y"}));
    CHECK(tc_snapshot_is_cut(snapshot));
    CHECK(tc_snapshot_len(snapshot) == 6);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: api_cpp HOSTS\n");
        return 2;
    }
    Snapshot kept;
    {
        Client client = connect(argv[1]);
        Cache cache = load(client.get(), "/c/still");
        SharedCounts counts = listen(cache.get());
        CHECK_OK(tc_start(cache.get()));
        CHECK_OK(tc_wait_initialized(cache.get(), 30000));
        wait_until([&] { return counts->initialized == 1; });
        CHECK(counts->added == 6);
        reads(cache.get());
        kept = snapshot_of(cache.get());
        cache.reset();
        wait_until([&] { return counts.use_count() == 1; }); // the library's share is gone
    }
    walks(kept.get());
    return failures == 0 ? 0 : 1;
}
