# shellcheck shell=bash
# What scripts/demo, scripts/test, tests/c/run and tests/cpp/run share: installing what is missing, and a throwaway ZooKeeper.
# To be sourced after `set -euo pipefail`.

readonly zookeeper_jar=/usr/share/java/zookeeper.jar
readonly curator_jar=/usr/share/java/curator-recipes.jar
# Where Debian has libraries for Go.
readonly gocode=/usr/share/gocode/src
repository=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
readonly repository
# Debian's Python, whatever else comes first in PATH: it is the one that sees Debian's kazoo.
readonly python=/usr/bin/python3

heading() {
    printf '\n==> %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# install_missing COMMAND|node|zookeeper|curator|kazoo|kdc|pyte|venv|pip|nc|client_golang ...: installs the Debian packages of those that are not there.
install_missing() {
    local missing=() as_root=() need
    for need in "$@"; do
        case $need in
            zookeeper) [[ -e $zookeeper_jar ]] || missing+=(libzookeeper-java) ;;
            node) command -v node >/dev/null || missing+=(nodejs) ;;
            kazoo | pyte) "$python" -c "import $need" 2>/dev/null || missing+=("python3-$need") ;;
            curator) [[ -e $curator_jar ]] || missing+=(libcurator-recipes-java) ;;
            kdc) [[ -x /usr/sbin/krb5kdc ]] || missing+=(krb5-kdc) ;;
            kadmin.local) [[ -x /usr/sbin/kadmin.local ]] || missing+=(krb5-admin-server) ;;
            kinit) command -v kinit >/dev/null || missing+=(krb5-user) ;;
            java) command -v java >/dev/null || missing+=(default-jre-headless) ;;
            javac) command -v javac >/dev/null || missing+=(default-jdk-headless) ;;
            abidiff) command -v abidiff >/dev/null || missing+=(abigail-tools) ;;
            ninja) command -v ninja >/dev/null || missing+=(ninja-build) ;;
            dpkg-shlibdeps) command -v dpkg-shlibdeps >/dev/null || missing+=(dpkg-dev) ;;
            venv) "$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv) ;;
            liblmdb-dev) [[ -e /usr/include/lmdb.h ]] || missing+=(liblmdb-dev) ;;
            redis-tools) command -v redis-check-rdb >/dev/null || missing+=(redis-tools) ;;
            libhiredis-dev) [[ -e /usr/include/hiredis/hiredis.h ]] || missing+=(libhiredis-dev) ;;
            php-cli) command -v php >/dev/null || missing+=(php-cli) ;;
            client_golang) [[ -e $gocode/github.com/prometheus/client_golang ]] || missing+=(golang-github-prometheus-client-golang-dev) ;;
            nc) command -v nc >/dev/null || missing+=(netcat-openbsd) ;;
            pip) python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip) ;;
            musl-gcc) command -v musl-gcc >/dev/null || missing+=(musl-tools) ;;
            systemd-sysusers) command -v systemd-sysusers >/dev/null || missing+=(systemd-standalone-sysusers) ;;
            rpmbuild) command -v rpmbuild >/dev/null || missing+=(rpm) ;;
            aarch64-linux-gnu-gcc) command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu) ;;
            libc6-dev-arm64-cross) [[ -e /usr/aarch64-linux-gnu/include/stdio.h ]] || missing+=(libc6-dev-arm64-cross) ;;
            qemu-aarch64-static) command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static) ;;
            *) command -v "$need" >/dev/null || missing+=("$need") ;; # the package has the command's name
        esac
    done
    ((${#missing[@]} > 0)) || return 0

    heading "Installing ${missing[*]}"
    command -v apt-get >/dev/null || fail "please install: ${missing[*]} (only Debian's packages are known here)"
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "please install as root: ${missing[*]}"
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
    # One at a time, as scripts/test runs steps side by side.
    as_root=(flock "$repository/scripts/lib/common.sh" "${as_root[@]}")
    "${as_root[@]}" update
    "${as_root[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# wait_until SECONDS COMMAND...: runs the command until it succeeds; fails when it never does.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# answers PORT: whether a ZooKeeper serves there.
answers() {
    local answer=
    { exec 9<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf ruok >&9
    read -r -t 1 -N 4 answer <&9 || true
    exec 9>&-
    [[ $answer == imok ]]
}

answers_or_has_ended() {
    answers "$1" || ! kill -0 "$2" 2>/dev/null
}

# start_zookeeper DIR: starts a server with its data in DIR; sets zookeeper_pid and zookeeper_port. One that was started
# there before starts again on the same port.
start_zookeeper() {
    local dir=$1
    if [[ ! -e $dir/zoo.cfg ]]; then
        mkdir -p "$dir"
        zookeeper_port=$("$python" -c \
            'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        cat >"$dir/zoo.cfg" <<CONFIG
dataDir=$dir/data
clientPort=$zookeeper_port
clientPortAddress=127.0.0.1
tickTime=500
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
forceSync=no
CONFIG
    fi
    # The jar's manifest names what it needs; only a logger is left to choose, and slf4j-nop is the quiet one.
    java -Xmx256m -cp "$zookeeper_jar:/usr/share/java/slf4j-nop.jar" \
        org.apache.zookeeper.server.ZooKeeperServerMain "$dir/zoo.cfg" >"$dir/log" 2>&1 &
    # shellcheck disable=SC2034 # for the caller, who ends it
    zookeeper_pid=$!
    wait_until 120 answers_or_has_ended "$zookeeper_port" "$zookeeper_pid" || true
    answers "$zookeeper_port" || fail "ZooKeeper does not start: $(tail -n 20 "$dir/log")"
}

# end PID...: ends processes that this script started, and waits until they are gone. Empty ones are skipped.
end() {
    local pid
    for pid in "$@"; do
        [[ -n $pid ]] || continue
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

# install_library BUILD PREFIX: builds the library in BUILD and installs it to PREFIX, as released but with what tells
# valgrind the lines.
install_library() {
    cmake -S . -B "$1" -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
    cmake --build "$1"
    cmake --install "$1" --prefix "$2" >/dev/null
}

# build_for_musl DIR: makes libtreecache.a for musl, in cargo's profile "dev", and what it needs to unwind. Ends with 77 where
# that cannot be had.
build_for_musl() {
    local target rust_dir
    target=$(uname -m)-unknown-linux-musl
    rust_dir=$(rustc --print target-libdir --target "$target")
    if [[ ! -d $rust_dir ]]; then
        command -v rustup >/dev/null || fail "please install Rust's own library for $target"
        rustup target add "$target" || {
            echo "Rust's own library for $target cannot be had here" >&2
            exit 77
        }
    fi
    mkdir "$1"
    (
        cd "$repository" || exit
        cargo rustc --quiet --locked --package treecache --lib --crate-type staticlib --features ffi --target "$target"
        ln -s "$(realpath "${CARGO_TARGET_DIR:-target}")/$target/debug/libtreecache.a" "$rust_dir/self-contained/libunwind.a" "$1"
    )
}
