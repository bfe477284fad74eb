// A std::unordered_map under a std::shared_mutex, filled by a listener: what a program would read from that had only
// events. See README.md.
#include "subject.hpp"

#include <condition_variable>
#include <shared_mutex>
#include <unordered_map>

using namespace contender;

namespace {

constexpr size_t READS_A_BLOCK = 20000;

class Map final : public Program {
    Subject subject;
    mutable std::shared_mutex mutex;
    std::condition_variable_any changed;
    bool complete = false;
    std::unordered_map<std::string, std::shared_ptr<const std::string>> nodes;

    void connect(const std::string &hosts) override { subject.connect(hosts); }

    void load(const std::string &root) override
    {
        complete = false;
        subject.open(root);
        uint64_t listener;
        const auto tell = [](const tc_event *event, void *user) { static_cast<Map *>(user)->apply(*event); };
        check(tc_listen(subject.cache(), tell, this, nullptr, &listener), "tc_listen");
        subject.load();
        std::shared_lock lock(mutex);
        changed.wait(lock, [this] { return complete; });
    }

    void apply(const tc_event &event)
    {
        std::unique_lock lock(mutex);
        if (event.type == TC_EVENT_NODE_REMOVED)
            nodes.erase(std::string(event.path, event.path_len));
        else if (event.type <= TC_EVENT_NODE_UPDATED)
            nodes[std::string(event.path, event.path_len)] =
                std::make_shared<const std::string>(view(event.data, event.data_len));
        else if (event.type == TC_EVENT_INITIALIZED) {
            complete = true;
            changed.notify_all();
        }
    }

    Digest digest() override
    {
        std::shared_lock lock(mutex);
        Digest whole;
        for (const auto &[path, data] : nodes)
            whole.add(path, *data);
        return whole;
    }

    void listen() override { throw Failure{"only read from"}; }

    std::optional<std::string> get(const std::string &path) override
    {
        const auto data = find(path);
        return data == nullptr ? std::nullopt : std::optional(*data);
    }

    // The data is handed out counted, as a reader needs it who does not hold the lock for as long as they look at it.
    std::shared_ptr<const std::string> find(const std::string &path) const
    {
        std::shared_lock lock(mutex);
        const auto found = nodes.find(path);
        return found == nodes.end() ? nullptr : found->second;
    }

    size_t block(const std::string &what, const Share &share) override
    {
        if (what != "get")
            return 0;
        for (size_t i = 0, at = share.first; i < READS_A_BLOCK; i++) {
            if (find((*share.paths)[at]) == nullptr)
                throw Failure{(*share.paths)[at] + " is not there"};
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

int main()
{
    return Map().serve();
}
