# Packages, made by cpack: for Debian (`cpack`) and as RPMs (`cpack -G RPM`); see docs/packaging.md. The library, what it takes
# to build a program with it, the program `treecache`, and for Debian the Python package.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "The libtreecache maintainers <maintainers@libtreecache.invalid>"
  CACHE STRING "Who makes the packages: a name and an address")
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL treecache_runtime treecache_development treecache_tool treecache_python)
set(CPACK_COMPONENT_TREECACHE_DEVELOPMENT_DEPENDS treecache_runtime)
set(CPACK_COMPONENT_TREECACHE_PYTHON_DEPENDS treecache_runtime)
if(NOT TREECACHE_TOOL)
  list(REMOVE_ITEM CPACK_COMPONENTS_ALL treecache_tool)
endif()

set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "exact in-memory copy of a ZooKeeper subtree")
set(about "libtreecache keeps a copy of a ZooKeeper subtree in memory and follows\n\
every change of it. A snapshot of it equals the server's tree at one\n\
zxid, or says that it does not.\n")
set(about_runtime "This package has the shared library.")
set(about_development "This package has the headers, the static library, and the files for CMake\nand pkg-config.")
set(about_tool "This package has the program treecache. It keeps trees shared on a machine,\n\
as files that programs attach to and as plain files, and prints, exports,\n\
compares and diagnoses trees.")
set(about_python "This package has the binding for Python 3.")

# What is in the package, and in no other form of installation, is made by a script when everything else is there.
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(packaging/deb/changelog.Debian.in changelog.Debian @ONLY)
configure_file(packaging/cmake/stage.cmake.in stage.cmake @ONLY)
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_BINARY_DIR}/stage.cmake")
set(CPACK_PROJECT_CONFIG_FILE "${PROJECT_SOURCE_DIR}/packaging/cmake/cpack.cmake")

# --- Debian --------------------------------------------------------------------------------------------------

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON) # of the same version
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE libtreecache)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# A program that was built with this version needs this one or a later one: functions may have been added.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")

set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_NAME "libtreecache${PROJECT_VERSION_MAJOR}")
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_MULTIARCH same) # CMake knows it from 3.31 on
# Loaded by clients with Kerberos only.
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_SUGGESTS libgssapi-krb5-2)
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_CONTROL_EXTRA "${PROJECT_SOURCE_DIR}/packaging/deb/triggers")
set(CPACK_DEBIAN_TREECACHE_RUNTIME_DESCRIPTION "${about}\n${about_runtime}")

set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_PACKAGE_NAME libtreecache-dev)
set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_PACKAGE_MULTIARCH same)
set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_DESCRIPTION "${about}\n${about_development}")

set(CPACK_DEBIAN_TREECACHE_TOOL_PACKAGE_NAME treecache-tools)
set(CPACK_DEBIAN_TREECACHE_TOOL_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TREECACHE_TOOL_PACKAGE_MULTIARCH foreign)
set(CPACK_DEBIAN_TREECACHE_TOOL_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_TREECACHE_TOOL_PACKAGE_SUGGESTS libgssapi-krb5-2)
set(CPACK_DEBIAN_TREECACHE_TOOL_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/packaging/deb/tools/postinst" "${PROJECT_SOURCE_DIR}/packaging/deb/tools/prerm"
  "${PROJECT_SOURCE_DIR}/packaging/deb/tools/postrm")
set(CPACK_DEBIAN_TREECACHE_TOOL_DESCRIPTION "${about}\n${about_tool}")

set(CPACK_DEBIAN_TREECACHE_PYTHON_PACKAGE_NAME python3-treecache)
set(CPACK_DEBIAN_TREECACHE_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_TREECACHE_PYTHON_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_TREECACHE_PYTHON_PACKAGE_DEPENDS "python3:any (>= 3.9)")
set(CPACK_DEBIAN_TREECACHE_PYTHON_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/packaging/deb/python/postinst" "${PROJECT_SOURCE_DIR}/packaging/deb/python/prerm")
set(CPACK_DEBIAN_TREECACHE_PYTHON_DESCRIPTION "${about}\n${about_python}")

# The Python package as Debian has it: in the folder of all of Python's versions, and with the library beside it in a package
# of its own. Everywhere else `pip` installs it.
set(python_dir lib/python3/dist-packages)
install(DIRECTORY bindings/python/src/treecache DESTINATION "${python_dir}" COMPONENT treecache_python EXCLUDE_FROM_ALL
  PATTERN THIRD-PARTY-NOTICES EXCLUDE PATTERN __pycache__ EXCLUDE)
configure_file(packaging/deb/python/METADATA.in METADATA @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/METADATA" DESTINATION "${python_dir}/treecache-${PROJECT_VERSION}.dist-info"
  COMPONENT treecache_python EXCLUDE_FROM_ALL)

# --- RPM -----------------------------------------------------------------------------------------------------

set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_MAIN_COMPONENT treecache_runtime)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_RELEASE 1)
set(CPACK_RPM_PACKAGE_LICENSE "Apache-2.0 AND MIT AND ISC AND BSD-3-Clause") # ours, and those of the crates
set(CPACK_RPM_PACKAGE_SUMMARY "${CPACK_PACKAGE_DESCRIPTION_SUMMARY}")
set(CPACK_RPM_PACKAGE_DESCRIPTION "${about}\n${about_runtime}")
set(CPACK_RPM_PACKAGE_NAME libtreecache)
# Folders of the system's are not the package's.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
  /usr /usr/bin /usr/include /usr/share /usr/share/licenses /usr/share/man /usr/share/man/man1 /usr/share/bash-completion
  /usr/share/bash-completion/completions /usr/share/zsh /usr/share/zsh/site-functions /usr/share/fish
  /usr/share/fish/vendor_completions.d /usr/lib/systemd /usr/lib/systemd/system /usr/lib/sysusers.d
  "/usr/${CMAKE_INSTALL_LIBDIR}" "/usr/${CMAKE_INSTALL_LIBDIR}/cmake" "/usr/${CMAKE_INSTALL_LIBDIR}/pkgconfig")

set(CPACK_RPM_TREECACHE_RUNTIME_POST_INSTALL_SCRIPT_FILE "${PROJECT_SOURCE_DIR}/packaging/rpm/ldconfig")
set(CPACK_RPM_TREECACHE_RUNTIME_POST_UNINSTALL_SCRIPT_FILE "${PROJECT_SOURCE_DIR}/packaging/rpm/ldconfig")

set(CPACK_RPM_TREECACHE_DEVELOPMENT_PACKAGE_NAME libtreecache-devel)
set(CPACK_RPM_TREECACHE_DEVELOPMENT_PACKAGE_REQUIRES "libtreecache = ${PROJECT_VERSION}-${CPACK_RPM_PACKAGE_RELEASE}")
set(CPACK_RPM_TREECACHE_DEVELOPMENT_PACKAGE_DESCRIPTION "${about}\n${about_development}")

set(CPACK_RPM_TREECACHE_TOOL_PACKAGE_NAME treecache-tools)
set(CPACK_RPM_TREECACHE_TOOL_PACKAGE_DESCRIPTION "${about}\n${about_tool}")
set(CPACK_RPM_TREECACHE_TOOL_POST_INSTALL_SCRIPT_FILE "${PROJECT_SOURCE_DIR}/packaging/rpm/tools-post")
set(CPACK_RPM_TREECACHE_TOOL_PRE_UNINSTALL_SCRIPT_FILE "${PROJECT_SOURCE_DIR}/packaging/rpm/tools-preun")
set(CPACK_RPM_TREECACHE_TOOL_POST_UNINSTALL_SCRIPT_FILE "${PROJECT_SOURCE_DIR}/packaging/rpm/tools-postun")

include(CPack)
