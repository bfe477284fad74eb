# Two Debian packages, libtreecache0 and libtreecache-dev, made by cpack; see docs/packaging.md.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "The libtreecache maintainers <maintainers@libtreecache.invalid>"
  CACHE STRING "Who makes the packages: a name and an address")
set(CPACK_STRIP_FILES ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL treecache_runtime treecache_development)
set(CPACK_COMPONENT_TREECACHE_DEVELOPMENT_DEPENDS treecache_runtime)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON) # of the same version

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE libtreecache)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MULTIARCH same) # CMake knows it from 3.31 on
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# A program that was built with this version needs this one or a later one: functions may have been added.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")

set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "exact in-memory copy of a ZooKeeper subtree")
set(description "libtreecache keeps a copy of a ZooKeeper subtree in memory and follows\n\
every change of it. A snapshot of it equals the server's tree at one\n\
zxid, or says that it does not.\n")

set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_NAME "libtreecache${PROJECT_VERSION_MAJOR}")
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_SECTION libs)
# Loaded by clients with Kerberos only.
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_SUGGESTS libgssapi-krb5-2)
set(CPACK_DEBIAN_TREECACHE_RUNTIME_PACKAGE_CONTROL_EXTRA "${PROJECT_SOURCE_DIR}/packaging/deb/triggers")
set(CPACK_DEBIAN_TREECACHE_RUNTIME_DESCRIPTION "${description}\nThis package has the shared library.")

set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_PACKAGE_NAME libtreecache-dev)
set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_TREECACHE_DEVELOPMENT_DESCRIPTION
  "${description}\nThis package has the header, the static library, and the files for CMake\nand pkg-config.")

# What Debian's policy asks of every package, and nobody else needs: left out where all is installed.
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(packaging/deb/changelog.Debian.in changelog.Debian @ONLY)
foreach(component TREECACHE_RUNTIME TREECACHE_DEVELOPMENT)
  set(folder "share/doc/${CPACK_DEBIAN_${component}_PACKAGE_NAME}")
  string(TOLOWER ${component} component)
  install(FILES packaging/deb/copyright THIRD-PARTY-NOTICES DESTINATION "${folder}" COMPONENT ${component}
    EXCLUDE_FROM_ALL)
  install(CODE "
    set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${folder}\")
    execute_process(COMMAND gzip -9nc \"${PROJECT_SOURCE_DIR}/CHANGELOG.md\"
      OUTPUT_FILE \"\${folder}/changelog.gz\" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND gzip -9nc \"${PROJECT_BINARY_DIR}/changelog.Debian\"
      OUTPUT_FILE \"\${folder}/changelog.Debian.gz\" COMMAND_ERROR_IS_FATAL ANY)"
    COMPONENT ${component} EXCLUDE_FROM_ALL)
endforeach()

include(CPack)
