// A locked std::unordered_map, filled by a listener: what a program would read from that had only events. Its argument
// says which lock: `shared`, whose readers take what is found counted, or `mutex`, whose readers copy it. See README.md.
#include "subject.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <iostream>
#include <shared_mutex>
#include <unordered_map>

using namespace contender;

namespace {

constexpr size_t READS_A_BLOCK = 20000;

// The data is handed out counted, as a reader needs it who does not hold the lock for as long as they look at it.
struct Shared {
    using Mutex = std::shared_mutex;
    using ReadLock = std::shared_lock<Mutex>;
    using Value = std::shared_ptr<const std::string>;
    using Found = Value;

    static Value keep(std::string_view data) { return std::make_shared<const std::string>(data); }
    static const std::string &data(const Value &value) { return *value; }
    static void hand_out(const Value &value, Found &found) { found = value; }
};

// The data is copied to memory of the reader.
struct Exclusive {
    using Mutex = std::mutex;
    using ReadLock = std::unique_lock<Mutex>;
    using Value = std::string;
    struct Found {
        size_t len;
        char data[1024];
    };

    static Value keep(std::string_view data) { return Value(data); }
    static const std::string &data(const Value &value) { return value; }
    static void hand_out(const Value &value, Found &found)
    {
        found.len = std::min(value.size(), sizeof found.data);
        std::memcpy(found.data, value.data(), found.len);
    }
};

template <typename Kind> class Map final : public Program {
    Subject subject;
    mutable typename Kind::Mutex mutex;
    std::condition_variable_any changed;
    bool complete = false;
    std::unordered_map<std::string, typename Kind::Value> nodes;

    void connect(const std::string &hosts) override { subject.connect(hosts); }

    void load(const std::string &root) override
    {
        complete = false;
        subject.open(root);
        uint64_t listener;
        const auto tell = [](const tc_event *event, void *user) { static_cast<Map *>(user)->apply(*event); };
        check(tc_listen(subject.cache(), tell, this, nullptr, &listener), "tc_listen");
        subject.load();
        typename Kind::ReadLock lock(mutex);
        changed.wait(lock, [this] { return complete; });
    }

    void apply(const tc_event &event)
    {
        std::unique_lock lock(mutex);
        if (event.type == TC_EVENT_NODE_REMOVED)
            nodes.erase(std::string(event.path, event.path_len));
        else if (event.type <= TC_EVENT_NODE_UPDATED)
            nodes[std::string(event.path, event.path_len)] =
                Kind::keep(view(event.data, event.data_len));
        else if (event.type == TC_EVENT_INITIALIZED) {
            complete = true;
            changed.notify_all();
        }
    }

    Digest digest() override
    {
        typename Kind::ReadLock lock(mutex);
        Digest whole;
        for (const auto &[path, data] : nodes)
            whole.add(path, Kind::data(data));
        return whole;
    }

    void listen() override { throw Failure{"only read from"}; }

    std::optional<std::string> get(const std::string &path) override
    {
        typename Kind::ReadLock lock(mutex);
        const auto found = nodes.find(path);
        return found == nodes.end() ? std::nullopt : std::optional(Kind::data(found->second));
    }

    bool read(const std::string &path, typename Kind::Found &to) const
    {
        typename Kind::ReadLock lock(mutex);
        const auto found = nodes.find(path);
        if (found == nodes.end())
            return false;
        Kind::hand_out(found->second, to);
        return true;
    }

    size_t block(const std::string &what, const Share &share) override
    {
        if (what != "get")
            return 0;
        for (size_t i = 0, at = share.first; i < READS_A_BLOCK; i++) {
            typename Kind::Found found;
            if (!read((*share.paths)[at], found))
                throw Failure{(*share.paths)[at] + " is not there"};
            // What was found is looked at, for all that the compiler knows.
            asm volatile("" : : "r"(&found) : "memory");
            if (++at == share.end)
                at = share.first;
        }
        return READS_A_BLOCK;
    }

    void close() override
    {
        subject.close();
        nodes.clear();
    }
};

} // namespace

int main(int count, char **arguments)
{
    const std::string_view kind = count == 2 ? arguments[1] : "";
    if (kind == "shared")
        return Map<Shared>().serve();
    if (kind == "mutex")
        return Map<Exclusive>().serve();
    std::cerr << "usage: map shared|mutex\n";
    return 2;
}
