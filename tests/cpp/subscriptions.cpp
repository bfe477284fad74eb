// Listeners: what they are told, and that none is called, or destroyed, behind the end of its subscription.
//
//     subscriptions HOSTS ROUNDS
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using treecache::event_kind;
using treecache::subscription;

// Whether a callable is alive: it owns one of these, and who looks at it has the other end.
using token = std::shared_ptr<int>;
using trace = std::weak_ptr<int>;

token make_token()
{
    return std::make_shared<int>(0);
}

// --- What is told ------------------------------------------------------------------------------------------------

void the_tree_so_far_comes_first(treecache::cache &still)
{
    std::vector<std::string> told;
    gate complete;
    const subscription listening = still.listen([&](const treecache::event &event) {
        switch (event.kind()) {
        case event_kind::node_added:
            CHECK(event.stat() != nullptr && event.old_stat() == nullptr && event.old_data().empty());
            CHECK(event.last_of_version() == (told.size() == 5) && event.zxid() > 0);
            told.push_back(std::string(event.path()) + "=" + std::string(event.data().text()));
            break;
        case event_kind::initialized:
            CHECK(event.path().empty() && event.data().empty() && event.stat() == nullptr);
            complete.open();
            break;
        case event_kind::in_step: break; // was on its way when the listener was added
        default: FAIL("an event that nothing caused");
        }
    });
    complete.pass();
    CHECK(told.size() == 6 && told.front() == "/c/still=root" && told.back() == "/c/still/größe=3");
}

void faults_are_told()
{
    treecache::client client("localhost:1");
    treecache::cache cache(client, "/c");
    std::atomic<int> of_client{0}, of_cache{0};
    const auto check = [](const treecache::fault &fault) {
        CHECK(fault.status() == treecache::status::connection && !fault.message().empty());
        CHECK(fault.path().empty() && fault.server_error() == 0);
    };
    subscription client_listening = client.listen_fault([&, kept = make_token()](const treecache::fault &fault) {
        check(fault);
        of_client++;
    });
    const subscription cache_listening = cache.listen_fault([&](const treecache::fault &fault) {
        check(fault);
        of_cache++;
        throw std::runtime_error("handled");
    }, [](std::exception_ptr) {});
    cache.start();
    wait_until([&] { return of_client >= 1 && of_cache >= 1; });

    client_listening.unlisten();
    const int before = of_client;
    const int then = of_cache;
    wait_until([&] { return of_cache > then; });
    CHECK(of_client == before);
}

void a_subscription_may_outlive_its_client()
{
    trace kept;
    subscription listening;
    {
        treecache::client client("localhost:1");
        token mine = make_token();
        kept = mine;
        listening = client.listen_fault([mine = std::move(mine)](const treecache::fault &) {});
        CHECK(!kept.expired());
    }
    CHECK(kept.expired());
    listening.unlisten();
}

void exceptions_go_to_the_handler(treecache::cache &still)
{
    std::atomic<int> thrown{0}, handled{0};
    std::atomic<bool> initialized{false};
    {
        const subscription listening = still.listen(
            [&](const treecache::event &event) {
                if (event.kind() == event_kind::in_step)
                    return; // was on its way when the listener was added
                if (event.kind() == event_kind::initialized) {
                    initialized = true;
                    return;
                }
                thrown++;
                throw std::runtime_error(std::string(event.path()));
            },
            [&](std::exception_ptr exception) {
                try {
                    std::rethrow_exception(exception);
                } catch (const std::runtime_error &error) {
                    handled += std::string(error.what()).rfind("/c/still", 0) == 0;
                }
            });
        wait_until([&] { return initialized.load(); });
    }
    CHECK(thrown == 6 && handled == 6);
}

// --- Ends --------------------------------------------------------------------------------------------------------

// From another thread, at any time of a call.
void ended_from_another_thread(treecache::cache &still, int round)
{
    std::atomic<int> calls{0};
    std::atomic<bool> over{false}, late{false};
    token kept = make_token();
    const trace alive = kept;
    {
        const subscription listening = still.listen([&, kept = std::move(kept)](const treecache::event &) {
            calls++;
            for (int spin = 0; spin < 200; spin++)
                if (over)
                    late = true;
            ++*kept;
        });
        while (calls < round % 8) // all told, it is called seven times
            std::this_thread::yield();
    }
    over = true;
    CHECK(alive.expired());
    const int calls_then = calls;
    if (round % 16 == 0)
        sleep_ms(1);
    CHECK(!late && calls == calls_then);
}

void ended_while_a_call_waits(treecache::cache &still)
{
    gate entered, go_on;
    std::atomic<bool> done{false};
    auto listening = std::make_unique<subscription>(still.listen([&](const treecache::event &) {
        entered.open();
        go_on.pass();
        sleep_ms(20);
        done = true;
    }));
    entered.pass();
    std::thread opener([&] {
        sleep_ms(20);
        go_on.open();
    });
    listening.reset();
    CHECK(done);
    opener.join();
}

void ended_by_its_own_call(treecache::cache &still)
{
    std::atomic<int> calls{0};
    std::atomic<bool> returned{false};
    gate assigned;
    std::unique_ptr<subscription> listening;
    token kept = make_token();
    const trace alive = kept;
    listening = std::make_unique<subscription>(still.listen([&, kept = std::move(kept)](const treecache::event &) {
        assigned.pass();
        calls++;
        listening.reset();
        ++*kept; // it lives as long as the call
        CHECK(kept.use_count() == 1);
        returned = true;
    }));
    assigned.open();
    wait_until([&] { return alive.expired(); });
    CHECK(returned && calls == 1);
}

// The usual way to be called once.
void ended_by_what_it_owns(treecache::cache &still)
{
    const auto listening = std::make_shared<subscription>();
    gate assigned;
    std::atomic<int> calls{0};
    *listening = still.listen([&, listening](const treecache::event &) {
        assigned.pass();
        calls++;
        listening->unlisten();
    });
    assigned.open();
    wait_until([&] { return listening.use_count() == 1; });
    CHECK(calls == 1 && !*listening);
}

void ended_by_a_call_of_another(treecache::cache &still, treecache::cache &moving)
{
    std::atomic<int> calls{0};
    std::atomic<bool> told{false};
    token kept = make_token();
    const trace alive = kept;
    auto other = std::make_unique<subscription>(
        moving.listen([&, kept = std::move(kept)](const treecache::event &) { calls++; }));
    wait_until([&] { return calls > 0; });
    const subscription listening = still.listen([&](const treecache::event &) {
        if (other != nullptr) {
            other.reset();
            CHECK(alive.expired());
            const int calls_then = calls;
            sleep_ms(1);
            CHECK(calls == calls_then);
            told = true;
        }
    });
    wait_until([&] { return told.load(); });
}

void ended_with_the_cache(const treecache::client &client)
{
    token kept = make_token();
    const trace alive = kept;
    std::atomic<int> calls{0};
    subscription listening;
    {
        treecache::cache cache = loaded(client, "/c/still");
        listening = cache.listen([&, kept = std::move(kept)](const treecache::event &) { calls++; });
        wait_until([&] { return calls > 0; });
    }
    CHECK(alive.expired() && listening);
    const int calls_then = calls;
    listening.unlisten();
    CHECK(calls == calls_then && !listening);
}

// A callable that owns its own subscription goes with the cache, and no memory stays.
void ended_with_the_cache_though_it_owns_itself(const treecache::client &client)
{
    const auto listening = std::make_shared<subscription>();
    const trace alive = [&] {
        token kept = make_token();
        const trace alive_then = kept;
        treecache::cache cache(client, "/c/still");
        *listening = cache.listen([listening, kept = std::move(kept)](const treecache::event &) {});
        return alive_then;
    }();
    CHECK(alive.expired() && listening.use_count() == 1);
}

void ended_by_the_call_that_destroys_the_cache(const treecache::client &client)
{
    auto cache = std::make_unique<treecache::cache>(loaded(client, "/c/still"));
    token kept = make_token();
    const trace alive = kept;
    gate assigned;
    std::atomic<int> calls{0};
    subscription listening = cache->listen([&, kept = std::move(kept)](const treecache::event &) {
        assigned.pass();
        calls++;
        cache.reset();
        ++*kept;
    });
    assigned.open();
    wait_until([&] { return alive.expired(); });
    CHECK(calls == 1);
}

void ended_by_a_callable_that_takes_the_cache_along(const treecache::client &client)
{
    auto cache = std::make_shared<treecache::cache>(loaded(client, "/c/still"));
    treecache::cache &seen = *cache;
    std::atomic<int> calls{0};
    subscription listening =
        seen.listen([&, cache = std::move(cache)](const treecache::event &) { calls += cache != nullptr; });
    wait_until([&] { return calls >= 7; });
    listening.unlisten();
}

void ended_together_with_the_cache(const treecache::client &client, int round)
{
    auto cache = std::make_unique<treecache::cache>(client, "/c/still");
    std::atomic<int> calls{0};
    token kept = make_token();
    const trace alive = kept;
    subscription listening = cache->listen([&, kept = std::move(kept)](const treecache::event &) { calls++; });
    cache->start();
    while (calls < round % 4)
        std::this_thread::yield();
    std::atomic<int> ready{0};
    std::thread other([&] {
        for (ready++; ready < 2;)
            std::this_thread::yield();
        cache.reset();
    });
    for (ready++; ready < 2;)
        std::this_thread::yield();
    listening.unlisten();
    CHECK(alive.expired());
    other.join();
}

void detached_ones_end_with_the_cache(const treecache::client &client)
{
    token kept = make_token();
    const trace alive = kept;
    std::atomic<int> calls{0};
    {
        treecache::cache cache = loaded(client, "/c/still");
        cache.listen([&, kept = std::move(kept)](const treecache::event &) { calls++; }).detach();
        wait_until([&] { return calls >= 7; });
        CHECK(!alive.expired());
    }
    CHECK(alive.expired());
}

void one_that_is_assigned_to_ends(treecache::cache &still)
{
    std::atomic<int> first{0}, second{0};
    token kept = make_token();
    const trace alive = kept;
    subscription listening = still.listen([&, kept = std::move(kept)](const treecache::event &) { first++; });
    subscription moved = std::move(listening);
    wait_until([&] { return first >= 7; });
    moved = still.listen([&](const treecache::event &) { second++; });
    CHECK(alive.expired());
    const int first_then = first;
    wait_until([&] { return second >= 7; });
    CHECK(first == first_then);
    subscription &same = moved;
    moved = std::move(same);
    CHECK(moved);
    moved = subscription();
    CHECK(!moved);
}

// The library does not go on calling what has no callable any more.
void ended_for_the_library_too(treecache::cache &moving)
{
    {
        std::atomic<int> calls{0};
        const subscription listening = moving.listen([&](const treecache::event &) { calls++; });
        wait_until([&] { return calls > 0; });
    }
    const treecache::stats before = moving.stats();
    wait_until([&] { return moving.stats().versions() >= before.versions() + 5; });
    CHECK(moving.stats().events() <= before.events() + 1); // one may have been about to be told
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 3) {
        std::fprintf(stderr, "usage: subscriptions HOSTS ROUNDS\n");
        return 2;
    }
    const int rounds = std::atoi(argv[2]);
    const treecache::client client(argv[1]);
    treecache::cache still = loaded(client, "/c/still");
    treecache::cache moving = loaded(client, "/c/moving");
    the_tree_so_far_comes_first(still);
    faults_are_told();
    a_subscription_may_outlive_its_client();
    exceptions_go_to_the_handler(still);
    ended_while_a_call_waits(still);
    ended_with_the_cache_though_it_owns_itself(client);
    one_that_is_assigned_to_ends(still);
    ended_for_the_library_too(moving);
    for (int round = 0; round < rounds; round++) {
        ended_from_another_thread(still, round);
        ended_by_its_own_call(still);
        ended_by_what_it_owns(still);
        ended_by_a_call_of_another(still, moving);
    }
    for (int round = 0; round < rounds; round += 10) {
        ended_with_the_cache(client);
        ended_by_the_call_that_destroys_the_cache(client);
        ended_by_a_callable_that_takes_the_cache_along(client);
        ended_together_with_the_cache(client, round);
        detached_ones_end_with_the_cache(client);
    }
    return failures == 0 ? 0 : 1;
}
