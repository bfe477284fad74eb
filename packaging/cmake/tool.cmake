# The program `treecache`, with its manual pages, what shells complete, and the systemd unit of its agent: the component
# treecache_tool.
include(GNUInstallDirs)

# Here the crate is built without the C API, and cargo gives the library the same name: so the folder is another one.
set(tool_target_dir "${TREECACHE_CARGO_TARGET_DIR}/tool")
cmake_path(APPEND tool_target_dir "${rust_target}" "${profile}" treecache OUTPUT_VARIABLE tool)
set(tool_dir "${PROJECT_BINARY_DIR}/tool")
if(NOT target_runs_here)
  message(FATAL_ERROR
    "The program treecache writes its own manual pages, so it has to run here, and one for ${rust_target} does not. "
    "Leave it out, -DTREECACHE_TOOL=OFF, or name an emulator, -DCMAKE_CROSSCOMPILING_EMULATOR=...")
endif()
set(run_tool ${CMAKE_CROSSCOMPILING_EMULATOR} "${tool}")

add_custom_target(treecache_tool ALL
  COMMAND ${cargo} build --package treecache-tool --bin treecache ${cargo_options} --target-dir "${tool_target_dir}"
  COMMAND ${run_tool} man "${tool_dir}/man"
  COMMAND ${run_tool} completions bash --output "${tool_dir}/treecache"
  COMMAND ${run_tool} completions zsh --output "${tool_dir}/_treecache"
  COMMAND ${run_tool} completions fish --output "${tool_dir}/treecache.fish"
  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
  COMMENT "Building the program treecache ${PROJECT_VERSION} with cargo"
  USES_TERMINAL
  VERBATIM)
# Cargo waits for itself where both are built at once.
add_dependencies(treecache_tool treecache)

install(PROGRAMS "${tool}" DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT treecache_tool)
strip_installed(treecache_tool --strip-all "${CMAKE_INSTALL_BINDIR}/treecache")
install(DIRECTORY "${tool_dir}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT treecache_tool)
install(FILES "${tool_dir}/treecache" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions"
  COMPONENT treecache_tool)
install(FILES "${tool_dir}/_treecache" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions"
  COMPONENT treecache_tool)
install(FILES "${tool_dir}/treecache.fish" DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d"
  COMPONENT treecache_tool)
install(FILES packaging/grafana/treecache.json DESTINATION "${CMAKE_INSTALL_DATADIR}/treecache/grafana" COMPONENT treecache_tool)

# The unit names the program, and only the installation knows where that is.
install(CODE "
  set(bindir \"${CMAKE_INSTALL_BINDIR}\")
  cmake_path(ABSOLUTE_PATH bindir BASE_DIRECTORY \"\${CMAKE_INSTALL_PREFIX}\")
  configure_file(\"${PROJECT_SOURCE_DIR}/packaging/treecache-agent.service\" \"${tool_dir}/treecache-agent.service\" @ONLY)"
  COMPONENT treecache_tool)
install(FILES "${tool_dir}/treecache-agent.service" DESTINATION lib/systemd/system COMPONENT treecache_tool)
install(FILES packaging/treecache.sysusers DESTINATION lib/sysusers.d RENAME treecache.conf COMPONENT treecache_tool)
