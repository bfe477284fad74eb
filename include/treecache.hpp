/*
 * libtreecache for C++17 and later: treecache.h with lifetimes, views, ranges and lambdas. Header-only; what is not
 * said here is as there. docs/cpp.md is the guide. What holds everywhere:
 *
 * Errors. What can fail has two forms: `f` throws `error`, `try_f` returns a `result`; a constructor's is
 * `T::try_make`. Without exceptions (-fno-exceptions) there are the second forms only.
 *
 * Ownership. All classes that own something can be moved, not copied. One that was moved from may be destroyed and
 * assigned to. Destructors do not throw. Views (`bytes`, `node_view`, `event`, `fault`, std::string_view) are valid as
 * long as what they were taken from; those that a callable is given, for the length of the call.
 *
 * Threads. Const functions may be called on any thread at any time, as may all functions of `client`, `cache` and
 * `queue`, except moves and destruction.
 *
 * Cost. Nothing is allocated beyond what the C functions do, save by errors with a text, for listeners (a block for
 * each, and one for each cache), and for a path that is given as a string_view of more than 255 bytes.
 */
#ifndef TREECACHE_HPP
#define TREECACHE_HPP

#include <treecache.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

#if __cplusplus >= 202002L
#include <ranges>
#endif

#ifdef __cpp_exceptions
#define TREECACHE_EXCEPTIONS 1
#else
#define TREECACHE_EXCEPTIONS 0
#endif

namespace treecache {
#if !TREECACHE_EXCEPTIONS
// Code with exceptions and code without may meet in one program; what is inline here must not.
inline namespace without_exceptions {
#endif

// --- Numbers -----------------------------------------------------------------------------------------------------

/// How a call ended. A later library may know more of them.
enum class status : std::int32_t {
    ok = TC_OK,
    invalid_argument = TC_ERR_INVALID_ARGUMENT,
    no_node = TC_ERR_NO_NODE,
    out_of_tree = TC_ERR_OUT_OF_TREE,
    not_ready = TC_ERR_NOT_READY,
    state = TC_ERR_STATE,
    closed = TC_ERR_CLOSED,
    timeout = TC_ERR_TIMEOUT,
    would_deadlock = TC_ERR_WOULD_DEADLOCK,
    unsupported = TC_ERR_UNSUPPORTED,
    auth = TC_ERR_AUTH,
    panic = TC_ERR_PANIC,
    no_permission = TC_ERR_NO_PERMISSION,
    connection = TC_ERR_CONNECTION,
    protocol = TC_ERR_PROTOCOL,
    tls = TC_ERR_TLS,
    reset = TC_ERR_RESET,
    limit = TC_ERR_LIMIT,
    interrupted = TC_ERR_INTERRUPTED,
    too_small = TC_ERR_TOO_SMALL,
};

/// The name of a status in C, e.g. "TC_ERR_NO_NODE".
[[nodiscard]] inline const char *name(status status) noexcept
{
    return tc_status_name(static_cast<std::int32_t>(status));
}

namespace detail {

/// What a status means, where nothing says more.
inline const char *words(status status) noexcept
{
    switch (status) {
    case status::ok: return "done";
    case status::invalid_argument: return "it is malformed";
    case status::no_node: return "there is no such node";
    case status::out_of_tree: return "it is not below the root of the cache";
    case status::not_ready: return "the first load is not complete, and the node has not been seen yet";
    case status::state: return "it was started before, not started, or made before the process was forked";
    case status::closed: return "it is closed";
    case status::timeout: return "the time to wait is over";
    case status::would_deadlock: return "waiting in a callback would wait for itself";
    case status::unsupported: return "the server cannot do what the cache needs";
    case status::auth: return "the server does not take who the session is";
    case status::panic: return "a defect in libtreecache has ended it";
    case status::no_permission: return "the session may not read the node, or one above it";
    case status::connection: return "there is no connection";
    case status::protocol: return "the server broke the protocol";
    case status::tls: return "TLS failed";
    case status::reset: return "the ensemble went back in time";
    case status::limit: return "the tree is beyond a limit, and the cache has stopped";
    case status::interrupted: return "the wait was ended by a wake";
    case status::too_small: return "the buffer is too small";
    }
    return "it has failed";
}

} // namespace detail

/// How a cache stands to the server.
enum class state : std::int32_t {
    latent = TC_STATE_LATENT,
    loading = TC_STATE_LOADING,
    in_step = TC_STATE_IN_STEP,
    catching_up = TC_STATE_CATCHING_UP,
    suspended = TC_STATE_SUSPENDED,
    lost = TC_STATE_LOST,
    closed = TC_STATE_CLOSED,
    warm = TC_STATE_WARM,
    held = TC_STATE_HELD,
};

/// What happened. A later library may know more of them.
enum class event_kind : std::int32_t {
    node_added = TC_EVENT_NODE_ADDED,
    node_updated = TC_EVENT_NODE_UPDATED,
    node_removed = TC_EVENT_NODE_REMOVED,
    connection_suspended = TC_EVENT_CONNECTION_SUSPENDED,
    connection_reconnected = TC_EVENT_CONNECTION_RECONNECTED,
    connection_lost = TC_EVENT_CONNECTION_LOST,
    initialized = TC_EVENT_INITIALIZED,
    in_step = TC_EVENT_IN_STEP,
};

/// A visitor's answer; one that returns void always proceeds.
enum class walk : std::int32_t {
    proceed = TC_WALK_CONTINUE,
    skip_children = TC_WALK_SKIP_CHILDREN,
    stop = TC_WALK_STOP,
};

// --- Errors ------------------------------------------------------------------------------------------------------

/// Why a call failed.
class error : public std::exception {
  public:
    explicit error(treecache::status status) noexcept : status_(status) {}

    error(treecache::status status, std::string key, std::string path, std::string message) : status_(status)
    {
        std::string what = message;
        if (what.empty())
            what.append(path).append(path.empty() ? "" : ": ").append(detail::words(status));
        details_ = std::make_shared<const details>(
            details{std::move(key), std::move(path), std::move(message), std::move(what)});
    }

    [[nodiscard]] treecache::status status() const noexcept { return status_; }

    /// The configuration key at fault; empty when it is none.
    [[nodiscard]] std::string_view key() const noexcept { return text(&details::key); }

    /// The path at fault. Empty when it is none, and where a `try_` form was given the path, which then the caller
    /// has.
    [[nodiscard]] std::string_view path() const noexcept { return text(&details::path); }

    /// What the library has to say of it, for people, without secrets; may be empty.
    [[nodiscard]] std::string_view message() const noexcept { return text(&details::message); }

    /// A sentence: the message, or what the status means, with the path. (For its name there is `name(status())`.)
    [[nodiscard]] const char *what() const noexcept override
    {
        return details_ ? details_->what.c_str() : detail::words(status_);
    }

  private:
    struct details {
        std::string key, path, message, what;
    };

    std::string_view text(std::string details::*member) const noexcept
    {
        return details_ ? std::string_view((*details_).*member) : std::string_view();
    }

    treecache::status status_;
    std::shared_ptr<const details> details_; // null where the status says it all
};

/// A value, or the error why there is none: std::expected in small.
template <typename T>
class [[nodiscard]] result {
  public:
    result(T value) noexcept : held_(std::move(value)) {}
    result(treecache::error error) noexcept : held_(std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return std::holds_alternative<T>(held_); }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }

    /// The value. Only when there is one.
    [[nodiscard]] T &operator*() & noexcept { return *std::get_if<T>(&held_); }
    [[nodiscard]] const T &operator*() const & noexcept { return *std::get_if<T>(&held_); }
    [[nodiscard]] T &&operator*() && noexcept { return std::move(*std::get_if<T>(&held_)); }
    [[nodiscard]] T *operator->() noexcept { return std::get_if<T>(&held_); }
    [[nodiscard]] const T *operator->() const noexcept { return std::get_if<T>(&held_); }

    template <typename U>
    [[nodiscard]] T value_or(U &&otherwise) &&
    {
        return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(otherwise));
    }

    /// `status::ok` when there is a value.
    [[nodiscard]] treecache::status status() const noexcept
    {
        return has_value() ? treecache::status::ok : error().status();
    }

    /// Why there is no value. Only when there is none.
    [[nodiscard]] const treecache::error &error() const noexcept { return *std::get_if<treecache::error>(&held_); }

#if TREECACHE_EXCEPTIONS
    /// The value; throws the error when there is none.
    T &value() &
    {
        check();
        return **this;
    }
    const T &value() const &
    {
        check();
        return **this;
    }
    T &&value() &&
    {
        check();
        return *std::move(*this);
    }
#endif

  private:
#if TREECACHE_EXCEPTIONS
    void check() const
    {
        if (!has_value())
            throw error();
    }
#endif

    std::variant<T, treecache::error> held_;
};

/// Done, or the error why not.
template <>
class [[nodiscard]] result<void> {
  public:
    result() noexcept = default;
    result(treecache::error error) noexcept : error_(std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    void operator*() const noexcept {}

    /// `status::ok` when it is done.
    [[nodiscard]] treecache::status status() const noexcept
    {
        return error_ ? error_->status() : treecache::status::ok;
    }

    /// Why it is not done. Only when it is not.
    [[nodiscard]] const treecache::error &error() const noexcept { return *error_; }

#if TREECACHE_EXCEPTIONS
    /// Throws the error when there is one.
    void value() const
    {
        if (error_)
            throw *error_;
    }
#endif

  private:
    std::optional<treecache::error> error_;
};

// --- Arguments ---------------------------------------------------------------------------------------------------

/// A string that is passed to C: made by itself from what the program has. A string_view, which C cannot read, is
/// copied, up to 255 bytes without an allocation. One with a NUL within is refused by the call
/// (`status::invalid_argument`).
class string_arg {
  public:
    string_arg(const char *text) noexcept : text_(text) {}
    string_arg(const std::string &text) noexcept : text_(has_nul(text) ? nullptr : text.c_str()) {}
    string_arg(std::string_view text)
    {
        if (has_nul(text))
            return;
        char *copy = buffer_;
        if (text.size() >= sizeof buffer_) {
            allocated_.reset(new char[text.size() + 1]);
            copy = allocated_.get();
        }
        if (!text.empty())
            std::memcpy(copy, text.data(), text.size());
        copy[text.size()] = '\0';
        text_ = copy;
    }
    string_arg(const string_arg &) = delete;
    string_arg &operator=(const string_arg &) = delete;

    /// NULL for what C cannot be told.
    [[nodiscard]] const char *c_str() const noexcept { return text_; }

  private:
    static bool has_nul(std::string_view text) noexcept { return text.find('\0') != std::string_view::npos; }

    const char *text_ = nullptr;
    std::unique_ptr<char[]> allocated_;
    char buffer_[256]; // not initialised where it is not needed
};

/// How long to wait at most: any std::chrono duration, rounded up to ms; none when it is negative, and without a limit
/// when it is longer than 24 days.
class timeout {
  public:
    /// No limit: `forever`.
    constexpr timeout() noexcept = default;

    template <typename Rep, typename Period>
    constexpr timeout(std::chrono::duration<Rep, Period> duration) noexcept
    {
        // In floating point nothing overflows.
        const double ms = std::chrono::duration<double, std::milli>(duration).count();
        if (ms <= 0)
            ms_ = 0;
        else if (ms < std::numeric_limits<std::int32_t>::max()) {
            ms_ = static_cast<std::int32_t>(ms);
            ms_ += ms_ < ms;
        }
    }

    [[nodiscard]] constexpr std::int32_t ms() const noexcept { return ms_; }

  private:
    std::int32_t ms_ = -1;
};

inline constexpr timeout forever{};

// --- Views -------------------------------------------------------------------------------------------------------

/// Bytes of somebody else, with the interface of std::span<const std::byte>, to which it converts where there is one.
/// (It is not std::span itself: then functions with it would differ between C++17 and C++20.)
class bytes {
  public:
    using element_type = const std::byte;
    using value_type = std::byte;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::byte *;
    using const_pointer = pointer;
    using reference = const std::byte &;
    using const_reference = reference;
    using iterator = pointer;
    using reverse_iterator = std::reverse_iterator<iterator>;

    constexpr bytes() noexcept = default;
    constexpr bytes(pointer data, size_type size) noexcept : data_(data), size_(size) {}
    bytes(const std::uint8_t *data, size_type size) noexcept
        : bytes(reinterpret_cast<pointer>(data), size)
    {
    }

    [[nodiscard]] constexpr pointer data() const noexcept { return data_; }
    [[nodiscard]] constexpr size_type size() const noexcept { return size_; }
    [[nodiscard]] constexpr size_type size_bytes() const noexcept { return size_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] constexpr iterator begin() const noexcept { return data_; }
    [[nodiscard]] constexpr iterator end() const noexcept { return data_ + size_; }
    [[nodiscard]] constexpr reverse_iterator rbegin() const noexcept { return reverse_iterator(end()); }
    [[nodiscard]] constexpr reverse_iterator rend() const noexcept { return reverse_iterator(begin()); }

    [[nodiscard]] constexpr reference operator[](size_type index) const noexcept { return data_[index]; }
    [[nodiscard]] constexpr reference front() const noexcept { return data_[0]; }
    [[nodiscard]] constexpr reference back() const noexcept { return data_[size_ - 1]; }

    [[nodiscard]] constexpr bytes first(size_type count) const noexcept { return {data_, count}; }
    [[nodiscard]] constexpr bytes last(size_type count) const noexcept { return {data_ + (size_ - count), count}; }
    [[nodiscard]] constexpr bytes subspan(size_type offset) const noexcept
    {
        return {data_ + offset, size_ - offset};
    }
    [[nodiscard]] constexpr bytes subspan(size_type offset, size_type count) const noexcept
    {
        return {data_ + offset, count};
    }

    /// The same bytes as text; of whatever encoding they are.
    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char *>(data_), size_};
    }

  private:
    pointer data_ = nullptr;
    size_type size_ = 0;
};

/// A node that belongs to something else.
class node_view {
  public:
    explicit node_view(const tc_node &node) noexcept : node_(&node) {}

    [[nodiscard]] bytes data() const noexcept { return {node_->data, node_->data_len}; }
    [[nodiscard]] const tc_stat &stat() const noexcept { return node_->stat; }

  private:
    const tc_node *node_;
};

/// Something that happened to a cache.
class event {
  public:
    explicit event(const tc_event &lent) noexcept : event_(&lent) {}

    [[nodiscard]] event_kind kind() const noexcept { return static_cast<event_kind>(event_->type); }

    /// Whether no more events of this version follow: what came since the last one of which this was true may be
    /// applied as one.
    [[nodiscard]] bool last_of_version() const noexcept { return (event_->flags & TC_EVENT_LAST_OF_VERSION) != 0; }

    /// The node's path, also good for C (NUL-terminated); empty when the event is not about a node.
    [[nodiscard]] std::string_view path() const noexcept { return {event_->path, event_->path_len}; }

    /// The node's data, after an update the new one, of a removed node the last known one.
    [[nodiscard]] bytes data() const noexcept { return {event_->data, event_->data_len}; }

    /// The node's Stat, likewise; null when the event is not about a node.
    [[nodiscard]] const tc_stat *stat() const noexcept { return event_->stat; }

    /// The data before an update; empty for other events.
    [[nodiscard]] bytes old_data() const noexcept { return {event_->old_data, event_->old_data_len}; }

    /// The Stat before an update; null for other events.
    [[nodiscard]] const tc_stat *old_stat() const noexcept { return event_->old_stat; }

    /// That of the version which the event belongs to; 0 for events of the connection.
    [[nodiscard]] std::int64_t zxid() const noexcept { return event_->zxid; }

  private:
    const tc_event *event_;
};

/// Something that went wrong in the background.
class fault {
  public:
    explicit fault(const tc_fault &lent) noexcept : fault_(&lent) {}

    [[nodiscard]] treecache::status status() const noexcept
    {
        return static_cast<treecache::status>(fault_->status);
    }

    /// ZooKeeper's own error code, or 0.
    [[nodiscard]] std::int32_t server_error() const noexcept { return fault_->server_error; }

    /// The node it concerns; empty when it concerns none.
    [[nodiscard]] std::string_view path() const noexcept
    {
        return fault_->path ? std::string_view(fault_->path) : std::string_view();
    }

    /// What happened, for people.
    [[nodiscard]] std::string_view message() const noexcept { return fault_->message; }

  private:
    const tc_fault *fault_;
};

/// A child: its name, and the node where the session may read it.
struct child {
    std::string_view name;
    std::optional<node_view> node;
};

// --- Between C and C++ -------------------------------------------------------------------------------------------

namespace detail {

template <typename C, void (*release)(C *)>
struct releaser {
    void operator()(C *handle) const noexcept { release(handle); }
};

/// A handle of C that is released with its owner.
template <typename C, void (*release)(C *)>
using owned = std::unique_ptr<C, releaser<C, release>>;

inline error failure(std::int32_t status) noexcept
{
    return error(static_cast<treecache::status>(status));
}

/// The failure of a call that told why, or null; frees that.
inline error failure(std::int32_t status, const tc_error *told)
{
    const owned<const tc_error, tc_error_free> why(told);
    if (!why)
        return failure(status);
    const auto text = [](const char *or_null) { return std::string(or_null ? or_null : ""); };
    return error(static_cast<treecache::status>(status), text(why->key), text(why->path), text(why->message));
}

inline result<void> done(std::int32_t status) noexcept
{
    return status == TC_OK ? result<void>() : failure(status);
}

inline result<void> done(std::int32_t status, const tc_error *told)
{
    return status == TC_OK ? result<void>() : failure(status, told);
}

/// What a call handed out, in the hands of its owner.
template <typename T, typename C>
result<T> take(std::int32_t status, C *handle) noexcept
{
    if (status != TC_OK)
        return failure(status);
    return T(handle);
}

template <typename T, typename C>
result<T> take(std::int32_t status, C *handle, const tc_error *told)
{
    if (status != TC_OK)
        return failure(status, told);
    return T(handle);
}

/// A time as the C functions tell it, with -1 for none.
inline std::optional<std::chrono::milliseconds> age(std::int64_t ms) noexcept
{
    if (ms < 0)
        return std::nullopt;
    return std::chrono::milliseconds(ms);
}

#if TREECACHE_EXCEPTIONS
/// The value; throws the error, with the path that it is about, when there is none.
template <typename T>
T value_at(const string_arg &path, result<T> result)
{
    if (!result)
        throw error(result.status(), {}, path.c_str() ? path.c_str() : "", {});
    return *std::move(result);
}
#endif

/// A visitor of the program while C calls it: gives its answer to C, and takes what it throws past C.
template <typename Visitor>
class visiting {
  public:
    explicit visiting(Visitor &visitor) noexcept : visitor_(visitor) {}

    template <typename... Arguments>
    std::int32_t operator()(Arguments... arguments) noexcept
    {
#if TREECACHE_EXCEPTIONS
        try {
            return answer(arguments...);
        } catch (...) {
            thrown_ = std::current_exception();
            return TC_WALK_STOP;
        }
#else
        return answer(arguments...);
#endif
    }

    /// How it all ended.
    result<void> end(std::int32_t status)
    {
#if TREECACHE_EXCEPTIONS
        if (thrown_)
            std::rethrow_exception(thrown_);
#endif
        return done(status);
    }

  private:
    template <typename... Arguments>
    std::int32_t answer(Arguments... arguments)
    {
        using answer_type = std::invoke_result_t<Visitor &, Arguments...>;
        static_assert(std::is_void_v<answer_type> || std::is_same_v<answer_type, walk>,
            "a visitor returns void or treecache::walk");
        if constexpr (std::is_void_v<answer_type>) {
            std::invoke(visitor_, arguments...);
            return TC_WALK_CONTINUE;
        } else {
            return static_cast<std::int32_t>(std::invoke(visitor_, arguments...));
        }
    }

    Visitor &visitor_;
#if TREECACHE_EXCEPTIONS
    std::exception_ptr thrown_;
#endif
};

/// A list that C handed out: a range, with the elements made when they are asked for.
template <typename C, void (*release)(C *), typename Element, Element (*element)(const C &, std::size_t)>
class list {
  public:
    class iterator {
      public:
        using value_type = Element;
        using difference_type = std::ptrdiff_t;
        using reference = Element;
        using pointer = void;
        using iterator_category = std::input_iterator_tag; // as the elements are no references
#if __cplusplus >= 202002L
        using iterator_concept = std::forward_iterator_tag;
#endif

        iterator() noexcept = default;
        iterator(const C *list, std::size_t index) noexcept : list_(list), index_(index) {}

        [[nodiscard]] Element operator*() const noexcept { return element(*list_, index_); }
        iterator &operator++() noexcept
        {
            ++index_;
            return *this;
        }
        iterator operator++(int) noexcept { return {list_, index_++}; }
        [[nodiscard]] friend bool operator==(const iterator &a, const iterator &b) noexcept
        {
            return a.index_ == b.index_;
        }
        [[nodiscard]] friend bool operator!=(const iterator &a, const iterator &b) noexcept { return !(a == b); }

      private:
        const C *list_ = nullptr;
        std::size_t index_ = 0;
    };
    using const_iterator = iterator;
    using value_type = Element;

    /// Takes over what C handed out.
    explicit list(C *handle) noexcept : handle_(handle) {}

    [[nodiscard]] std::size_t size() const noexcept { return handle_->len; }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] Element operator[](std::size_t index) const noexcept { return element(*handle_, index); }
    [[nodiscard]] iterator begin() const noexcept { return {handle_.get(), 0}; }
    [[nodiscard]] iterator end() const noexcept { return {handle_.get(), size()}; }

  private:
    owned<C, release> handle_;
};

inline std::string_view name_at(const tc_children &children, std::size_t index) noexcept
{
    return {children.names[index], children.name_lens[index]};
}

inline child child_at(const tc_children_data &children, std::size_t index) noexcept
{
    child child{{children.names[index], children.name_lens[index]}, std::nullopt};
    if (const tc_node *node = children.nodes[index])
        child.node.emplace(*node);
    return child;
}

} // namespace detail

// --- What is read ------------------------------------------------------------------------------------------------

/// A node as it was when it was read; independent of the cache.
class node {
  public:
    /// Takes over what C handed out.
    explicit node(const tc_node *handle) noexcept : handle_(handle) {}

    [[nodiscard]] bytes data() const noexcept { return node_view(*this).data(); }
    [[nodiscard]] const tc_stat &stat() const noexcept { return handle_->stat; }
    [[nodiscard]] operator node_view() const noexcept { return node_view(*handle_); }

  private:
    detail::owned<const tc_node, tc_node_free> handle_;
};

/// The names of a node's children, as std::string_view, sorted by their bytes; a range, independent of the cache.
using children =
    detail::list<const tc_children, tc_children_free, std::string_view, detail::name_at>;

/// A node's children with their nodes, as `child`, sorted by the bytes of their names; a range, independent of the
/// cache.
using children_data =
    detail::list<const tc_children_data, tc_children_data_free, child, detail::child_at>;

namespace detail {

inline std::int32_t get(const tc_cache *from, const char *path, const tc_node **out) noexcept
{
    return tc_get_data(from, path, out);
}
inline std::int32_t get(const tc_cache *from, const char *path, const tc_children **out) noexcept
{
    return tc_get_children(from, path, out);
}
inline std::int32_t get(const tc_cache *from, const char *path, const tc_children_data **out) noexcept
{
    return tc_get_children_data(from, path, out);
}
inline std::int32_t get(const tc_snapshot *from, const char *path, const tc_node **out) noexcept
{
    return tc_snapshot_get_data(from, path, out);
}
inline std::int32_t get(const tc_snapshot *from, const char *path, const tc_children **out) noexcept
{
    return tc_snapshot_get_children(from, path, out);
}
inline std::int32_t get(const tc_snapshot *from, const char *path, const tc_children_data **out) noexcept
{
    return tc_snapshot_get_children_data(from, path, out);
}

inline std::int32_t copy(const tc_cache *from, const char *path, std::uint8_t *buffer, std::size_t capacity,
    std::size_t *length, tc_stat *stat) noexcept
{
    return tc_copy_data(from, path, buffer, capacity, length, stat);
}
inline std::int32_t copy(const tc_snapshot *from, const char *path, std::uint8_t *buffer, std::size_t capacity,
    std::size_t *length, tc_stat *stat) noexcept
{
    return tc_snapshot_copy_data(from, path, buffer, capacity, length, stat);
}

/// What can be read from a cache and from a snapshot alike. Paths are absolute, as in events. Never blocks, takes no
/// lock.
///
/// Errors: `invalid_argument` for a malformed path, `out_of_tree`, `not_ready`, `no_node`, `no_permission`; of a cache
/// also `closed`.
template <typename Self>
class readable {
  public:
    [[nodiscard]] result<node> try_get_data(const string_arg &path) const noexcept
    {
        return get<node, tc_node>(path);
    }

    /// A node, or nothing where there is no such node.
    [[nodiscard]] result<std::optional<node>> try_find(const string_arg &path) const noexcept
    {
        result<node> found = try_get_data(path);
        if (found)
            return std::optional<node>(*std::move(found));
        if (found.status() == status::no_node)
            return std::optional<node>();
        return found.error();
    }

    /// Copies a node's data over what is in `buffer` (a std::string, a std::vector of bytes or the like), and returns
    /// its Stat. Cheaper than `try_get_data` where the data is copied anyway, and allocates nothing where the buffer has
    /// room. After an error, what the buffer has is not specified.
    template <typename Buffer>
    [[nodiscard]] result<tc_stat> try_copy_data(const string_arg &path, Buffer &buffer) const
    {
        using byte_type = typename Buffer::value_type;
        static_assert(sizeof(byte_type) == 1 && std::is_trivially_copyable_v<byte_type>, "a buffer has bytes");
        const auto from = static_cast<const Self *>(this)->native_handle();
        // What most nodes have room in: nobody knows how long the data is, and to make the buffer longer than it has to be
        // would be to fill it with zeros first.
        std::uint8_t usual[1024];
        std::size_t length = 0;
        tc_stat stat;
        std::int32_t status = copy(from, path.c_str(), usual, sizeof usual, &length, &stat);
        if (status == TC_OK) {
            const auto *begin = reinterpret_cast<const byte_type *>(usual);
            buffer.assign(begin, begin + length);
        }
        while (status == TC_ERR_TOO_SMALL) { // more than once when it grows meanwhile
            buffer.resize(length);
            status = copy(from, path.c_str(), reinterpret_cast<std::uint8_t *>(buffer.data()), buffer.size(),
                &length, &stat);
            if (status == TC_OK)
                buffer.resize(length);
        }
        if (status != TC_OK)
            return failure(status);
        return stat;
    }

    [[nodiscard]] result<children> try_get_children(const string_arg &path) const noexcept
    {
        return get<children, tc_children>(path);
    }

    [[nodiscard]] result<children_data> try_get_children_data(const string_arg &path) const noexcept
    {
        return get<children_data, tc_children_data>(path);
    }

#if TREECACHE_EXCEPTIONS
    [[nodiscard]] node get_data(const string_arg &path) const { return value_at(path, try_get_data(path)); }

    /// A node, or nothing where there is no such node.
    [[nodiscard]] std::optional<node> find(const string_arg &path) const { return value_at(path, try_find(path)); }

    /// As `try_copy_data`.
    template <typename Buffer>
    tc_stat copy_data(const string_arg &path, Buffer &buffer) const
    {
        return value_at(path, try_copy_data(path, buffer));
    }

    [[nodiscard]] children get_children(const string_arg &path) const
    {
        return value_at(path, try_get_children(path));
    }

    [[nodiscard]] children_data get_children_data(const string_arg &path) const
    {
        return value_at(path, try_get_children_data(path));
    }
#endif

  private:
    template <typename T, typename C>
    result<T> get(const string_arg &path) const noexcept
    {
        const C *out = nullptr;
        const std::int32_t status =
            detail::get(static_cast<const Self *>(this)->native_handle(), path.c_str(), &out);
        return take<T>(status, out);
    }
};

} // namespace detail

/// The end of a range that does not know its end in advance.
struct sentinel {};

/// The nodes of a snapshot from one path down, parents before children, siblings in byte order; without those that the
/// session may not read. A range to go through once, which may outlive the snapshot.
class subtree {
  public:
    /// A node and its path, both valid until the iterator moves on.
    struct entry {
        std::string_view path;
        node_view node;
    };

    class iterator {
      public:
        using value_type = entry;
        using difference_type = std::ptrdiff_t;
        using reference = entry;
        using pointer = void;
        using iterator_category = std::input_iterator_tag;

        explicit iterator(subtree &subtree) noexcept : subtree_(&subtree) {}

        [[nodiscard]] entry operator*() const noexcept
        {
            const tc_visit &here = *subtree_->here_;
            return {std::string_view(here.path, here.path_len), node_view(*here.node)};
        }
        iterator &operator++() noexcept
        {
            subtree_->move_on();
            return *this;
        }
        void operator++(int) noexcept { ++*this; }
        [[nodiscard]] friend bool operator==(const iterator &at, sentinel) noexcept { return at.is_at_end(); }
        [[nodiscard]] friend bool operator!=(const iterator &at, sentinel) noexcept { return !at.is_at_end(); }

      private:
        bool is_at_end() const noexcept { return subtree_->here_ == nullptr; }

        subtree *subtree_;
    };

    /// Takes over what C handed out, and moves to its next node.
    explicit subtree(tc_walk *handle) noexcept : handle_(handle) { move_on(); }

    [[nodiscard]] iterator begin() noexcept { return iterator(*this); }
    [[nodiscard]] sentinel end() const noexcept { return {}; }

    /// Leaves out what is below the node where the iterator is.
    void skip_children() noexcept { tc_walk_skip(native_handle()); }

    [[nodiscard]] tc_walk *native_handle() const noexcept { return handle_.get(); }

  private:
    void move_on() noexcept
    {
        do {
            if (tc_walk_next(native_handle(), &here_) != TC_OK)
                here_ = nullptr;
        } while (here_ != nullptr && here_->node == nullptr);
    }

    detail::owned<tc_walk, tc_walk_free> handle_;
    const tc_visit *here_ = nullptr; // lent by the walk; null at the end
};

/// The tree of a cache as it was at one moment; independent of the cache.
class snapshot : public detail::readable<snapshot> {
  public:
    /// Takes over what C handed out.
    explicit snapshot(const tc_snapshot *handle) noexcept : handle_(handle) {}

    /// The zxid that it is of: a lower bound when it is not a cut, 0 before the first version.
    [[nodiscard]] std::int64_t zxid() const noexcept { return tc_snapshot_zxid(native_handle()); }

    /// Whether it equals the server's tree at `zxid`, for all that the session may read.
    [[nodiscard]] bool is_cut() const noexcept { return tc_snapshot_is_cut(native_handle()); }

    /// The root of the cache, whether there is such a node or not. Empty for a cache that is attached to a file which was not
    /// there yet.
    [[nodiscard]] std::string_view root() const noexcept
    {
        const char *root = tc_snapshot_root(native_handle());
        return root == nullptr ? std::string_view() : std::string_view(root);
    }

    /// How many nodes are in it, without those that the session may not read.
    [[nodiscard]] std::size_t size() const noexcept { return tc_snapshot_len(native_handle()); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// Visits the nodes from `path` down, parents before children, siblings in byte order; without those that the
    /// session may not read. `visitor` is called with (std::string_view path, node_view node), lent for the call, and
    /// returns void or `walk`. What it throws comes out of this, in both forms. Errors as `get_data`, for `path`.
    template <typename Visitor>
    result<void> try_walk(const string_arg &path, Visitor &&visitor) const
    {
        using visiting = detail::visiting<std::remove_reference_t<Visitor>>;
        visiting visit(visitor);
        return visit.end(tc_snapshot_walk(
            native_handle(), path.c_str(),
            [](const char *at, std::size_t at_size, const tc_node *node, void *user) -> std::int32_t {
                return (*static_cast<visiting *>(user))(std::string_view(at, at_size), node_view(*node));
            },
            &visit));
    }

    /// Visits what leads from this snapshot to a newer one of the same root, in the order and form of events.
    /// `visitor` is called with an `event`, lent for the call, and returns void, or `walk::stop` to end it. What it
    /// throws comes out of this, in both forms. Errors: `invalid_argument` when the roots differ.
    template <typename Visitor>
    result<void> try_diff(const snapshot &newer, Visitor &&visitor) const
    {
        using visiting = detail::visiting<std::remove_reference_t<Visitor>>;
        visiting visit(visitor);
        return visit.end(tc_snapshot_diff(
            native_handle(), newer.native_handle(),
            [](const tc_event *change, void *user) -> std::int32_t {
                return (*static_cast<visiting *>(user))(event(*change));
            },
            &visit));
    }

    /// The nodes from `path` down as a range. Errors as `get_data`, for `path`.
    [[nodiscard]] result<treecache::subtree> try_subtree(const string_arg &path) const noexcept
    {
        tc_walk *out = nullptr;
        const std::int32_t status = tc_walk_new(native_handle(), path.c_str(), &out);
        result<treecache::subtree> nodes = detail::take<treecache::subtree>(status, out);
        if (nodes && nodes->begin() == nodes->end()) // the first one is there, and may not be read
            return detail::failure(TC_ERR_NO_PERMISSION);
        return nodes;
    }

#if TREECACHE_EXCEPTIONS
    template <typename Visitor>
    void walk(const string_arg &path, Visitor &&visitor) const
    {
        detail::value_at(path, try_walk(path, visitor));
    }

    template <typename Visitor>
    void diff(const snapshot &newer, Visitor &&visitor) const
    {
        try_diff(newer, visitor).value();
    }

    [[nodiscard]] treecache::subtree subtree(const string_arg &path) const
    {
        return detail::value_at(path, try_subtree(path));
    }
#endif

    [[nodiscard]] const tc_snapshot *native_handle() const noexcept { return handle_.get(); }

  private:
    detail::owned<const tc_snapshot, tc_snapshot_free> handle_;
};

/// What a cache is doing and has done, as of when it was asked.
class stats {
  public:
    /// Takes over what C handed out.
    explicit stats(const tc_stats *handle) noexcept : handle_(handle) {}

    [[nodiscard]] treecache::state state() const noexcept { return static_cast<treecache::state>(handle_->state); }
    /// Since the last word from a server; nothing before the first.
    [[nodiscard]] std::optional<std::chrono::milliseconds> contact_age() const noexcept
    {
        return detail::age(handle_->contact_age_ms);
    }
    /// Since a cut was last known to be current; nothing before the first.
    [[nodiscard]] std::optional<std::chrono::milliseconds> cut_age() const noexcept
    {
        return detail::age(handle_->cut_age_ms);
    }
    /// Of the version that is read now, as are `nodes` and `bytes`, which are those of data.
    [[nodiscard]] std::int64_t zxid() const noexcept { return handle_->zxid; }
    [[nodiscard]] std::uint64_t nodes() const noexcept { return handle_->nodes; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return handle_->bytes; }
    /// Versions published, and those of them that are cuts.
    [[nodiscard]] std::uint64_t versions() const noexcept { return handle_->versions; }
    [[nodiscard]] std::uint64_t cuts() const noexcept { return handle_->cuts; }
    /// Events handed to listeners and queues, each counted, and how often one fell behind and went on by difference.
    [[nodiscard]] std::uint64_t events() const noexcept { return handle_->events; }
    [[nodiscard]] std::uint64_t lags() const noexcept { return handle_->lags; }
    /// Nodes asked for, and the requests they were asked with.
    [[nodiscard]] std::uint64_t reads() const noexcept { return handle_->reads; }
    [[nodiscard]] std::uint64_t batches() const noexcept { return handle_->batches; }
    /// Verifications of the tree after a connection was gone.
    [[nodiscard]] std::uint64_t resyncs() const noexcept { return handle_->resyncs; }
    /// Of the client: how often it has connected, its session (0 before the first), and the "host:port" it is
    /// connected to (empty while it is not).
    [[nodiscard]] std::uint64_t connections() const noexcept { return handle_->connections; }
    [[nodiscard]] std::int64_t session_id() const noexcept { return handle_->session_id; }
    [[nodiscard]] std::string_view server() const noexcept
    {
        return handle_->server ? std::string_view(handle_->server) : std::string_view();
    }
    /// Faults of the cache and its client so far, and since when the last is over; nothing where there was none.
    [[nodiscard]] std::uint64_t faults() const noexcept { return handle_->faults; }
    [[nodiscard]] std::optional<std::chrono::milliseconds> last_fault_age() const noexcept
    {
        return detail::age(handle_->last_fault_age_ms);
    }
    /// Of the last fault, which `cache::last_fault` has; `ok` where there was none.
    [[nodiscard]] treecache::status last_fault_status() const noexcept
    {
        return static_cast<treecache::status>(handle_->last_fault_status);
    }

  private:
    detail::owned<const tc_stats, tc_stats_free> handle_;
};

/// A fault that was asked for; independent of the cache.
class past_fault {
  public:
    /// Takes over what C handed out.
    explicit past_fault(const tc_fault *handle) noexcept : handle_(handle) {}

    /// Lent by this.
    [[nodiscard]] fault view() const noexcept { return fault(*handle_); }
    [[nodiscard]] treecache::status status() const noexcept { return view().status(); }
    [[nodiscard]] std::int32_t server_error() const noexcept { return view().server_error(); }
    [[nodiscard]] std::string_view path() const noexcept { return view().path(); }
    [[nodiscard]] std::string_view message() const noexcept { return view().message(); }

  private:
    detail::owned<const tc_fault, tc_fault_free> handle_;
};

// --- Listeners ---------------------------------------------------------------------------------------------------

namespace detail {

/// A callable that the library calls, shared by the library and a subscription.
///
/// The callable is used by one thread at a time: the library's while it calls, and whoever ends the listener. `state_`
/// decides who that is, without a lock where nobody waits. Who ends an idle listener destroys its callable; one that
/// is ended while it is busy is destroyed by the thread that is in it, behind the call.
class listener {
  public:
    listener(const listener &) = delete;
    listener &operator=(const listener &) = delete;

    /// Library's side. Whether the callable may be called; `leave` follows then.
    bool enter() noexcept
    {
        caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
        int expected = idle;
        return state_.compare_exchange_strong(expected, busy, std::memory_order_acq_rel);
    }

    void leave() noexcept
    {
        int expected = busy;
        if (state_.compare_exchange_strong(expected, idle, std::memory_order_acq_rel))
            return;
        destroy_callable();
        {
            const std::lock_guard lock(mutex_);
            state_.store(ended, std::memory_order_release);
        }
        left_.notify_all();
    }

    /// No call starts any more once this has returned, none is running, and the callable is destroyed; save that one
    /// which is ended by its own call ends with it.
    void end() noexcept
    {
        switch (state_.fetch_or(ended, std::memory_order_acq_rel)) {
        case idle: return destroy_callable();
        case ended: return;
        default: wait_until_left();
        }
    }

    /// The library's user_free: it makes no call any more.
    static void release(void *user) noexcept
    {
        auto *self = static_cast<listener *>(user);
        if (self->enter()) {
            self->end();
            self->leave();
        }
        const std::shared_ptr<listener> last = std::move(self->library_share_);
    }

    /// What to hand to the library, which gives it back with `release`.
    void *lend(std::shared_ptr<listener> self) noexcept
    {
        library_share_ = std::move(self);
        return this;
    }

  protected:
    listener() = default;
    ~listener() = default;
    virtual void destroy_callable() noexcept = 0;

  private:
    enum : int { idle = 0, busy = 1, ended = 2 };

    void wait_until_left() noexcept
    {
        // In the child of a fork the thread that was in the call does not exist.
        if (caller_.load(std::memory_order_relaxed) == std::this_thread::get_id() || made_in_ != getpid())
            return;
        std::unique_lock lock(mutex_);
        left_.wait(lock, [this] { return (state_.load(std::memory_order_acquire) & busy) == 0; });
    }

    std::atomic<int> state_{idle};
    std::atomic<std::thread::id> caller_{}; // the client's callback thread, from the first call on
    const pid_t made_in_ = getpid();
    std::mutex mutex_;
    std::condition_variable left_;
    std::shared_ptr<listener> library_share_;
};

/// A listener with its callable, which takes a `View` of a `C`.
template <typename View, typename C, typename Callable>
class listener_of final : public listener {
  public:
    template <typename F>
    explicit listener_of(F &&callable) : callable_(std::in_place, std::forward<F>(callable))
    {
    }

    /// Is noexcept as nothing may be thrown into C: what a callable without a handler throws ends the program.
    static void call(const C *argument, void *user) noexcept
    {
        auto *self = static_cast<listener_of *>(static_cast<listener *>(user));
        if (self->enter()) {
            std::invoke(*self->callable_, View(*argument));
            self->leave();
        }
    }

  private:
    void destroy_callable() noexcept override { callable_.reset(); }

    std::optional<Callable> callable_;
};

#if TREECACHE_EXCEPTIONS
/// A callable, and what takes the exceptions it throws.
template <typename Callable, typename Handler>
struct handled {
    template <typename View>
    void operator()(const View &view)
    {
        try {
            std::invoke(callable, view);
        } catch (...) {
            std::invoke(handler, std::current_exception());
        }
    }

    Callable callable;
    Handler handler;
};

template <typename Callable, typename Handler>
handled<std::decay_t<Callable>, std::decay_t<Handler>> handle(Callable &&callable, Handler &&handler)
{
    return {std::forward<Callable>(callable), std::forward<Handler>(handler)};
}
#endif

/// What a cache or client and its subscriptions share: the handle, as long as there is one.
class link {
  public:
    explicit link(tc_cache *cache) noexcept : cache_(cache) {}
    explicit link(tc_client *client) noexcept : client_(client) {}

    /// Runs no code of the program: the callable is gone already.
    void unlisten(std::uint64_t id) noexcept
    {
        const std::lock_guard lock(mutex_);
        if (cache_ != nullptr)
            tc_unlisten(cache_, id);
        if (client_ != nullptr)
            tc_client_unlisten(client_, id);
    }

    void cut() noexcept
    {
        const std::lock_guard lock(mutex_);
        cache_ = nullptr;
        client_ = nullptr;
    }

  private:
    std::mutex mutex_;
    tc_cache *cache_ = nullptr;
    tc_client *client_ = nullptr;
};

/// Frees what subscriptions have a link to.
template <typename C, void (*release)(C *)>
struct linked_releaser {
    void operator()(C *handle) const noexcept
    {
        if (link)
            link->cut();
        release(handle);
    }

    std::shared_ptr<detail::link> link;
};

template <typename C, void (*release)(C *)>
using linked = std::unique_ptr<C, linked_releaser<C, release>>;

} // namespace detail

/// Keeps a listener listening: when it is destroyed, the listener is removed, no call of it is running and its
/// callable has been destroyed. That may wait for a call that is running on another thread, as for a thread that is
/// joined: do not hold a lock meanwhile which the callable takes, nor let the callbacks of two clients end each
/// other's listeners.
///
/// Destroyed by the callable's own call, it does not wait: that call is the last one, and the callable is destroyed
/// behind it, on the callback thread. In another callback of the same client there is nothing to wait for.
///
/// It may outlive the cache or client: once that is gone, so is the callable, and nothing is left to do.
class [[nodiscard]] subscription {
  public:
    /// Of nothing.
    subscription() noexcept = default;
    subscription(subscription &&) noexcept = default;
    subscription &operator=(subscription &&other) noexcept
    {
        if (this != &other) {
            unlisten();
            listener_ = std::move(other.listener_);
            link_ = std::move(other.link_);
            id_ = other.id_;
        }
        return *this;
    }
    ~subscription() { unlisten(); }

    /// Ends it now.
    void unlisten() noexcept
    {
        if (const auto listener = std::move(listener_)) {
            listener->end();
            if (const auto link = std::move(link_))
                link->unlisten(id_);
        }
    }

    /// Lets the listener listen as long as the cache (or client) lives. Its callable is destroyed behind the last
    /// call.
    void detach() noexcept
    {
        listener_.reset();
        link_.reset();
    }

    /// Whether it is of a listener.
    [[nodiscard]] explicit operator bool() const noexcept { return listener_ != nullptr; }

  private:
    friend class client;
    friend class cache;

    /// `add` is called with the function, user pointer, free function and place for the id that C expects.
    template <typename View, typename C, typename Callable, typename Add>
    static result<subscription> make(Callable &&callable, std::shared_ptr<detail::link> link, Add add)
    {
        using listener_type = detail::listener_of<View, C, std::decay_t<Callable>>;
        static_assert(std::is_invocable_v<std::decay_t<Callable> &, View>,
            "a listener is called with a treecache::event, or a treecache::fault");
        auto listener = std::make_shared<listener_type>(std::forward<Callable>(callable));
        subscription made;
        const std::int32_t status =
            add(listener_type::call, listener->lend(listener), detail::listener::release, &made.id_);
        if (status != TC_OK)
            return detail::failure(status);
        made.listener_ = std::move(listener);
        made.link_ = std::move(link);
        return made;
    }

    std::shared_ptr<detail::listener> listener_;
    std::shared_ptr<detail::link> link_;
    std::uint64_t id_ = 0;
};

// --- Handles -----------------------------------------------------------------------------------------------------

/// A key of a configuration and its value.
struct setting {
    string_arg key, value;
};

/// Which events of a cache are told, for `cache::listen`, and as settings for queues: all, without what this leaves out.
///
///     cache.listen(event_filter().under("/shop/price").depth(1).kinds({event_kind::node_updated}), tell);
///
/// What is no path, or outside of the cache's tree, is refused where it is used.
class event_filter {
  public:
    /// Only the node at this absolute path, and what is below it. Once more adds another.
    event_filter &under(std::string path) &
    {
        settings_.emplace_back("listen.under", std::move(path));
        return *this;
    }
    event_filter &&under(std::string path) && { return std::move(under(std::move(path))); }

    /// Only so many levels below each `under`, or below the cache's root: 0 is that node alone.
    event_filter &depth(std::size_t levels) &
    {
        settings_.emplace_back("listen.depth", std::to_string(levels));
        return *this;
    }
    event_filter &&depth(std::size_t levels) && { return std::move(depth(levels)); }

    /// Only these kinds. The three of the connection come together, whichever of them is named.
    event_filter &kinds(std::initializer_list<event_kind> kinds) &
    {
        std::string words;
        for (const event_kind kind : kinds)
            words.append(words.empty() ? "" : ",").append(word(kind));
        settings_.emplace_back("listen.events", std::move(words));
        return *this;
    }
    event_filter &&kinds(std::initializer_list<event_kind> kinds) && { return std::move(this->kinds(kinds)); }

    /// With false, neither the tree so far, nor initialized when the cache is: only what follows.
    event_filter &initial(bool initial) &
    {
        settings_.emplace_back("listen.initial", initial ? "true" : "false");
        return *this;
    }
    event_filter &&initial(bool initial) && { return std::move(this->initial(initial)); }

    /// Nothing before initialized, and of the tree only what changes after it.
    event_filter &after_initialized(bool after = true) &
    {
        settings_.emplace_back("listen.after.initialized", after ? "true" : "false");
        return *this;
    }
    event_filter &&after_initialized(bool after = true) && { return std::move(after_initialized(after)); }

  private:
    friend class config;

    static const char *word(event_kind kind) noexcept
    {
        switch (kind) {
        case event_kind::node_added: return "added";
        case event_kind::node_updated: return "updated";
        case event_kind::node_removed: return "removed";
        case event_kind::connection_suspended:
        case event_kind::connection_reconnected:
        case event_kind::connection_lost: return "connection";
        case event_kind::initialized: return "initialized";
        case event_kind::in_step: return "in_step";
        }
        return "unknown"; // which the library refuses
    }

    std::vector<std::pair<std::string, std::string>> settings_;
};

/// Settings for clients, caches, listeners and queues; docs/configuration.md lists the keys. Copied by what is made with it.
/// Why a call with it failed is asked of it after the call: not to be shared by calls at the same time.
class config {
  public:
    /// Every key at its default.
    config() noexcept : handle_(tc_config_new()) {}

    [[nodiscard]] static result<config> try_make(std::initializer_list<setting> settings)
    {
        config made;
        for (const setting &setting : settings)
            if (result<void> set = made.try_set(setting.key, setting.value); !set)
                return set.error();
        return made;
    }

    /// Errors: `invalid_argument` for an unknown key or a value that it does not take.
    result<void> try_set(const string_arg &key, const string_arg &value)
    {
        const std::int32_t status = tc_config_set(native_handle(), key.c_str(), value.c_str());
        if (status == TC_OK)
            return {};
        const tc_error *told = nullptr;
        tc_config_get_error(native_handle(), &told);
        return detail::failure(status, told);
    }

    /// All that a filter leaves out. Errors: `invalid_argument` for what is no path, and for no kinds at all.
    result<void> try_set(const event_filter &filter)
    {
        for (const auto &[key, value] : filter.settings_)
            if (result<void> set = try_set(key, value); !set)
                return set;
        return {};
    }

#if TREECACHE_EXCEPTIONS
    /// E.g. `{{"session.timeout.ms", "8000"}, {"auth", "digest:user:password"}}`.
    config(std::initializer_list<setting> settings) : config(try_make(settings).value()) {}

    config &set(const string_arg &key, const string_arg &value) &
    {
        try_set(key, value).value();
        return *this;
    }
    config &&set(const string_arg &key, const string_arg &value) && { return std::move(set(key, value)); }

    config &set(const event_filter &filter) &
    {
        try_set(filter).value();
        return *this;
    }
    config &&set(const event_filter &filter) && { return std::move(set(filter)); }
#endif

    [[nodiscard]] tc_config *native_handle() const noexcept { return handle_.get(); }

  private:
    detail::owned<tc_config, tc_config_free> handle_;
};

/// One session with a ZooKeeper ensemble, shared by any number of caches, which may outlive it.
class client {
  public:
    /// Takes over what C handed out.
    explicit client(tc_client *handle) : handle_(handle, {std::make_shared<detail::link>(handle)}) {}

    /// Returns at once and connects in the background. `hosts`: "host:port,host:port/chroot". Errors:
    /// `invalid_argument` for malformed hosts and for settings that lack others or name files that cannot be used;
    /// `connection` when the system has no thread or descriptor left.
    [[nodiscard]] static result<client> try_make(const string_arg &hosts, const config &config = {})
    {
        tc_client *out = nullptr;
        const tc_error *told = nullptr;
        const std::int32_t status =
            tc_client_new_or_error(hosts.c_str(), config.native_handle(), &out, &told);
        return detail::take<client>(status, out, told);
    }

    /// Adds a callable that is told the faults of the session, as `fault`; see `cache::listen`.
    template <typename Callable>
    [[nodiscard]] result<subscription> try_listen_fault(Callable &&callable)
    {
        return subscription::make<fault, tc_fault>(std::forward<Callable>(callable), handle_.get_deleter().link,
            [this](auto... arguments) { return tc_client_listen_fault(native_handle(), arguments...); });
    }

#if TREECACHE_EXCEPTIONS
    explicit client(const string_arg &hosts, const config &config = {}) : client(try_make(hosts, config).value()) {}

    template <typename Callable>
    subscription listen_fault(Callable &&callable)
    {
        return try_listen_fault(std::forward<Callable>(callable)).value();
    }

    template <typename Callable, typename Handler>
    [[nodiscard]] result<subscription> try_listen_fault(Callable &&callable, Handler &&handler)
    {
        return try_listen_fault(
            detail::handle(std::forward<Callable>(callable), std::forward<Handler>(handler)));
    }

    template <typename Callable, typename Handler>
    subscription listen_fault(Callable &&callable, Handler &&handler)
    {
        return try_listen_fault(std::forward<Callable>(callable), std::forward<Handler>(handler)).value();
    }
#endif

    [[nodiscard]] tc_client *native_handle() const noexcept { return handle_.get(); }

  private:
    detail::linked<tc_client, tc_client_free> handle_;
};

/// How a cache stands to the server, and the time since the last word from there; nothing before the first.
struct standing {
    treecache::state state;
    std::optional<std::chrono::milliseconds> age;
};

/// An in-memory copy of the subtree at one path. Its destructor waits for a running call of a listener, unless it is
/// that call, or another callback, which destroys it.
class cache : public detail::readable<cache> {
  public:
    /// Takes over what C handed out.
    explicit cache(tc_cache *handle) : handle_(handle, {std::make_shared<detail::link>(handle)}) {}

    /// Nothing is read before `start`. Errors: `invalid_argument` for a malformed path.
    [[nodiscard]] static result<cache> try_make(const client &client, const string_arg &path, const config &config = {})
    {
        tc_cache *out = nullptr;
        const tc_error *told = nullptr;
        const std::int32_t status =
            tc_new_or_error(client.native_handle(), path.c_str(), config.native_handle(), &out, &told);
        return detail::take<cache>(status, out, told);
    }

    /// A cache of the tree that another cache keeps in a file (its setting `share.file`), in whatever process: without a session,
    /// and without a thread until something listens or a queue is opened. Only on Linux. Of the settings `close.keep`,
    /// `events.capacity` and `events.bytes` count.
    ///
    /// It is started. Reads, snapshots, listeners and queues are as ever; `state` says what the writer last knew: `suspended` if
    /// it was silent for longer than its session lasts, dead or not. A writer that comes back is taken up by itself. Without a
    /// file the state is `loading` until there is one. `wait_initialized` waits for the writer; `sync` is `unsupported`. In the
    /// child of a fork it can be read; for events, attach there. Errors: `invalid_argument` when there is something else under
    /// that name, or a file of another format or on the file system of a network, or it cannot be read; `unsupported` on other
    /// systems than Linux.
    [[nodiscard]] static result<cache> try_attach(const string_arg &file, const config &config = {})
    {
        tc_cache *out = nullptr;
        const tc_error *told = nullptr;
        const std::int32_t status = tc_attach(file.c_str(), config.native_handle(), &out);
        if (status != TC_OK)
            tc_config_get_error(config.native_handle(), &told);
        return detail::take<cache>(status, out, told);
    }

    /// Begins to load and follow the tree. Returns at once. Errors: `state` when it was started before; `closed`.
    result<void> try_start()
    {
        const tc_error *told = nullptr;
        const std::int32_t status = tc_start_or_error(native_handle(), &told);
        return detail::done(status, told);
    }

    /// Begins to follow the tree from what a snapshot holds, in place of `start`: its tree can be read when this returns, and
    /// only what differs is told. The snapshot is of a cache of the same root, which may be gone, and its client too. Errors:
    /// `invalid_argument` for another root or chroot, other rules or other data; `limit`; `state` when it was started before;
    /// `closed`.
    result<void> try_start_from(const treecache::snapshot &snapshot)
    {
        const tc_error *told = nullptr;
        const std::int32_t status = tc_start_from_or_error(native_handle(), snapshot.native_handle(), &told);
        return detail::done(status, told);
    }

    /// Waits until the first load is complete. Errors: `timeout`; `would_deadlock` in a callback; `state` when not
    /// started; `closed`; or the status of what keeps it from succeeding, such as `auth`, `unsupported` or `limit`. The
    /// message says what went wrong last: "timed out after 10 s; last: zk1:2181: Connection refused".
    result<void> try_wait_initialized(timeout timeout = forever)
    {
        const tc_error *told = nullptr;
        const std::int32_t status = tc_wait_initialized_or_error(native_handle(), timeout.ms(), &told);
        return detail::done(status, told);
    }

    /// Waits until all that was committed before the call can be read. Errors as `wait_initialized`, and `connection`
    /// when there is none, or it went meanwhile.
    result<void> try_sync(timeout timeout = forever)
    {
        const tc_error *told = nullptr;
        const std::int32_t status = tc_sync_or_error(native_handle(), timeout.ms(), &told);
        return detail::done(status, told);
    }

    [[nodiscard]] bool is_initialized() const noexcept { return tc_is_initialized(native_handle()); }

    [[nodiscard]] result<standing> try_state() const noexcept
    {
        tc_state state = 0;
        std::int64_t age_ms = 0;
        if (const std::int32_t status = tc_get_state(native_handle(), &state, &age_ms); status != TC_OK)
            return detail::failure(status);
        return standing{static_cast<treecache::state>(state), detail::age(age_ms)};
    }

    [[nodiscard]] result<treecache::stats> try_stats() const noexcept
    {
        const tc_stats *out = nullptr;
        const std::int32_t status = tc_get_stats(native_handle(), &out);
        return detail::take<treecache::stats>(status, out);
    }

    /// What went wrong last, of this cache or of its client, even if it is over; nothing where nothing did.
    [[nodiscard]] result<std::optional<past_fault>> try_last_fault() const noexcept
    {
        const tc_fault *out = nullptr;
        if (const std::int32_t status = tc_get_fault(native_handle(), &out); status != TC_OK)
            return detail::failure(status);
        return out ? std::optional<past_fault>(past_fault(out)) : std::nullopt;
    }

    /// The tree as it is now, in constant time. Errors: `closed`.
    [[nodiscard]] result<treecache::snapshot> try_snapshot() const noexcept
    {
        const tc_snapshot *out = nullptr;
        const std::int32_t status = tc_get_snapshot(native_handle(), &out);
        return detail::take<treecache::snapshot>(status, out);
    }

    /// Adds a callable that is told the cache's events, as `event`: the tree so far first, as node_added (and
    /// initialized when the cache is), then what follows, without gap or duplicate. It is called on the client's
    /// callback thread, one call at a time, as long as the subscription lives; the first may come before this returns.
    ///
    /// An exception of the callable goes to `handler`, as std::exception_ptr, on the same thread. Without a handler,
    /// or out of it, it ends the program with std::terminate, as in a std::thread. Errors: `closed`.
    template <typename Callable>
    [[nodiscard]] result<subscription> try_listen(Callable &&callable)
    {
        return subscription::make<event, tc_event>(std::forward<Callable>(callable), handle_.get_deleter().link,
            [this](auto... arguments) { return tc_listen(native_handle(), arguments...); });
    }

    /// As `listen`, of the events that a filter leaves. Errors: `closed`; `invalid_argument` when a subtree is no path or
    /// outside of the cache's, or when no kinds are left.
    template <typename Callable>
    [[nodiscard]] result<subscription> try_listen(event_filter filter, Callable &&callable)
    {
        config config;
        if (result<void> set = config.try_set(filter); !set)
            return set.error();
        result<subscription> made =
            subscription::make<event, tc_event>(std::forward<Callable>(callable), handle_.get_deleter().link,
                [this, &config](auto... arguments) {
                    return tc_listen_with(native_handle(), config.native_handle(), arguments...);
                });
        const tc_error *told = nullptr;
        if (!made && tc_config_get_error(config.native_handle(), &told) == TC_OK && told != nullptr)
            return detail::failure(static_cast<std::int32_t>(made.status()), told);
        return made;
    }

    /// Adds a callable that is told, as `fault`, what goes wrong in the background and concerns this cache; else as
    /// `listen`. Faults that nobody listens to are logged.
    template <typename Callable>
    [[nodiscard]] result<subscription> try_listen_fault(Callable &&callable)
    {
        return subscription::make<fault, tc_fault>(std::forward<Callable>(callable), handle_.get_deleter().link,
            [this](auto... arguments) { return tc_listen_fault(native_handle(), arguments...); });
    }

    /// Detaches the cache and lets its listeners go: no call starts any more, though one may be running. Never waits.
    void close() noexcept { tc_close(native_handle()); }

#if TREECACHE_EXCEPTIONS
    cache(const client &client, const string_arg &path, const config &config = {})
        : cache(try_make(client, path, config).value())
    {
    }

    [[nodiscard]] static cache attach(const string_arg &file, const config &config = {})
    {
        return try_attach(file, config).value();
    }

    void start() { try_start().value(); }
    void start_from(const treecache::snapshot &snapshot) { try_start_from(snapshot).value(); }
    void wait_initialized(timeout timeout = forever) { try_wait_initialized(timeout).value(); }
    void sync(timeout timeout = forever) { try_sync(timeout).value(); }
    [[nodiscard]] standing state() const { return try_state().value(); }
    [[nodiscard]] treecache::stats stats() const { return try_stats().value(); }
    [[nodiscard]] std::optional<past_fault> last_fault() const { return try_last_fault().value(); }
    [[nodiscard]] treecache::snapshot snapshot() const { return try_snapshot().value(); }

    template <typename Callable>
    subscription listen(Callable &&callable)
    {
        return try_listen(std::forward<Callable>(callable)).value();
    }

    template <typename Callable, typename Handler>
    [[nodiscard]] result<subscription> try_listen(Callable &&callable, Handler &&handler)
    {
        return try_listen(detail::handle(std::forward<Callable>(callable), std::forward<Handler>(handler)));
    }

    template <typename Callable, typename Handler>
    subscription listen(Callable &&callable, Handler &&handler)
    {
        return try_listen(std::forward<Callable>(callable), std::forward<Handler>(handler)).value();
    }

    template <typename Callable>
    subscription listen(event_filter filter, Callable &&callable)
    {
        return try_listen(std::move(filter), std::forward<Callable>(callable)).value();
    }

    template <typename Callable, typename Handler>
    [[nodiscard]] result<subscription> try_listen(event_filter filter, Callable &&callable, Handler &&handler)
    {
        return try_listen(std::move(filter),
            detail::handle(std::forward<Callable>(callable), std::forward<Handler>(handler)));
    }

    template <typename Callable, typename Handler>
    subscription listen(event_filter filter, Callable &&callable, Handler &&handler)
    {
        return try_listen(std::move(filter), std::forward<Callable>(callable), std::forward<Handler>(handler)).value();
    }

    template <typename Callable>
    subscription listen_fault(Callable &&callable)
    {
        return try_listen_fault(std::forward<Callable>(callable)).value();
    }

    template <typename Callable, typename Handler>
    [[nodiscard]] result<subscription> try_listen_fault(Callable &&callable, Handler &&handler)
    {
        return try_listen_fault(
            detail::handle(std::forward<Callable>(callable), std::forward<Handler>(handler)));
    }

    template <typename Callable, typename Handler>
    subscription listen_fault(Callable &&callable, Handler &&handler)
    {
        return try_listen_fault(std::forward<Callable>(callable), std::forward<Handler>(handler)).value();
    }
#endif

    [[nodiscard]] tc_cache *native_handle() const noexcept { return handle_.get(); }

  private:
    detail::linked<tc_cache, tc_free> handle_;
};

// --- Queues ------------------------------------------------------------------------------------------------------

/// One event or fault that was taken out of a queue.
class item {
  public:
    /// Of neither.
    item() noexcept = default;

    /// Takes over what C handed out.
    explicit item(const tc_item *handle) noexcept : handle_(handle) {}

    /// The event, valid as long as the item; nothing when it is a fault.
    [[nodiscard]] std::optional<treecache::event> event() const noexcept
    {
        return view<treecache::event>(tc_item_event(handle_.get()));
    }

    /// The fault, valid as long as the item; nothing when it is an event.
    [[nodiscard]] std::optional<treecache::fault> fault() const noexcept
    {
        return view<treecache::fault>(tc_item_fault(handle_.get()));
    }

  private:
    template <typename View, typename C>
    static std::optional<View> view(const C *seen) noexcept
    {
        if (seen == nullptr)
            return std::nullopt;
        return View(*seen);
    }

    detail::owned<const tc_item, tc_item_free> handle_;
};

/// What was taken out of a queue at once; a range of `item`.
class items {
  public:
    /// Most that are taken out at once.
    static constexpr std::size_t capacity = 64;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] item &operator[](std::size_t index) noexcept { return items_[index]; }
    [[nodiscard]] const item &operator[](std::size_t index) const noexcept { return items_[index]; }
    [[nodiscard]] item *begin() noexcept { return items_.data(); }
    [[nodiscard]] item *end() noexcept { return items_.data() + size_; }
    [[nodiscard]] const item *begin() const noexcept { return items_.data(); }
    [[nodiscard]] const item *end() const noexcept { return items_.data() + size_; }

  private:
    friend class queue;

    std::array<item, capacity> items_;
    std::size_t size_ = 0;
};

/// A cache's events, taken out by the program's own threads; any number at once, each item goes to one of them. With
/// `queue.faults` it carries faults too; without, every item is an event.
///
/// It is a range of `item`, which waits for the next one. The range ends when the queue, its cache or its client has
/// come to an end, and when `wake` was called: then it can be gone through again.
class queue {
  public:
    /// Takes over what C handed out.
    explicit queue(tc_queue *handle) noexcept : handle_(handle) {}

    /// Opens a queue: the tree so far first, then what follows, as for `cache::listen`. Settings: `events.capacity`,
    /// `events.bytes`, `queue.faults`, and what an `event_filter` sets. Errors: `invalid_argument`, `closed`.
    [[nodiscard]] static result<queue> try_make(cache &cache, const config &config = {})
    {
        tc_queue *out = nullptr;
        const tc_error *told = nullptr;
        const std::int32_t status =
            tc_queue_open_or_error(cache.native_handle(), config.native_handle(), &out, &told);
        return detail::take<queue>(status, out, told);
    }

    /// Takes the next item out; nothing when the time is over, or `wake` ended the wait. Errors: `closed` when the
    /// queue, its cache or its client has come to an end; the status of the failure when the cache has stopped for
    /// good.
    [[nodiscard]] result<std::optional<item>> try_next(timeout timeout = forever)
    {
        const tc_item *out = nullptr;
        switch (tc_queue_next(native_handle(), timeout.ms(), &out)) {
        case TC_OK: return std::optional<item>(out);
        case TC_ERR_TIMEOUT:
        case TC_ERR_INTERRUPTED: return std::optional<item>();
        default: break;
        }
        // It is over, and stays so: the second answer is the first one, and says why.
        const tc_error *told = nullptr;
        const std::int32_t status = tc_queue_next_or_error(native_handle(), 0, &out, &told);
        if (status == TC_OK)
            return std::optional<item>(out);
        return detail::failure(status, told);
    }

    /// Takes out what is there, up to `items::capacity`, without waiting. Errors as `next`.
    [[nodiscard]] result<items> try_drain() noexcept
    {
        std::array<const tc_item *, items::capacity> out;
        items taken;
        if (const std::int32_t status = tc_queue_drain(native_handle(), out.data(), out.size(), &taken.size_);
            status != TC_OK)
            return detail::failure(status);
        for (std::size_t index = 0; index < taken.size_; index++)
            taken.items_[index] = item(out[index]);
        return taken;
    }

    /// A descriptor for poll, epoll, kqueue or select (level-triggered), readable while `next` has something to say.
    /// It belongs to the queue: not to be read, written or closed.
    [[nodiscard]] result<int> try_fd() noexcept
    {
        std::int32_t fd = -1;
        if (const std::int32_t status = tc_queue_fd(native_handle(), &fd); status != TC_OK)
            return detail::failure(status);
        return int{fd};
    }

    /// Ends one `next`, waiting now or called next.
    void wake() noexcept { tc_queue_wake(native_handle()); }

    /// Detaches the queue; whoever waits is told `closed`. Never waits.
    void close() noexcept { tc_queue_close(native_handle()); }

#if TREECACHE_EXCEPTIONS
    explicit queue(cache &cache, const config &config = {}) : queue(try_make(cache, config).value()) {}

    [[nodiscard]] std::optional<item> next(timeout timeout = forever) { return try_next(timeout).value(); }
    [[nodiscard]] items drain() { return try_drain().value(); }
    [[nodiscard]] int fd() { return try_fd().value(); }

    class iterator {
      public:
        using value_type = item;
        using difference_type = std::ptrdiff_t;
        using reference = const item &;
        using pointer = const item *;
        using iterator_category = std::input_iterator_tag;

        explicit iterator(queue &queue) : queue_(&queue) { ++*this; }

        [[nodiscard]] const item &operator*() const noexcept { return *item_; }
        [[nodiscard]] const item *operator->() const noexcept { return &*item_; }
        iterator &operator++()
        {
            result<std::optional<item>> next = queue_->try_next();
            if (next.status() == status::closed)
                item_.reset();
            else
                item_ = std::move(next).value();
            return *this;
        }
        void operator++(int) { ++*this; }
        [[nodiscard]] friend bool operator==(const iterator &at, sentinel) noexcept { return !at.item_; }
        [[nodiscard]] friend bool operator!=(const iterator &at, sentinel) noexcept { return at.item_.has_value(); }

      private:
        queue *queue_;
        std::optional<item> item_;
    };

    [[nodiscard]] iterator begin() { return iterator(*this); }
    [[nodiscard]] sentinel end() const noexcept { return {}; }
#endif

    [[nodiscard]] tc_queue *native_handle() const noexcept { return handle_.get(); }

  private:
    detail::owned<tc_queue, tc_queue_free> handle_;
};

#if !TREECACHE_EXCEPTIONS
} // namespace without_exceptions
#endif
} // namespace treecache

#if __cplusplus >= 202002L
// It views what it does not own, as std::span does.
template <>
inline constexpr bool std::ranges::enable_view<treecache::bytes> = true;
template <>
inline constexpr bool std::ranges::enable_borrowed_range<treecache::bytes> = true;
#endif

#undef TREECACHE_EXCEPTIONS

#endif // TREECACHE_HPP
