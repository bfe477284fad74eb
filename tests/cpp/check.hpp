// What the C++ tests have beside the checks of the C tests.
#ifndef CHECK_HPP
#define CHECK_HPP

#include "../c/check.h"

#include <treecache.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

// Against hanging only.
inline constexpr std::chrono::milliseconds a_while(LONG_MS);

#define FAIL(what)                                                                                                 \
    do {                                                                                                           \
        std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what);                                             \
        COUNT_FAILURE();                                                                                           \
    } while (0)

// As WAIT_UNTIL, for what is over in less than its pauses.
template <typename Condition>
void wait_until(Condition condition)
{
    const auto end = std::chrono::steady_clock::now() + a_while;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= end) {
            FAIL("what is waited for does not come");
            return;
        }
        std::this_thread::sleep_for(50us);
    }
}

// What one thread passes when another has opened it.
class gate {
  public:
    void open() { open_ = true; }
    void pass() const
    {
        wait_until([this] { return open_.load(); });
    }

  private:
    std::atomic<bool> open_{false};
};

#ifdef __cpp_exceptions
// Checks that an expression throws treecache::error with this status.
#define CHECK_THROWS(expected, ...)                                                                                \
    do {                                                                                                           \
        try {                                                                                                      \
            static_cast<void>(__VA_ARGS__);                                                                        \
            FAIL("no error: " #__VA_ARGS__);                                                                       \
        } catch (const treecache::error &thrown) {                                                                 \
            CHECK_STATUS(static_cast<int>(expected), static_cast<int>(thrown.status()));                           \
        }                                                                                                          \
    } while (0)

// A cache that is loaded.
inline treecache::cache loaded(const treecache::client &client, const treecache::string_arg &path)
{
    treecache::cache cache(client, path);
    cache.start();
    cache.wait_initialized(a_while);
    return cache;
}
#endif

#endif
