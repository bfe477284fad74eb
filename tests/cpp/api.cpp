// A tour of treecache.hpp, save for listeners and queues.
//
//     api HOSTS
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <vector>

#if __cplusplus >= 202002L
#include <ranges>
#include <span>
#endif

namespace {

using treecache::status;
using strings = std::vector<std::string>;

template <typename T>
constexpr bool move_only = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                           std::is_nothrow_destructible_v<T> && !std::is_copy_constructible_v<T> &&
                           !std::is_copy_assignable_v<T>;

static_assert(move_only<treecache::config> && move_only<treecache::client> && move_only<treecache::cache> &&
              move_only<treecache::snapshot> && move_only<treecache::node> && move_only<treecache::children> &&
              move_only<treecache::children_data> && move_only<treecache::stats> && move_only<treecache::queue> &&
              move_only<treecache::item> && move_only<treecache::items> && move_only<treecache::subscription> &&
              move_only<treecache::subtree>);

// What wraps a handle of C that nobody listens to is as large as that.
static_assert(sizeof(treecache::snapshot) == sizeof(void *) && sizeof(treecache::node) == sizeof(void *) &&
              sizeof(treecache::children) == sizeof(void *) &&
              sizeof(treecache::queue) == sizeof(void *) && sizeof(treecache::item) == sizeof(void *) &&
              sizeof(treecache::event) == sizeof(void *) && sizeof(treecache::node_view) == sizeof(void *));

static_assert(noexcept(std::declval<treecache::cache>().try_get_data("/a")));
static_assert(std::is_nothrow_copy_constructible_v<treecache::error>);
static_assert(!std::is_convertible_v<treecache::result<int>, bool>);

static_assert(treecache::forever.ms() == -1 && treecache::timeout(10s).ms() == 10000);
static_assert(treecache::timeout(1us).ms() == 1 && treecache::timeout(1001us).ms() == 2);
static_assert(treecache::timeout(0s).ms() == 0 && treecache::timeout(-1s).ms() == 0);
static_assert(treecache::timeout(std::chrono::hours::max()).ms() == -1);

#if __cplusplus >= 202002L
static_assert(std::ranges::contiguous_range<treecache::bytes> && std::ranges::view<treecache::bytes> &&
              std::ranges::borrowed_range<treecache::bytes>);
static_assert(std::is_convertible_v<treecache::bytes, std::span<const std::byte>>);
static_assert(std::ranges::forward_range<treecache::children> && std::ranges::sized_range<treecache::children> &&
              std::ranges::forward_range<treecache::children_data>);
static_assert(std::ranges::input_range<treecache::subtree> && std::ranges::input_range<treecache::queue>);
#endif

bool contains(std::string_view text, std::string_view part)
{
    return text.find(part) != std::string_view::npos;
}

void configurations()
{
    treecache::config config{{"session.timeout.ms", "8000"}, {"auth", std::string("digest:c:secret")}};
    config.set("limit.nodes", "10").set(std::string_view("limit.bytes, and more").substr(0, 11), "1000");
    const treecache::config moved = treecache::config().set("root.create", "false");
    CHECK(moved.native_handle() != nullptr);

    const auto unknown = config.try_set("sesion.timeout.ms", "8000");
    CHECK(!unknown && unknown.status() == status::invalid_argument);
    CHECK(unknown.error().key() == "sesion.timeout.ms" && unknown.error().path().empty());
    CHECK(!unknown.error().message().empty() && contains(unknown.error().what(), unknown.error().message()));
    CHECK(unknown.error().what() == unknown.error().message());
    CHECK_THROWS(status::invalid_argument, config.set("limit.nodes", "many"));
    CHECK_THROWS(status::invalid_argument, treecache::config{{"limit.nodes", "1"}, {"limit.nodes", "-1"}});
    CHECK(treecache::config::try_make({{"limit.nodes", "1"}}));
    try {
        config.set("auth", "no colon, but a secret");
        FAIL("no error");
    } catch (const std::exception &error) {
        CHECK(!contains(error.what(), "secret"));
    }

    const auto hosts = treecache::client::try_make("localhost:port", config);
    CHECK(hosts.status() == status::invalid_argument && contains(hosts.error().message(), "localhost:port"));
    CHECK_THROWS(status::invalid_argument, treecache::client("localhost:port"));
    const auto lacks = treecache::client::try_make("localhost", {{"tls", "true"}});
    CHECK(lacks.status() == status::invalid_argument && lacks.error().key() == "tls.ca.file");
}

void results()
{
    treecache::result<std::string> text(std::string("a"));
    CHECK(text && *text == "a" && text->size() == 1 && text.value() == "a" && text.status() == status::ok);
    CHECK(std::move(text).value_or("b") == "a");
    treecache::result<std::string> none{treecache::error(status::no_node)};
    CHECK(!none && none.status() == status::no_node && none.error().status() == status::no_node);
    CHECK_THROWS(status::no_node, none.value());
    CHECK(std::move(none).value_or("b") == "b");
    CHECK(treecache::result<void>().has_value() && treecache::result<void>().status() == status::ok);
    CHECK_THROWS(status::tls, treecache::result<void>(treecache::error(status::tls)).value());

    CHECK(std::string("TC_ERR_NO_NODE") == treecache::name(status::no_node));
    CHECK(std::string("there is no such node") == treecache::error(status::no_node).what());
    for (int status = 0; status >= TC_ERR_TOO_SMALL; status--) {
        const treecache::error error(static_cast<treecache::status>(status));
        CHECK(!contains(error.what(), "TC_") && contains(error.what(), status == 0 ? "done" : " "));
    }
    CHECK(std::string("it has failed") == treecache::error(static_cast<treecache::status>(-4711)).what());
    const treecache::error full(status::no_permission, "key", "/path", "message");
    const treecache::error copy = full;
    CHECK(copy.key() == "key" && copy.path() == "/path" && copy.message() == "message");
    CHECK(std::string("message") == copy.what());
}

// What an expression throws, for people.
template <typename Call>
std::string said(Call call)
{
    try {
        call();
    } catch (const treecache::error &error) {
        return error.what();
    }
    return "nothing";
}

// Nobody serves there.
void waits_in_vain()
{
    const treecache::client client("127.0.0.1:1");
    treecache::cache cache(client, "/a");
    CHECK(said([&] { cache.wait_initialized(1s); }) == "the cache was not started");
    cache.start();
    CHECK(said([&] { cache.start(); }) == "the cache was started before");
    wait_until([&] { return cache.stats().faults() > 0; });
    const treecache::stats stats = cache.stats();
    CHECK(stats.last_fault_status() == status::connection && *stats.last_fault_age() < a_while);
    const std::optional<treecache::past_fault> fault = cache.last_fault();
    CHECK(fault->status() == status::connection && fault->path().empty() && fault->server_error() == 0);
    CHECK(contains(fault->message(), "127.0.0.1:1: "));
    const std::string last = "; last: " + std::string(fault->message());
    CHECK(said([&] { cache.wait_initialized(50ms); }) == "timed out after 0.05 s" + last);
    CHECK(said([&] { cache.sync(50ms); }) == "there is no connection" + last);
    cache.close();
    CHECK(said([&] { cache.wait_initialized(50ms); }) == "closed");
    CHECK(cache.last_fault().has_value());
}

// From a cache or a snapshot of /c/still.
template <typename Source>
void reads(const Source &source)
{
    const treecache::node node = source.get_data("/c/still/b");
    CHECK(node.data().text() == "2" && node.data().size() == 1 && node.data()[0] == std::byte('2'));
    CHECK(node.stat().version == 0 && node.stat().data_length == 1 && node.stat().czxid == node.stat().mzxid);
    const treecache::node_view view = node;
    CHECK(view.data().data() == node.data().data());

    const treecache::node binary = source.get_data("/c/still/a/y");
    const treecache::bytes data = binary.data();
    CHECK(std::string_view("\x00\xff\n", 3) == data.text());
    CHECK(data.front() == std::byte(0) && data.back() == std::byte('\n') && data.last(2)[0] == std::byte(0xff));
    CHECK(data.first(1).size() == 1 && data.subspan(1).size() == 2 && data.subspan(1, 1)[0] == std::byte(0xff));
    CHECK(std::equal(data.begin(), data.end(), data.rbegin(), [](auto, auto) { return true; }));
    CHECK(source.get_data("/c/still/a/x").data().empty());

    std::string copied = "what was before, and was longer";
    CHECK(source.copy_data("/c/still/b", copied).czxid == node.stat().czxid && copied == "2");
    std::vector<std::byte> bytes;
    CHECK(source.try_copy_data("/c/still/a/y", bytes)->data_length == 3);
    CHECK(bytes == (std::vector<std::byte>{std::byte(0), std::byte(0xff), std::byte('\n')}));
    CHECK(source.copy_data("/c/still/a/x", bytes).data_length == 0 && bytes.empty());
    CHECK(source.try_copy_data("/c/still/c", bytes).status() == status::no_node);
    CHECK_THROWS(status::out_of_tree, source.copy_data("/c/stillborn", bytes));

    // Any kind of string.
    const std::string_view in_text = "/c/still/a/x";
    CHECK(source.get_data(std::string("/c/still/a")).data().text() == "1");
    CHECK(source.get_data(in_text.substr(0, 10)).data().text() == "1");
    const std::string longer = "/c/still/" + std::string(300, 'n');
    CHECK(source.try_get_data(std::string_view(longer)).status() == status::no_node);
    CHECK(source.try_get_data(std::string_view("/c/still/a\0", 11)).status() == status::invalid_argument);
    CHECK(source.try_get_data(std::string("/c/still/a\0b", 12)).status() == status::invalid_argument);
    CHECK(source.try_get_data(nullptr).status() == status::invalid_argument);
    CHECK(source.try_get_data(std::string_view()).status() == status::invalid_argument);

    CHECK(source.find("/c/still/größe")->data().text() == "3");
    CHECK(!source.find("/c/still/c"));
    CHECK(source.try_find("/c/still/c").has_value());
    CHECK_THROWS(status::out_of_tree, source.find("/c/stillborn"));
    CHECK_THROWS(status::no_node, source.get_data("/c/still/c"));
    CHECK_THROWS(status::no_node, source.get_children("/c/still/c"));
    CHECK_THROWS(status::no_node, source.get_children_data("/c/still/c"));
    try {
        static_cast<void>(source.get_data("/c/still/c"));
    } catch (const treecache::error &error) {
        CHECK(error.path() == "/c/still/c" && std::string("/c/still/c: there is no such node") == error.what());
    }

    const treecache::children children = source.get_children("/c/still");
    CHECK(children.size() == 3 && !children.empty() && children[2] == "größe");
    CHECK(strings(children.begin(), children.end()) == (strings{"a", "b", "größe"}));
    CHECK(std::find(children.begin(), children.end(), "b") != children.end());
    CHECK(source.get_children("/c/still/b").empty());

    std::string told;
    for (auto [name, child] : source.get_children_data("/c/still"))
        told.append(name).append("=").append(child->data().text()).append(" ");
    CHECK(told == "a=1 b=2 größe=3 ");
}

strings walked(const treecache::snapshot &snapshot, const char *path)
{
    strings paths;
    snapshot.walk(path, [&](std::string_view at, treecache::node_view node) {
        paths.push_back(std::string(at) + "=" + std::string(node.data().text()));
    });
    return paths;
}

strings gone_through(const treecache::snapshot &snapshot, const char *path)
{
    strings paths;
    for (auto [at, node] : snapshot.subtree(path))
        paths.push_back(std::string(at) + "=" + std::string(node.data().text()));
    return paths;
}

void walks(const treecache::snapshot &snapshot)
{
    CHECK(snapshot.is_cut() && snapshot.zxid() > 0 && snapshot.size() == 6 && !snapshot.empty());
    CHECK(walked(snapshot, "/c/still/a") ==
          (strings{"/c/still/a=1", "/c/still/a/x=", std::string("/c/still/a/y=\x00\xff\n", 16)}));
    for (const char *path : {"/c/still", "/c/still/a", "/c/still/b", "/c/still/a/y"})
        CHECK(gone_through(snapshot, path) == walked(snapshot, path));
    CHECK(walked(snapshot, "/c/still").size() == 6);

    int visited = 0;
    const auto skip = [&](std::string_view path, treecache::node_view) {
        visited++;
        return path == "/c/still/a" ? treecache::walk::skip_children : treecache::walk::proceed;
    };
    snapshot.walk("/c/still", skip);
    CHECK(visited == 4);
    visited = 0;
    snapshot.walk("/c/still", [&](std::string_view, const treecache::node_view &) {
        visited++;
        return visited == 2 ? treecache::walk::stop : treecache::walk::proceed;
    });
    CHECK(visited == 2);

    const auto throws = [](std::string_view path, treecache::node_view) {
        if (path == "/c/still/a/x")
            throw std::runtime_error(std::string(path));
    };
    for (const bool tries : {false, true}) {
        try {
            if (tries)
                static_cast<void>(snapshot.try_walk("/c/still", throws));
            else
                snapshot.walk("/c/still", throws);
            FAIL("no exception");
        } catch (const std::runtime_error &error) {
            CHECK(std::string("/c/still/a/x") == error.what());
        }
    }
    CHECK_THROWS(status::no_node, snapshot.walk("/c/still/c", throws));
    CHECK_THROWS(status::no_node, snapshot.subtree("/c/still/c"));
    CHECK(snapshot.try_subtree("/c/stillborn").status() == status::out_of_tree);

    // It may move while it is gone through only in the hands of its owner, and what it lent stays.
    auto first = snapshot.subtree("/c/still");
    ++first.begin();
    auto rest = std::move(first);
    CHECK((*rest.begin()).path == "/c/still/a");
    rest.skip_children();
    CHECK((*rest.begin()).path == "/c/still/a");
    CHECK((*++rest.begin()).path == "/c/still/b");
}

void differences(treecache::cache &moving)
{
    const treecache::snapshot before = moving.snapshot();
    const auto beats = [](const treecache::snapshot &snapshot) {
        return snapshot.get_data("/c/moving/beat").stat().version;
    };
    treecache::snapshot after = moving.snapshot();
    for (int waited = 0; waited < LONG_MS && beats(after) < beats(before) + 3; waited += 5) {
        sleep_ms(5);
        after = moving.snapshot();
    }

    std::map<std::string, std::string, std::less<>> tree;
    before.walk("/c/moving",
        [&](std::string_view path, treecache::node_view node) { tree.emplace(path, node.data().text()); });
    bool last = false;
    before.diff(after, [&](const treecache::event &change) {
        CHECK(!last && change.zxid() == after.zxid() && change.stat() != nullptr);
        last = change.last_of_version();
        switch (change.kind()) {
        case treecache::event_kind::node_updated:
            CHECK(change.path() == "/c/moving/beat");
            CHECK(change.old_data().text() == tree.find(change.path())->second);
            CHECK(change.old_stat()->version < change.stat()->version);
            [[fallthrough]];
        case treecache::event_kind::node_added: tree[std::string(change.path())] = change.data().text(); break;
        case treecache::event_kind::node_removed: tree.erase(tree.find(change.path())); break;
        default: FAIL("no change of a node");
        }
    });
    CHECK(last);
    std::map<std::string, std::string, std::less<>> expected;
    after.walk("/c/moving",
        [&](std::string_view path, treecache::node_view node) { expected.emplace(path, node.data().text()); });
    CHECK(tree == expected);

    int visited = 0;
    after.diff(after, [&](treecache::event) { visited++; });
    CHECK(visited == 0);
    const auto throws = [](const treecache::event &change) { throw std::runtime_error(std::string(change.path())); };
    bool thrown = false;
    try {
        before.diff(after, throws);
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    CHECK(thrown);
}

void hidden(const treecache::client &client)
{
    const treecache::cache guarded = loaded(client, "/c/guarded");
    strings open, closed;
    for (auto [name, node] : guarded.get_children_data("/c/guarded"))
        (node ? open : closed).emplace_back(name);
    CHECK(open == strings{"open"} && closed == strings{"private"});
    CHECK_THROWS(status::no_permission, guarded.find("/c/guarded/private"));
    const treecache::snapshot snapshot = guarded.snapshot();
    CHECK(gone_through(snapshot, "/c/guarded") == (strings{"/c/guarded=", "/c/guarded/open=everybody's"}));
}

void root(const treecache::client &client)
{
    const treecache::cache cache = loaded(client, "/");
    const treecache::snapshot snapshot = cache.snapshot();
    const strings paths = gone_through(snapshot, "/");
    CHECK(paths.size() == snapshot.size() && paths == walked(snapshot, "/") && paths[0] == "/=" && paths[1] == "/c=");
    const treecache::cache other = loaded(client, "/c/still");
    CHECK_THROWS(status::invalid_argument, snapshot.diff(other.snapshot(), [](treecache::event) {}));
}

void large(const treecache::client &client)
{
    const treecache::cache cache = loaded(client, "/c/large");
    std::string expected, text = "small";
    for (int i = 0; i < 1000; i++)
        expected += "large";
    CHECK(cache.get_data("/c/large").data().text() == expected);
    for (int round = 0; round < 2; round++) // with room for it, the second time
        CHECK(cache.copy_data("/c/large", text).data_length == 5000 && text == expected);
    std::vector<unsigned char> bytes;
    CHECK(cache.snapshot().try_copy_data("/c/large", bytes)->data_length == 5000);
    CHECK(bytes == std::vector<unsigned char>(expected.begin(), expected.end()));
}

void lives(const treecache::client &client)
{
    treecache::cache cache(client, "/c/still", {{"events.capacity", "10"}});
    CHECK_THROWS(status::state, cache.wait_initialized(0s));
    CHECK(!cache.is_initialized() && cache.state().state == treecache::state::latent);
    CHECK(cache.try_get_data("/c/still").status() == status::not_ready);
    CHECK(cache.snapshot().empty() && !cache.snapshot().is_cut());
    cache.start();
    CHECK_THROWS(status::state, cache.start());
    cache.wait_initialized();
    cache.sync(a_while);
    CHECK(cache.is_initialized());
    wait_until([&] { return cache.state().state == treecache::state::in_step; });
    CHECK(cache.state().age.has_value() && *cache.state().age < a_while);

    const treecache::stats stats = cache.stats();
    CHECK(stats.state() == treecache::state::in_step && stats.nodes() == 6 && stats.bytes() == 10);
    CHECK(stats.zxid() == cache.snapshot().zxid() && stats.versions() >= stats.cuts() && stats.cuts() >= 1);
    CHECK(stats.contact_age() && stats.cut_age() && stats.reads() >= 6 && stats.batches() >= 1);
    CHECK(stats.connections() >= 1 && stats.session_id() != 0 && contains(stats.server(), "127.0.0.1:"));
    CHECK(stats.lags() == 0 && stats.resyncs() == 0 && stats.events() == 0);

    const treecache::snapshot kept = cache.snapshot();
    treecache::cache moved = std::move(cache);
    CHECK(cache.try_get_data("/c/still").status() == status::invalid_argument); // NOLINT: it is moved from
    CHECK(cache.try_listen([](treecache::event) {}).status() == status::invalid_argument);
    moved.close();
    moved.close();
    CHECK_THROWS(status::closed, moved.snapshot());
    CHECK_THROWS(status::closed, moved.listen([](treecache::event) {}));
    CHECK(moved.state().state == treecache::state::closed);
    moved = treecache::cache(client, "/c/moving");
    CHECK(moved.state().state == treecache::state::latent);
    CHECK(kept.size() == 6);
    CHECK_THROWS(status::invalid_argument, moved.start_from(kept)); // of another root
    const treecache::client nowhere("127.0.0.1:1");
    treecache::cache warm(nowhere, "/c/still");
    warm.start_from(kept);
    CHECK(warm.state().state == treecache::state::warm && !warm.state().age);
    CHECK(warm.snapshot().size() == 6 && warm.try_start_from(kept).status() == status::state);
    CHECK_THROWS(status::invalid_argument, treecache::cache(client, "/c/still/"));
    const auto malformed = treecache::cache::try_make(client, "/c//still");
    CHECK(malformed.status() == status::invalid_argument && malformed.error().path() == "/c//still");
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: api HOSTS\n");
        return 2;
    }
    configurations();
    results();
    waits_in_vain();
    const treecache::client client(argv[1], {{"session.timeout.ms", "8000"}});
    {
        const treecache::cache still = loaded(client, "/c/still");
        const treecache::snapshot snapshot = still.snapshot();
        reads(still);
        reads(snapshot);
        walks(snapshot);
    }
    treecache::cache moving = loaded(client, "/c/moving");
    differences(moving);
    large(client);
    hidden(client);
    root(client);
    lives(client);
    return failures == 0 ? 0 : 1;
}
