// What the C++ contenders share: the requests of README.md, the digest, and threads that read.
#ifndef CONTENDER_HPP
#define CONTENDER_HPP

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace contender {

using Clock = std::chrono::steady_clock;

constexpr auto LOOK = std::chrono::microseconds(200); // how often a wait looks

// Reports a failure as the answer to the request that is being served.
struct Failure {
    std::string what;
};

class Digest {
  public:
    uint64_t nodes = 0, sum = 0;

    void add(std::string_view path, std::string_view data)
    {
        uint32_t crc = extend(0xffffffff, path);
        crc = extend(crc, std::string_view("\0", 1));
        nodes += 1;
        sum += extend(crc, data) ^ 0xffffffff;
    }

  private:
    static constexpr std::array<uint32_t, 256> TABLE = [] {
        std::array<uint32_t, 256> table{};
        for (uint32_t i = 0; i < 256; i++) {
            table[i] = i;
            for (int bit = 0; bit < 8; bit++)
                table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320 : table[i] >> 1;
        }
        return table;
    }();

    static uint32_t extend(uint32_t crc, std::string_view bytes)
    {
        for (unsigned char byte : bytes)
            crc = TABLE[(crc ^ byte) & 0xff] ^ crc >> 8;
        return crc;
    }
};

// What a listener was told.
class Heard {
  public:
    void event(std::string_view data)
    {
        events.fetch_add(1, std::memory_order_relaxed);
        if (!data.empty() && data[0] == '#') {
            std::lock_guard lock(mutex);
            times.emplace_back(data, Clock::now().time_since_epoch());
        }
    }

    std::atomic<uint64_t> events{0}, versions{0};

  private:
    friend class Program;
    std::mutex mutex;
    std::vector<std::pair<std::string, std::chrono::nanoseconds>> times;
};

// A share of the paths, for one thread.
struct Share {
    const std::vector<std::string> *paths;
    size_t first, end;
};

class Program {
  public:
    virtual ~Program() = default;
    int serve();

  protected:
    virtual void connect(const std::string &hosts) = 0;
    virtual void load(const std::string &root) = 0;
    // Until the root can be read, however old it is.
    virtual void begin(const std::string &) { throw Failure{"has nothing that it could begin with"}; }
    virtual Digest digest() = 0;
    virtual void listen() = 0;
    virtual std::optional<std::string> get(const std::string &path) = 0;
    // Whether it says itself that it is in step with the server.
    virtual bool in_step() { return true; }
    virtual void close() = 0;
    // Reads what `what` names, over and over; returns how many reads that were, 0 when it does not know the name.
    virtual size_t block(const std::string &what, const Share &share) = 0;
    // Keeps the tree as it is now, to be compared with later.
    virtual void keep() { throw Failure{"has no snapshots"}; }
    virtual std::string cuts(std::chrono::milliseconds) { return "unsupported"; }

    Heard heard;

  private:
    std::string answer(const std::string &line);
    std::string write_heard(const std::string &file);
    void expect(const std::string &file, std::optional<std::string> data);
    void wait_until_expected();
    std::string measure(const std::string &what, const std::string &file, size_t threads,
                        std::chrono::milliseconds time);

    std::vector<std::string> expected;
    std::optional<std::string> expected_data;
};

} // namespace contender

#endif
