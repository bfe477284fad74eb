// A client and its caches of libtreecache, for the programs that measure it or build on it.
#ifndef SUBJECT_HPP
#define SUBJECT_HPP

#include "contender.hpp"

#include <string>
#include <thread>
#include <treecache.h>
#include <vector>

namespace contender {

inline void check(int32_t status, const char *what)
{
    if (status != TC_OK)
        throw Failure{std::string(what) + ": " + tc_status_name(status)};
}

class Subject {
  public:
    Subject() = default;
    Subject(const Subject &) = delete;
    Subject &operator=(const Subject &) = delete;
    ~Subject() { close(); }

    // Connected, and nothing read yet. It takes a cache to ask whether there is a connection.
    void connect(const std::string &hosts)
    {
        check(tc_client_new(hosts.c_str(), nullptr, &client), "tc_client_new");
        open("/");
        for (int64_t age_ms = -1; age_ms < 0; std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
            tc_state state;
            check(tc_get_state(cache(), &state, &age_ms), "tc_get_state");
        }
        tc_free(caches.back());
        caches.pop_back();
    }

    // A cache that is not started yet, with settings such as "verify=read".
    void open(const std::string &root, const std::vector<std::string> &settings = {})
    {
        tc_config *config = tc_config_new();
        for (const std::string &setting : settings) {
            const size_t name = setting.find('=');
            const int32_t status =
                tc_config_set(config, setting.substr(0, name).c_str(), setting.c_str() + name + 1);
            check(status, setting.c_str());
        }
        tc_cache *opened = nullptr;
        const int32_t status = tc_new(client, root.c_str(), config, &opened);
        tc_config_free(config);
        check(status, "tc_new");
        caches.push_back(opened);
    }

    void start() { check(tc_start(cache()), "tc_start"); }

    // Complete, and in step.
    void load()
    {
        start();
        check(tc_wait_initialized(cache(), 600000), "tc_wait_initialized");
        while (!in_step())
            std::this_thread::yield();
    }

    bool is_connected() const { return client != nullptr; }

    // A cache of what is in a file: as new as the cache opened last is now, if there is one. That keeps the file, which goes
    // with it.
    void attach(const std::string &file)
    {
        const auto zxid = [this] {
            const tc_snapshot *snapshot;
            check(tc_get_snapshot(cache(), &snapshot), "tc_get_snapshot");
            const int64_t zxid = tc_snapshot_zxid(snapshot);
            tc_snapshot_free(snapshot);
            return zxid;
        };
        const int64_t newest = caches.empty() ? 0 : zxid();
        if (!caches.empty())
            kept = file;
        tc_cache *attached = nullptr;
        check(tc_attach(file.c_str(), nullptr, &attached), "tc_attach");
        caches.push_back(attached);
        check(tc_wait_initialized(attached, 600000), "tc_wait_initialized");
        while (zxid() < newest || !in_step())
            std::this_thread::sleep_for(LOOK);
    }

    bool in_step() const
    {
        tc_state state;
        int64_t age_ms;
        check(tc_get_state(cache(), &state, &age_ms), "tc_get_state");
        return state == TC_STATE_IN_STEP;
    }

    // The one opened last.
    tc_cache *cache() const { return caches.back(); }

    void close()
    {
        for (tc_cache *opened : caches)
            tc_free(opened);
        caches.clear();
        if (!kept.empty()) {
            std::remove(kept.c_str());
            std::remove((kept + ".side").c_str());
            kept.clear();
        }
        tc_client_free(client);
        client = nullptr;
    }

  private:
    tc_client *client = nullptr;
    std::vector<tc_cache *> caches;
    std::string kept;
};

inline std::string_view view(const uint8_t *data, size_t len)
{
    return {reinterpret_cast<const char *>(data), len};
}

} // namespace contender

#endif
