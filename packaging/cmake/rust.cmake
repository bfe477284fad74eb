# Which Rust builds the library, and for which machine. Sets for those that call cargo:
#
#   rust_target        the machine in Rust's words; empty for the one that cargo runs on
#   cargo_target       what tells cargo so
#   cargo_environment  the C compiler and linker for it
#   target_rust_flags  what rustc needs for it besides, as TOML strings
#   target_c_flags     what the C compiler needs for it besides
#   target_runs_here   whether its programs run on this machine, be it in an emulator
#   static_libs        the system's libraries that a program needs which links the static library

foreach(tool cargo rustc)
  string(TOUPPER "TREECACHE_${tool}" variable)
  find_program(${variable} ${tool} HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
  if(NOT ${variable})
    message(FATAL_ERROR "${tool} was not found; libtreecache is written in Rust: https://rustup.rs")
  endif()
endforeach()

# --- Its version ---------------------------------------------------------------------------------------------

# The oldest one that will do is stated once, in Cargo.toml.
file(STRINGS Cargo.toml needed_rust REGEX "^rust-version = \"[0-9.]+\"" LIMIT_COUNT 1)
string(REGEX MATCH "[0-9]+\\.[0-9.]+" needed_rust "${needed_rust}")
execute_process(
  COMMAND "${TREECACHE_RUSTC}" --version --verbose
  OUTPUT_VARIABLE answer
  ERROR_VARIABLE answer
  RESULT_VARIABLE answer_result)
if(NOT answer_result EQUAL 0 OR NOT answer MATCHES "release: ([0-9]+\\.[0-9]+\\.[0-9]+)")
  message(FATAL_ERROR "${TREECACHE_RUSTC} did not say its version:\n${answer}")
endif()
set(rust_version "${CMAKE_MATCH_1}")
if(rust_version VERSION_LESS needed_rust)
  message(FATAL_ERROR
    "libtreecache needs Rust ${needed_rust} or later, and ${TREECACHE_RUSTC} is Rust ${rust_version}. A newer one is "
    "installed by `rustup update`, or named by -DTREECACHE_RUSTC=... and -DTREECACHE_CARGO=...")
endif()
string(REGEX MATCH "host: ([^\n]+)" rust_host "${answer}")
set(rust_host "${CMAKE_MATCH_1}")

# --- The machine ---------------------------------------------------------------------------------------------

# split_machine(PREFIX TRIPLE): the processor, in Rust's words, and the C library of a name such as aarch64-linux-gnu.
function(split_machine prefix triple)
  string(REGEX REPLACE "-.*" "" processor "${triple}")
  string(REGEX REPLACE "^(arm64|ARM64)$" "aarch64" processor "${processor}")
  string(REGEX REPLACE "^(amd64|AMD64)$" "x86_64" processor "${processor}")
  string(REGEX REPLACE "^(ppc64le|powerpc64le)$" "powerpc64le" processor "${processor}")
  string(REGEX REPLACE "^riscv64$" "riscv64gc" processor "${processor}")
  set(libc gnu)
  if(triple MATCHES "musl")
    set(libc musl)
  endif()
  set(${prefix}_processor "${processor}" PARENT_SCOPE)
  set(${prefix}_libc "${libc}" PARENT_SCOPE)
endfunction()

set(TREECACHE_RUST_TARGET "" CACHE STRING "The machine to build for, in Rust's words; empty: that of the C compiler")
set(rust_target "${TREECACHE_RUST_TARGET}")
set(ask_for_target "Name the machine in Rust's words (rustc --print target-list) with -DTREECACHE_RUST_TARGET=...")
split_machine(host "${rust_host}")
if(rust_target STREQUAL "" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  set(machine "${CMAKE_C_COMPILER_TARGET}")
  if(machine STREQUAL "")
    execute_process(
      COMMAND "${CMAKE_C_COMPILER}" -dumpmachine
      OUTPUT_VARIABLE machine
      ERROR_VARIABLE machine
      OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  split_machine(machine "${machine}")
  split_machine(system "${CMAKE_SYSTEM_PROCESSOR}")
  if(CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR AND NOT system_processor STREQUAL machine_processor)
    message(FATAL_ERROR "The toolchain file says CMAKE_SYSTEM_PROCESSOR=${CMAKE_SYSTEM_PROCESSOR}, but "
      "${CMAKE_C_COMPILER} compiles for ${machine}. ${ask_for_target}")
  elseif(NOT machine_processor STREQUAL host_processor OR NOT machine_libc STREQUAL host_libc)
    if(NOT machine_processor MATCHES "^(x86_64|aarch64|powerpc64le|riscv64gc|s390x)$")
      message(FATAL_ERROR
        "It is not known what Rust calls ${machine}, for which ${CMAKE_C_COMPILER} compiles. ${ask_for_target}")
    endif()
    set(rust_target "${machine_processor}-unknown-linux-${machine_libc}")
  endif()
elseif(rust_target STREQUAL "" AND CMAKE_CROSSCOMPILING)
  message(FATAL_ERROR "It is not known how to build for ${CMAKE_SYSTEM_NAME}. ${ask_for_target}")
endif()

set(cargo_target)
set(cargo_environment "RUSTC=${TREECACHE_RUSTC}")
set(target_rust_flags)
set(target_c_flags)
if(NOT rust_target STREQUAL "")
  message(STATUS "Building libtreecache for ${rust_target}")
  set(cargo_target --target "${rust_target}")
  string(REPLACE "-" "_" name "${rust_target}")
  string(TOUPPER "${name}" upper_name)
  list(APPEND cargo_environment "CARGO_TARGET_${upper_name}_LINKER=${CMAKE_C_COMPILER}" "CC_${name}=${CMAKE_C_COMPILER}"
    "AR_${name}=${CMAKE_AR}")
  if(CMAKE_C_COMPILER_TARGET)
    list(APPEND target_c_flags "--target=${CMAKE_C_COMPILER_TARGET}")
  endif()
  if(CMAKE_SYSROOT)
    list(APPEND target_c_flags "'--sysroot=${CMAKE_SYSROOT}'")
  endif()
  foreach(flag IN LISTS target_c_flags)
    string(REPLACE "'" "" flag "${flag}")
    list(APPEND target_rust_flags "'-Clink-arg=${flag}'")
  endforeach()
endif()
# Rust's own default there leaves out the shared library.
if("${rust_target}${rust_host}" MATCHES "musl" AND NOT rust_target MATCHES "gnu")
  list(APPEND target_rust_flags "'-Ctarget-feature=-crt-static'")
endif()

split_machine(target "${rust_target}")
if(rust_target STREQUAL "" OR target_processor STREQUAL host_processor OR CMAKE_CROSSCOMPILING_EMULATOR)
  set(target_runs_here ON)
else()
  set(target_runs_here OFF)
endif()

# --- What the static library takes ---------------------------------------------------------------------------

# Who links it needs the system libraries that Rust's own library uses; rustc knows them.
string(REPLACE "'" "" probe_flags "${target_rust_flags}")
execute_process(
  COMMAND "${TREECACHE_RUSTC}" --crate-name probe --crate-type staticlib --print native-static-libs -o probe.a
    ${cargo_target} ${probe_flags} -
  WORKING_DIRECTORY "${PROJECT_BINARY_DIR}"
  INPUT_FILE /dev/null
  ERROR_VARIABLE probe
  RESULT_VARIABLE probe_result)
if(probe MATCHES "can't find crate for `std`")
  message(FATAL_ERROR "Rust's own library is not installed for ${rust_target}: `rustup target add ${rust_target}`")
elseif(NOT probe_result EQUAL 0 OR NOT probe MATCHES "native-static-libs: ([^\n]*)")
  message(FATAL_ERROR "rustc did not say what its static libraries need:\n${probe}")
endif()
set(static_libs "${CMAKE_MATCH_1}")
