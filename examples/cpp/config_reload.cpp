// A service whose settings are in ZooKeeper, and which takes them over as one: whoever changes several settings in one
// transaction is sure that no request is ever served with the old value of one and the new value of another.
//
//     config_reload HOSTS [PATH]
//
// The settings are the children of PATH (default /config), each a node whose data is the value: `workers`, a number
// from 1 to 64, and `timeout.ms`. Prints them as it starts to use them, and says why when it does not. Enter ends it.
#include <treecache.hpp>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>
#include <unistd.h>

using namespace std::chrono_literals;

struct settings {
    int workers;
    std::chrono::milliseconds timeout;
};

// The settings in use. What serves a request takes them once, and has the same ones to its end.
class current_settings {
  public:
    std::shared_ptr<const settings> get() const
    {
        const std::lock_guard lock(mutex_);
        return settings_;
    }

    void set(settings settings)
    {
        auto fresh = std::make_shared<const struct settings>(settings);
        const std::lock_guard lock(mutex_);
        settings_ = std::move(fresh);
    }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<const settings> settings_;
};

int number(const treecache::snapshot &snapshot, const std::string &path, int least, int most)
{
    const treecache::node node = snapshot.get_data(path);
    const std::string_view text = node.data().text();
    int value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size() || value < least || value > most)
        throw std::runtime_error(path + ": not a number from " + std::to_string(least) + " to " + std::to_string(most));
    return value;
}

// All from one snapshot: from one moment of the server.
settings read(const treecache::snapshot &snapshot, const std::string &root)
{
    return {
        number(snapshot, root + "/workers", 1, 64),
        std::chrono::milliseconds(number(snapshot, root + "/timeout.ms", 1, 60000)),
    };
}

// Takes over what the cache holds; returns false when that is no consistent version yet, and is to be asked for again.
bool reload(const treecache::cache &cache, const std::string &root, current_settings &current)
{
    const treecache::snapshot snapshot = cache.snapshot();
    if (!snapshot.is_cut())
        return false;
    if (!snapshot.find(root)) {
        std::printf("in step; %s does not exist\n", root.c_str());
        std::fflush(stdout);
        return true;
    }
    try {
        current.set(read(snapshot, root));
        const std::shared_ptr<const settings> used = current.get();
        std::printf("using workers=%d timeout=%d ms\n", used->workers, static_cast<int>(used->timeout.count()));
    } catch (const std::exception &problem) { // one mistake in them, and the old ones stay in use
        std::printf("not using %s\n", problem.what());
    }
    std::fflush(stdout);
    return true;
}

void serve(const char *hosts, const std::string &root)
{
    treecache::client client(hosts);
    treecache::cache cache(client, root, {{"root.create", "false"}}); // somebody else makes it
    treecache::queue events(cache);
    current_settings current; // a real service gives it to its workers
    cache.start();

    bool due = false; // a version has come that was not taken over
    pollfd waiting[] = {{events.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    while (waiting[1].revents == 0) {
        for (const treecache::item &item : events.drain())
            due |= item.event()->last_of_version() || item.event()->kind() == treecache::event_kind::initialized;
        if (due && cache.is_initialized())
            due = !reload(cache, root, current);
        poll(waiting, 2, due ? 100 : -1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        std::fprintf(stderr, "usage: config_reload HOSTS [PATH]\n");
        return 2;
    }
    try {
        serve(argv[1], argc == 3 ? argv[2] : "/config");
        return 0;
    } catch (const treecache::error &error) {
        std::fprintf(stderr, "config_reload: %s\n", error.what());
        return 1;
    }
}
