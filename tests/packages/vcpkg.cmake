# Runs the port in PORT_DIR as vcpkg would: builds in BUILD, and leaves the package in PACKAGE. Each function does what vcpkg's
# of that name does, as far as the port uses it.
cmake_minimum_required(VERSION 3.21)

set(PORT treecache)
set(CURRENT_PORT_DIR "${PORT_DIR}")
set(CURRENT_PACKAGES_DIR "${PACKAGE}")
set(VCPKG_LIBRARY_LINKAGE "${LINKAGE}")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  run("${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${BUILD}" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_INSTALL_PREFIX=${PACKAGE}"
    -DCMAKE_INSTALL_LIBDIR:STRING=lib -DBUILD_SHARED_LIBS=ON
    "-DTREECACHE_CARGO_TARGET_DIR=${TREECACHE_CARGO_TARGET_DIR}" ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  run("${CMAKE_COMMAND}" --build "${BUILD}" --target install)
endfunction()

# Moves the files below share/, one folder less deep.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
  file(GLOB files "${PACKAGE}/${arg_CONFIG_PATH}/*.cmake")
  file(COPY ${files} DESTINATION "${PACKAGE}/share/${PORT}")
  file(REMOVE_RECURSE "${PACKAGE}/lib/cmake")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME)
    file(READ "${PACKAGE}/share/${PORT}/${name}" text)
    string(REGEX REPLACE
      "get_filename_component\\(PACKAGE_PREFIX_DIR \"\\\${CMAKE_CURRENT_LIST_DIR}/(../)*\" ABSOLUTE\\)"
      "get_filename_component(PACKAGE_PREFIX_DIR \"\${CMAKE_CURRENT_LIST_DIR}/../../\" ABSOLUTE)" text "${text}")
    file(WRITE "${PACKAGE}/share/${PORT}/${name}" "${text}")
  endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
  file(READ "${PACKAGE}/lib/pkgconfig/treecache.pc" text)
  if(NOT text MATCHES "prefix=\\\${pcfiledir}/../..")
    message(FATAL_ERROR "the pkg-config file cannot be moved:\n${text}")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  set(copyright "")
  foreach(file IN LISTS arg_FILE_LIST)
    file(READ "${file}" text)
    string(APPEND copyright "${text}")
  endforeach()
  file(WRITE "${PACKAGE}/share/${PORT}/copyright" "${copyright}")
endfunction()

include("${PORT_DIR}/portfile.cmake")
