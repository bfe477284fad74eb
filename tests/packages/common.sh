# shellcheck shell=bash
# What tests/packages/run and tests/packages/deb share. To be sourced after `set -euo pipefail`, in this folder.

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
    wait_until 15 grep -q ready "$work/tree" || fail "tree.py does not get ready"
}

# answered PROGRAM ANSWER: whether it is what user.c has to answer.
answered() {
    [[ $2 == "libtreecache "*": 6 nodes" ]] || fail "$1: $2"
    echo "${1#"$work"/}: $2"
}

# try_alone PROGRAM: runs a build of user.c that has to be without any shared library.
try_alone() {
    [[ $(file -b "$1") == *"statically linked"* ]] || fail "$1 needs shared libraries: $(file -b "$1")"
    answered "$1" "$("$1" "127.0.0.1:$zookeeper_port" /c/still)"
}

# try_user PROGRAM...: runs builds of user.c, whose answer is known.
try_user() {
    local program answer
    for program in "$@"; do
        answer=$(valgrind --quiet --fair-sched=yes --leak-check=full --show-leak-kinds=definite,indirect,possible \
            --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99 \
            "$program" "127.0.0.1:$zookeeper_port" /c/still)
        answered "$program" "$answer"
    done
}
