// A cache that is attached to the file of another process: reads, events, the writer's death and return, what is no such file,
// and the child of a fork.
//
//     attached HOSTS               all but the fork
//     attached fork HOSTS          the fork
//     attached write HOSTS FILE    what they start: follows /c/moving, and keeps it in FILE, until it is ended
//
// Expects the tree of tests/c/tree.py on the server.
#include "check.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using treecache::event_kind;
using treecache::state;
using treecache::status;

const char *program, *hosts;

bool contains(std::string_view text, std::string_view part)
{
    return text.find(part) != std::string_view::npos;
}

int write_to(const char *file)
{
    const treecache::client client(hosts, {{"session.timeout.ms", "2000"}});
    treecache::cache cache(client, "/c/moving", {{"share.file", file}});
    cache.start();
    for (;;)
        pause();
}

// A folder in memory, which is removed with all that is in it.
class folder {
  public:
    folder() { CHECK(mkdtemp(path_.data()) != nullptr); }
    folder(const folder &) = delete;
    folder &operator=(const folder &) = delete;
    ~folder() { std::filesystem::remove_all(path_); }

    std::string operator/(const char *name) const { return path_ + '/' + name; }

  private:
    std::string path_ = "/dev/shm/treecache-XXXXXX";
};

// This program once more, as a writer.
class writer {
  public:
    explicit writer(const std::string &file)
    {
        std::vector<std::string> words{program, "write", hosts, file};
        std::vector<char *> arguments;
        for (std::string &word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        CHECK(posix_spawn(&pid_, program, nullptr, nullptr, arguments.data(), environ) == 0);
    }
    writer(const writer &) = delete;
    writer &operator=(const writer &) = delete;
    ~writer() { kill(); }

    // Nothing is said to the server, nor to readers.
    void kill()
    {
        if (pid_ > 0 && ::kill(pid_, SIGKILL) == 0)
            CHECK(waitpid(pid_, nullptr, 0) == pid_);
        pid_ = 0;
    }

  private:
    pid_t pid_ = 0;
};

// Takes events out of a queue until there is one of this kind.
void until(treecache::queue &queue, event_kind kind)
{
    for (;;) {
        const std::optional<treecache::item> item = queue.next(a_while);
        CHECK(item && item->event());
        if (!item || !item->event() || item->event()->kind() == kind)
            return;
    }
}

void waits_for_a_file_and_follows_it(const std::string &file)
{
    treecache::cache cache = treecache::cache::attach(file, {{"events.capacity", "1000"}});
    CHECK(cache.state().state == state::loading && !cache.state().age && !cache.is_initialized());
    CHECK(cache.snapshot().root().empty() && cache.snapshot().empty());
    CHECK_THROWS(status::not_ready, cache.get_data("/c/moving/beat"));
    CHECK_THROWS(status::timeout, cache.wait_initialized(10ms));
    CHECK_THROWS(status::state, cache.start());
    treecache::queue queue(cache);
    std::atomic<int> beats{0};
    const treecache::subscription listening = cache.listen([&](const treecache::event &event) {
        beats += event.kind() == event_kind::node_updated && event.path() == "/c/moving/beat";
    });

    writer writing(file);
    cache.wait_initialized(a_while);
    until(queue, event_kind::in_step);
    CHECK(cache.is_initialized() && cache.get_data("/c/moving/beat").data().size() > 0);
    CHECK(cache.get_children("/c/moving").size() >= 1);
    const treecache::snapshot snapshot = cache.snapshot();
    CHECK(snapshot.root() == "/c/moving" && snapshot.zxid() > 0 && snapshot.size() >= 2);
    std::size_t nodes = 0;
    for ([[maybe_unused]] const auto &visit : snapshot.subtree(snapshot.root()))
        nodes++;
    CHECK(nodes == snapshot.size());
    wait_until([&] { return beats >= 3; });
    wait_until([&] { return cache.state().state == state::in_step; });
    CHECK(cache.state().age && *cache.state().age < a_while);
    CHECK(cache.stats().connections() == 0 && cache.stats().session_id() == 0 && cache.stats().versions() > 0);
    try {
        cache.sync(a_while);
        FAIL("it has nobody to ask");
    } catch (const treecache::error &error) {
        CHECK(error.status() == status::unsupported && contains(error.what(), "is attached to a file"));
    }

    // Who reads is told when the writer has been silent for too long. What was read stays.
    writing.kill();
    // A busy machine may have had it suspended before that, too.
    do
        until(queue, event_kind::connection_suspended);
    while (cache.state().state != state::suspended);
    CHECK(cache.is_initialized());
    CHECK(cache.state().age && *cache.state().age >= 1s);
    const std::string last(cache.get_data("/c/moving/beat").data().text());
    writer again(file);
    until(queue, event_kind::connection_reconnected);
    until(queue, event_kind::in_step);
    wait_until([&] { return cache.get_data("/c/moving/beat").data().text() != last; });
}

void says_what_is_no_such_file(const folder &folder)
{
    const std::string file = folder / "passwords";
    std::ofstream(file) << "root:x:0:0:root:/root:/bin/bash";
    const auto attached = treecache::cache::try_attach(file);
    CHECK(attached.status() == status::invalid_argument);
    CHECK(attached.error().what() == "cannot attach to " + file + ": it is no shared tree");
    CHECK_THROWS(status::invalid_argument, treecache::cache::attach("/dev/shm"));
    CHECK_THROWS(status::invalid_argument, treecache::cache::attach(std::string_view("a\0b", 3)));
}

void refuses_the_file_of_another_root(const std::string &file)
{
    const treecache::client client(hosts);
    treecache::cache other(client, "/c/still", {{"share.file", file}});
    const auto started = other.try_start();
    CHECK(started.status() == status::invalid_argument && contains(started.error().what(), file));
    CHECK(contains(started.error().what(), "it is of /c/moving, and the cache is of /c/still"));
}

// What the parent has attached can be read in the child, which attaches itself to be told events.
void goes_on_in_a_child(const std::string &file)
{
    writer writing(file);
    treecache::cache cache = treecache::cache::attach(file);
    cache.wait_initialized(a_while);
    const treecache::subscription listening = cache.listen([](const treecache::event &) {});
    const std::string before(cache.get_data("/c/moving/beat").data().text());
    const pid_t child = fork();
    if (child == 0) {
        alarm(4 * LONG_MS / 1000);
        wait_until([&] { return cache.get_data("/c/moving/beat").data().text() != before; });
        wait_until([&] { return cache.state().state == state::in_step; });
        CHECK(cache.try_listen([](const treecache::event &) {}).status() == status::state);
        {
            treecache::cache own = treecache::cache::attach(file);
            treecache::queue queue(own);
            until(queue, event_kind::initialized);
            until(queue, event_kind::node_updated);
        }
        _exit(failures == 0 ? 7 : 1);
    }
    const std::string forked(cache.get_data("/c/moving/beat").data().text());
    wait_until([&] { return cache.get_data("/c/moving/beat").data().text() != forked; });
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

} // namespace

int main(int argc, char **argv)
{
    const std::string_view mode = argc > 2 ? argv[1] : "";
    if (argc < 2 || argc > 4 || (argc == 4) != (mode == "write") || (argc == 3) != (mode == "fork")) {
        std::fprintf(stderr, "usage: attached [fork] HOSTS\n       attached write HOSTS FILE\n");
        return 2;
    }
    program = argv[0];
    hosts = argv[argc == 2 ? 1 : 2];
    if (mode == "write")
        return write_to(argv[3]);
    const folder folder;
    const std::string file = folder / "tree";
    if (mode == "fork") {
        goes_on_in_a_child(file);
    } else {
        waits_for_a_file_and_follows_it(file);
        says_what_is_no_such_file(folder);
        refuses_the_file_of_another_root(file);
    }
    return failures == 0 ? 0 : 1;
}
