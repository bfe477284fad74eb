"""How Conan 2 builds libtreecache, from the checkout that this file is in:

    conan create packaging/conan

Cargo has to be in PATH, with Rust of the version that Cargo.toml asks for, and gets the crates by itself.
"""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rm
from conan.tools.scm import Git

required_conan_version = ">=2.0"


class Treecache(ConanFile):
    name = "treecache"
    description = "An exact in-memory copy of a ZooKeeper subtree"
    license = "Apache-2.0"
    topics = ("zookeeper", "cache", "service-discovery")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": True}

    def set_version(self):
        # Stated once; whoever has the recipe without its checkout has the version as well.
        if not self.version:
            manifest = load(self, os.path.join(self.recipe_folder, "..", "..", "Cargo.toml"))
            self.version = re.search(r'(?m)^version = "([0-9.]+)"', manifest).group(1)

    def export_sources(self):
        checkout = os.path.normpath(os.path.join(self.recipe_folder, "..", ".."))
        for file in Git(self, checkout).included_files():
            copy(self, file, checkout, self.export_sources_folder)

    def configure(self):
        self.settings.rm_safe("compiler.cppstd")  # the library is called as C is
        self.settings.rm_safe("compiler.libcxx")

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration(f"libtreecache is for Linux, and not for {self.settings.os}")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["TREECACHE_TOOL"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        rm(self, "*.a" if self.options.shared else "*.so*", os.path.join(self.package_folder, "lib"))
        for file in ("LICENSE", "THIRD-PARTY-NOTICES"):
            copy(self, file, self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.libs = ["treecache"]
        self.cpp_info.set_property("cmake_file_name", "treecache")
        self.cpp_info.set_property("pkg_config_name", "treecache")
        if self.options.shared:
            self.cpp_info.set_property("cmake_target_name", "treecache::treecache")
        else:
            self.cpp_info.set_property("cmake_target_name", "treecache::treecache_static")
            # What Rust's own library needs was found out when it was built.
            needs = load(self, os.path.join(self.package_folder, "lib", "pkgconfig", "treecache.pc"))
            self.cpp_info.system_libs = re.findall(r"-l(\S+)", re.search(r"(?m)^Libs\.private: (.*)$", needs).group(1))
