// libtreecache, through its C ABI. Settings of a cache as arguments, KEY=VALUE; all others at their defaults. With attach=FILE,
// what is read is a cache that is attached to that file. See README.md.
#include "subject.hpp"

#include <condition_variable>

using namespace contender;

namespace {

constexpr size_t READS_A_BLOCK = 20000;

class Treecache final : public Program {
    const std::vector<std::string> settings;
    const std::string file; // to be attached to
    Subject subject;
    std::string root;
    const tc_snapshot *kept = nullptr; // the older one of a difference
    std::mutex mutex;
    std::condition_variable changed;
    bool told = false;

  public:
    Treecache(std::vector<std::string> settings_, std::string file_)
        : settings(std::move(settings_)), file(std::move(file_))
    {
    }

  private:
    void connect(const std::string &hosts) override { subject.connect(hosts); }

    void load(const std::string &path) override
    {
        root = path;
        // Who attaches to another process's file needs no session.
        if (file.empty() || subject.is_connected()) {
            subject.open(root, settings);
            subject.load();
        }
        if (!file.empty())
            subject.attach(file);
    }

    void begin(const std::string &path) override
    {
        root = path;
        subject.open(root, settings);
        subject.start();
        while (!get(root))
            std::this_thread::sleep_for(LOOK);
    }

    void keep() override
    {
        tc_snapshot_free(kept);
        kept = nullptr;
        check(tc_get_snapshot(subject.cache(), &kept), "tc_get_snapshot");
    }

    Digest digest() override
    {
        Digest whole;
        const tc_snapshot *snapshot;
        check(tc_get_snapshot(subject.cache(), &snapshot), "tc_get_snapshot");
        const auto add = [](const char *path, size_t path_len, const tc_node *node, void *user) -> int32_t {
            static_cast<Digest *>(user)->add({path, path_len}, view(node->data, node->data_len));
            return TC_WALK_CONTINUE;
        };
        const int32_t status = tc_snapshot_walk(snapshot, root.c_str(), add, &whole);
        tc_snapshot_free(snapshot);
        check(status, "tc_snapshot_walk");
        return whole;
    }

    void listen() override
    {
        const auto tell = [](const tc_event *event, void *user) {
            auto *self = static_cast<Treecache *>(user);
            if (event->type <= TC_EVENT_NODE_REMOVED) {
                self->heard.event(view(event->data, event->data_len));
                self->heard.versions += event->flags & TC_EVENT_LAST_OF_VERSION;
            } else if (event->type == TC_EVENT_INITIALIZED) {
                std::lock_guard lock(self->mutex);
                self->told = true;
                self->changed.notify_all();
            }
        };
        told = false;
        uint64_t listener;
        check(tc_listen(subject.cache(), tell, this, nullptr, &listener), "tc_listen");
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return told; });
    }

    std::optional<std::string> get(const std::string &path) override
    {
        const tc_node *node;
        const int32_t status = tc_get_data(subject.cache(), path.c_str(), &node);
        if (status == TC_ERR_NO_NODE || status == TC_ERR_NOT_READY)
            return std::nullopt;
        check(status, "tc_get_data");
        std::string data(view(node->data, node->data_len));
        tc_node_free(node);
        return data;
    }

    bool in_step() override { return subject.in_step(); }

    void close() override
    {
        tc_snapshot_free(kept);
        kept = nullptr;
        subject.close();
    }

    size_t block(const std::string &what, const Share &share) override
    {
        const auto each = [&share](auto read) {
            for (size_t i = 0, at = share.first; i < READS_A_BLOCK; i++) {
                read((*share.paths)[at].c_str());
                if (++at == share.end)
                    at = share.first;
            }
            return READS_A_BLOCK;
        };
        const tc_cache *cache = subject.cache();
        if (what == "get") {
            return each([cache](const char *path) {
                uint8_t data[1024];
                size_t data_len;
                tc_stat stat;
                const int32_t status = tc_copy_data(cache, path, data, sizeof data, &data_len, &stat);
                if (status != TC_OK)
                    throw Failure{std::string(path) + ": " + tc_status_name(status)};
            });
        }
        if (what == "children") {
            return each([cache](const char *path) {
                const tc_children *children;
                check(tc_get_children(cache, path, &children), "tc_get_children");
                tc_children_free(children);
            });
        }
        if (what == "snapshot") {
            return each([cache](const char *) {
                const tc_snapshot *snapshot;
                check(tc_get_snapshot(cache, &snapshot), "tc_get_snapshot");
                tc_snapshot_free(snapshot);
            });
        }
        if (what == "walk")
            return walk();
        if (what == "diff")
            return diff();
        return 0;
    }

    // How many nodes.
    size_t walk() const
    {
        size_t nodes = 0;
        const tc_snapshot *snapshot;
        check(tc_get_snapshot(subject.cache(), &snapshot), "tc_get_snapshot");
        const auto count = [](const char *, size_t, const tc_node *, void *user) -> int32_t {
            ++*static_cast<size_t *>(user);
            return TC_WALK_CONTINUE;
        };
        check(tc_snapshot_walk(snapshot, root.c_str(), count, &nodes), "tc_snapshot_walk");
        tc_snapshot_free(snapshot);
        return nodes;
    }

    // How many changes since the snapshot that was kept.
    size_t diff() const
    {
        size_t changes = 0;
        const tc_snapshot *now;
        check(tc_get_snapshot(subject.cache(), &now), "tc_get_snapshot");
        const auto count = [](const tc_event *, void *user) -> int32_t {
            ++*static_cast<size_t *>(user);
            return TC_WALK_CONTINUE;
        };
        check(tc_snapshot_diff(kept, now, count, &changes), "tc_snapshot_diff");
        tc_snapshot_free(now);
        return changes;
    }

    std::string cuts(std::chrono::milliseconds time) override
    {
        const auto opened = Clock::now();
        auto last_cut = opened;
        Clock::duration gap{};
        int64_t last = 0;
        size_t count = 0;
        for (;;) {
            const tc_snapshot *snapshot;
            check(tc_get_snapshot(subject.cache(), &snapshot), "tc_get_snapshot");
            const bool is_cut = tc_snapshot_is_cut(snapshot);
            const int64_t zxid = tc_snapshot_zxid(snapshot);
            tc_snapshot_free(snapshot);
            const auto now = Clock::now();
            if (is_cut && zxid != last) {
                last = zxid;
                count += 1;
                gap = std::max(gap, now - last_cut);
                last_cut = now;
            }
            if (now - opened >= time) {
                // The gap that is still open counts, too.
                const std::chrono::duration<double> longest = std::max(gap, now - last_cut);
                return "ok cuts=" + std::to_string(count) + " gap=" + std::to_string(longest.count());
            }
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
};

} // namespace

int main(int argc, char **argv)
{
    constexpr std::string_view ATTACH = "attach=";
    std::vector<std::string> settings;
    std::string file;
    for (int i = 1; i < argc; i++) {
        const std::string argument = argv[i];
        if (argument.rfind(ATTACH, 0) == 0)
            file = argument.substr(ATTACH.size());
        else
            settings.push_back(argument);
    }
    return Treecache(std::move(settings), std::move(file)).serve();
}
