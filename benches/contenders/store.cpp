// What programs share trees by today: a database that other processes read, filled by a listener. Its argument says which:
// `lmdb`, in memory of the machine (/dev/shm), or `redis`, over a Unix socket. With `attach` behind it, it is the database of
// another one of these programs, and nothing is put into it here. See README.md.
#include "subject.hpp"

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <hiredis/hiredis.h>
#include <iostream>
#include <lmdb.h>
#include <memory>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

using namespace contender;

namespace {

constexpr size_t READS_A_BLOCK = 2000;
constexpr size_t LARGEST = 1024; // as much as a reader has room for

// The folder in memory where the database is: of the program that keeps it, until the end of that.
class Folder {
  public:
    explicit Folder(bool is_kept_) : is_kept(is_kept_)
    {
        if (is_kept) {
            remove();
            std::filesystem::create_directory(name);
        }
    }
    ~Folder()
    {
        if (is_kept)
            remove();
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;

    const bool is_kept;
    const std::string name = "/dev/shm/treecache-bench-store";

  private:
    void remove() { std::filesystem::remove_all(name); }
};

// One database, and what each thread needs to read it.
class Lmdb {
  public:
    class Reader {
      public:
        explicit Reader(const Lmdb &lmdb) : dbi(lmdb.dbi)
        {
            done(mdb_txn_begin(lmdb.env, nullptr, MDB_RDONLY, &txn), "mdb_txn_begin");
            mdb_txn_reset(txn);
        }
        ~Reader() { mdb_txn_abort(txn); }
        Reader(const Reader &) = delete;
        Reader &operator=(const Reader &) = delete;

        // The newest version each time.
        std::optional<size_t> read(const std::string &path, char *to)
        {
            done(mdb_txn_renew(txn), "mdb_txn_renew");
            MDB_val key{path.size(), const_cast<char *>(path.data())}, value;
            const int found = mdb_get(txn, dbi, &key, &value);
            std::optional<size_t> len;
            if (found == 0) {
                len = value.mv_size;
                std::memcpy(to, value.mv_data, std::min(value.mv_size, LARGEST));
            }
            mdb_txn_reset(txn);
            return len;
        }

      private:
        MDB_txn *txn = nullptr;
        MDB_dbi dbi;
    };

    explicit Lmdb(bool is_kept) : folder(is_kept)
    {
        done(mdb_env_create(&env), "mdb_env_create");
        done(mdb_env_set_mapsize(env, size_t(4) << 30), "mdb_env_set_mapsize");
        // Nothing is to outlast the machine's power.
        done(mdb_env_open(env, folder.name.c_str(), MDB_NOSYNC | MDB_NOTLS, 0600), "mdb_env_open");
        begin(is_kept ? 0 : MDB_RDONLY);
        done(mdb_dbi_open(writing, nullptr, 0, &dbi), "mdb_dbi_open");
        commit();
    }
    ~Lmdb()
    {
        if (writing != nullptr)
            mdb_txn_abort(writing);
        mdb_env_close(env);
    }
    Lmdb(const Lmdb &) = delete;
    Lmdb &operator=(const Lmdb &) = delete;

    void put(std::string_view path, std::string_view data)
    {
        begin();
        MDB_val key{path.size(), const_cast<char *>(path.data())};
        MDB_val value{data.size(), const_cast<char *>(data.data())};
        done(mdb_put(writing, dbi, &key, &value, 0), "mdb_put");
    }

    void erase(std::string_view path)
    {
        begin();
        MDB_val key{path.size(), const_cast<char *>(path.data())};
        done(mdb_del(writing, dbi, &key, nullptr), "mdb_del");
    }

    void commit()
    {
        if (writing != nullptr)
            done(mdb_txn_commit(std::exchange(writing, nullptr)), "mdb_txn_commit");
    }

  private:
    static void done(int status, const char *what)
    {
        if (status != 0)
            throw Failure{std::string(what) + ": " + mdb_strerror(status)};
    }

    void begin(unsigned flags = 0)
    {
        if (writing == nullptr)
            done(mdb_txn_begin(env, nullptr, flags, &writing), "mdb_txn_begin");
    }

    Folder folder;
    MDB_env *env = nullptr;
    MDB_txn *writing = nullptr;
    MDB_dbi dbi = 0;
};

// A server of its own.
class Redis {
    using Connection = std::unique_ptr<redisContext, decltype(&redisFree)>;
    using Reply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

  public:
    class Reader {
      public:
        explicit Reader(const Redis &redis) : connection(redis.connect()) {}

        std::optional<size_t> read(const std::string &path, char *to)
        {
            const char *arguments[] = {"GET", path.data()};
            const size_t lens[] = {3, path.size()};
            const Reply reply = taken(redisCommandArgv(connection.get(), 2, arguments, lens));
            if (reply->type != REDIS_REPLY_STRING)
                return std::nullopt;
            std::memcpy(to, reply->str, std::min(reply->len, LARGEST));
            return reply->len;
        }

      private:
        Connection connection;
    };

    explicit Redis(bool is_kept) : folder(is_kept)
    {
        server = is_kept ? fork() : -1;
        if (server == 0) {
            // Debian's redis-tools has the server under this name, and starts none.
            execlp("redis-check-rdb", "redis-server", "--port", "0", "--unixsocket", socket().c_str(), "--save", "",
                   "--appendonly", "no", "--logfile", "/dev/null", nullptr);
            _exit(127);
        }
        const auto began = Clock::now();
        while (!(writing = connect())) {
            if (Clock::now() - began > std::chrono::seconds(20))
                throw Failure{"no redis-server"};
            std::this_thread::sleep_for(LOOK);
        }
    }
    ~Redis()
    {
        if (server > 0) {
            kill(server, SIGKILL);
            waitpid(server, nullptr, 0);
        }
    }
    Redis(const Redis &) = delete;
    Redis &operator=(const Redis &) = delete;

    void put(std::string_view path, std::string_view data) { send({"SET", path, data}); }
    void erase(std::string_view path) { send({"DEL", path}); }

    void commit()
    {
        for (; pending > 0; pending--) {
            void *reply = nullptr;
            redisGetReply(writing.get(), &reply);
            taken(reply);
        }
    }

  private:
    std::string socket() const { return folder.name + "/socket"; }

    Connection connect() const
    {
        Connection made(redisConnectUnix(socket().c_str()), redisFree);
        return made && made->err == 0 ? std::move(made) : Connection(nullptr, redisFree);
    }

    static Reply taken(void *reply)
    {
        if (reply == nullptr)
            throw Failure{"redis has closed the connection"};
        return Reply(static_cast<redisReply *>(reply), freeReplyObject);
    }

    void send(const std::vector<std::string_view> &words)
    {
        std::vector<const char *> arguments;
        std::vector<size_t> lens;
        for (const std::string_view word : words) {
            arguments.push_back(word.data());
            lens.push_back(word.size());
        }
        redisAppendCommandArgv(writing.get(), int(words.size()), arguments.data(), lens.data());
        if (++pending == 1000)
            commit();
    }

    Folder folder;
    pid_t server = -1;
    Connection writing{nullptr, redisFree};
    size_t pending = 0;
};

template <typename Database> class Store final : public Program {
  public:
    explicit Store(bool is_kept_) : is_kept(is_kept_) {}

  private:
    const bool is_kept;
    Subject subject;
    std::unique_ptr<Database> database;
    std::string root;
    std::mutex mutex;
    std::condition_variable changed;
    bool complete = false;

    void connect(const std::string &hosts) override { subject.connect(hosts); }

    void load(const std::string &path) override
    {
        root = path;
        complete = false;
        database = std::make_unique<Database>(is_kept);
        if (!is_kept)
            return;
        subject.open(root);
        uint64_t listener;
        const auto tell = [](const tc_event *event, void *user) { static_cast<Store *>(user)->apply(*event); };
        check(tc_listen(subject.cache(), tell, this, nullptr, &listener), "tc_listen");
        subject.load();
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return complete; });
    }

    void apply(const tc_event &event)
    {
        const std::string_view path{event.path, event.path_len};
        if (event.type == TC_EVENT_NODE_REMOVED)
            database->erase(path);
        else if (event.type <= TC_EVENT_NODE_UPDATED)
            database->put(path, view(event.data, event.data_len));
        if (event.type <= TC_EVENT_NODE_REMOVED && event.flags & TC_EVENT_LAST_OF_VERSION)
            database->commit();
        if (event.type == TC_EVENT_INITIALIZED) {
            std::lock_guard lock(mutex);
            complete = true;
            changed.notify_all();
        }
    }

    // Of what is read for the paths that the cache has.
    Digest digest() override
    {
        struct Sum {
            typename Database::Reader reader;
            Digest whole;
        } sum{typename Database::Reader(*database), {}};
        const tc_snapshot *snapshot;
        check(tc_get_snapshot(subject.cache(), &snapshot), "tc_get_snapshot");
        const auto add = [](const char *path, size_t len, const tc_node *, void *user) -> int32_t {
            auto *sum = static_cast<Sum *>(user);
            char data[LARGEST];
            if (const auto read = sum->reader.read(std::string(path, len), data))
                sum->whole.add({path, len}, {data, std::min(*read, LARGEST)});
            return TC_WALK_CONTINUE;
        };
        const int32_t status = tc_snapshot_walk(snapshot, root.c_str(), add, &sum);
        tc_snapshot_free(snapshot);
        check(status, "tc_snapshot_walk");
        return sum.whole;
    }

    void listen() override { throw Failure{"only read from"}; }

    std::optional<std::string> get(const std::string &path) override
    {
        char data[LARGEST];
        const auto len = typename Database::Reader(*database).read(path, data);
        return len ? std::optional(std::string(data, std::min(*len, LARGEST))) : std::nullopt;
    }

    size_t block(const std::string &what, const Share &share) override
    {
        if (what != "get")
            return 0;
        thread_local std::unique_ptr<typename Database::Reader> reader;
        if (!reader)
            reader = std::make_unique<typename Database::Reader>(*database);
        for (size_t i = 0, at = share.first; i < READS_A_BLOCK; i++) {
            char data[LARGEST];
            if (!reader->read((*share.paths)[at], data))
                throw Failure{(*share.paths)[at] + " is not there"};
            asm volatile("" : : "r"(data) : "memory");
            if (++at == share.end)
                at = share.first;
        }
        return READS_A_BLOCK;
    }

    void close() override
    {
        subject.close();
        database.reset();
    }
};

} // namespace

int main(int count, char **arguments)
{
    const std::string_view kind = count > 1 ? arguments[1] : "", attach = count == 3 ? arguments[2] : "";
    if (count <= 3 && (count < 3 || attach == "attach")) {
        if (kind == "lmdb")
            return Store<Lmdb>(count < 3).serve();
        if (kind == "redis")
            return Store<Redis>(count < 3).serve();
    }
    std::cerr << "usage: store lmdb|redis [attach]\n";
    return 2;
}
