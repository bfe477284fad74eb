# The program `treecache`, with its manual pages, what shells complete, and the systemd unit of its agent: the component
# treecache_tool.
include(GNUInstallDirs)

# Here the crate is built without the C API, and cargo gives the library the same name: so the folder is another one.
set(tool_target_dir "${TREECACHE_CARGO_TARGET_DIR}/tool")
set(tool "${tool_target_dir}/${profile}/treecache")
set(tool_dir "${PROJECT_BINARY_DIR}/tool")

add_custom_target(treecache_tool ALL
  COMMAND "${CMAKE_COMMAND}" -E env "CFLAGS=$ENV{CFLAGS} ${c_flags}" CC_SHELL_ESCAPED_FLAGS=1
    "${TREECACHE_CARGO}" build --package treecache-tool --bin treecache --locked --config "build.rustflags=[${rust_flags}]"
    --profile "$<IF:$<CONFIG:Debug>,dev,release>" --target-dir "${tool_target_dir}"
  COMMAND "${tool}" man "${tool_dir}/man"
  COMMAND "${tool}" completions bash --output "${tool_dir}/treecache"
  COMMAND "${tool}" completions zsh --output "${tool_dir}/_treecache"
  COMMAND "${tool}" completions fish --output "${tool_dir}/treecache.fish"
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
