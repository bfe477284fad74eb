# What is installed of the library, in two components: what a program needs to run, and what it takes to build one.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(FILES "${cargo_dir}/${shared_name}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" RENAME "${shared_file}"
  COMPONENT treecache_runtime)
install(FILES "${links_dir}/${soname}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT treecache_runtime)

install(FILES ${headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT treecache_development)
install(FILES "${cargo_dir}/${static_file}" "${links_dir}/${shared_name}" DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  COMPONENT treecache_development)

# Most of a release build is for debuggers and backtraces, and is not installed; RelWithDebInfo is the same with it. (None is
# what Debian's debhelper calls its builds: it strips by itself.) `cmake --install --strip` and cpack always strip, but only
# what CMake has built; what cargo has built is left to us.
function(strip_installed component option file)
  if(APPLE)
    set(option -x) # its strip knows no long options
  endif()
  install(CODE "
    if(CMAKE_INSTALL_DO_STRIP OR NOT CMAKE_INSTALL_CONFIG_NAME MATCHES \"^(Debug|RelWithDebInfo|None)$\")
      set(file \"${file}\")
      cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY \"\${CMAKE_INSTALL_PREFIX}\")
      execute_process(COMMAND \"${CMAKE_STRIP}\" ${option} \"\$ENV{DESTDIR}\${file}\" COMMAND_ERROR_IS_FATAL ANY)
    endif()"
    COMPONENT ${component})
endfunction()
strip_installed(treecache_runtime --strip-unneeded "${CMAKE_INSTALL_LIBDIR}/${shared_file}")
strip_installed(treecache_development --strip-debug "${CMAKE_INSTALL_LIBDIR}/${static_file}")

# The package files find everything from their own place, so the prefix may be moved.
set(cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/treecache")
configure_package_config_file(packaging/cmake/treecacheConfig.cmake.in treecacheConfig.cmake
  INSTALL_DESTINATION "${cmake_dir}"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
# Before 1.0 a minor version may break.
write_basic_package_version_file(treecacheConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
  FILES
    "${PROJECT_BINARY_DIR}/treecacheConfig.cmake"
    "${PROJECT_BINARY_DIR}/treecacheConfigVersion.cmake"
    "${PROJECT_BINARY_DIR}/treecacheTargets.cmake"
  DESTINATION "${cmake_dir}"
  COMPONENT treecache_development)

set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(packaging/cmake/treecache.pc.in treecache.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/treecache.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT treecache_development)
