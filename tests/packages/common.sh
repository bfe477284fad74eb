# shellcheck shell=bash
# What the scripts of this folder share. To be sourced after `set -euo pipefail`, in this folder.

# shellcheck source=scripts/lib/common.sh
source ../../scripts/lib/common.sh

# The one release build that everything shares.
# shellcheck disable=SC2034 # for those who source this
build=$(realpath -m ../../build)
zookeeper_pid='' tree_pid=''
work=$(mktemp -d -t "packages of others.XXXXXX")

# clean_up is for the trap, which each script sets.
clean_up() {
    trap '' INT TERM PIPE # nothing interrupts this
    end "$tree_pid" "$zookeeper_pid"
    rm -rf "$work"
}

# start_server: a throwaway ZooKeeper with a tree that user.c can count.
start_server() {
    heading "Starting a throwaway ZooKeeper"
    start_zookeeper "$work/zookeeper"
    : >"$work/tree" # before anybody looks into it
    "$python" ../c/tree.py "$zookeeper_port" >"$work/tree" &
    tree_pid=$!
    wait_until 60 grep -q ready "$work/tree" || fail "tree.py does not get ready"
}

# answers_well PROGRAM ANSWER: whether that is the answer of user.c, which is known.
answers_well() {
    [[ $2 == "libtreecache "*": 6 nodes" ]] || fail "$1: $2"
    echo "${1#"$work"/}: $2"
}

# try_alone PROGRAM: runs a build of user.c that has to be without any shared library.
try_alone() {
    [[ $(file -b "$1") == *"statically linked"* ]] || fail "$1 needs shared libraries: $(file -b "$1")"
    answers_well "$1" "$("$1" "127.0.0.1:$zookeeper_port" /c/still)"
}

# try_user PROGRAM...: runs builds of user.c.
try_user() {
    local program answer
    for program in "$@"; do
        answer=$(valgrind --quiet --fair-sched=yes --leak-check=full --show-leak-kinds=definite,indirect,possible \
            --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99 \
            "$program" "127.0.0.1:$zookeeper_port" /c/still)
        answers_well "$program" "$answer"
    done
}

# toolchain LINE...: a toolchain file for CMake.
toolchain() {
    printf 'set(%s)\n' 'CMAKE_SYSTEM_NAME Linux' "$@" >"$work/toolchain.cmake"
}

# refused REASON OPTION...: CMake refuses to build that, and says why in these words.
refused() {
    local reason=$1 answer
    shift
    rm -rf "$work/refused"
    ! answer=$(cmake -S ../.. -B "$work/refused" "$@" 2>&1) || fail "not refused: $*"
    # CMake breaks its lines where it likes.
    grep -qF "$reason" <<<"$(tr -s ' \n' ' ' <<<"$answer")" || fail "$*: $answer"
    echo "$reason"
}

# system ARCHITECTURE PROCESSOR: another system, in the folder `root`: Debian's, with Python, musl and a shell, and without a compiler.
# It is made once, in build/, and must not be changed but in folders of one's own.
system() {
    root=$build/systems/$1
    emulator=''
    if [[ ! -e $root/complete ]]; then
        heading "A system for $1"
        rm -rf "$root"
        mkdir -p "$build/systems"
        # Unpacked is enough, and runs nothing of another processor's.
        mmdebstrap --quiet --architectures="$1" --variant=extract \
            --include=python3-venv,musl,dash,coreutils,libc-bin bookworm "$root"
        touch "$root/complete"
    fi
    if [[ $2 != $(uname -m) ]]; then
        cp "$(command -v "qemu-$2-static")" "$root/emulator"
        emulator=/emulator
    fi
    [[ ! -e $root/usr/bin/cc && ! -e $root/usr/bin/gcc ]] || fail "$root has a compiler"
}

# within PROGRAM ARGUMENT...: runs it in that system, with nothing of the environment here.
within() {
    # shellcheck disable=SC2086 # no word if there is none
    env --ignore-environment PATH=/usr/bin:/usr/sbin:/bin LC_ALL=C.UTF-8 chroot "$root" $emulator "$@"
}
