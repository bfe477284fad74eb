# An overlay port: it builds the checkout that it is in.
#
#   vcpkg install treecache --overlay-ports=libtreecache/packaging/vcpkg
#
# Cargo has to be in PATH, with Rust of the version that Cargo.toml asks for, and gets the crates by itself.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)

# The C API is the same for programs in Debug.
set(VCPKG_BUILD_TYPE release)

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DTREECACHE_TOOL=OFF
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/treecache)
vcpkg_fixup_pkgconfig()

if(VCPKG_LIBRARY_LINKAGE STREQUAL "dynamic")
    file(GLOB others "${CURRENT_PACKAGES_DIR}/lib/*.a")
else()
    file(GLOB others "${CURRENT_PACKAGES_DIR}/lib/*.so*")
endif()
file(REMOVE ${others})

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE" "${SOURCE_PATH}/THIRD-PARTY-NOTICES")
