"""Whether `cargo cinstall` would install what CMake has installed, to PREFIX, but for the CMake package and the program:

    cargo_c.py PREFIX

cargo-c takes minutes to build, so this applies its rules, as of 0.10.24, to Cargo.toml. docs/packaging.md tells how to
try the real thing.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def by_cargo_c(manifest):
    """The files that cargo-c installs below the prefix, with the library folder named lib."""
    name = manifest["lib"]["name"]
    capi = manifest["package"]["metadata"]["capi"]
    assert "capi" in manifest["features"], "cargo-c passes over packages without the feature `capi`"
    assert capi["header"]["generation"] is False, "cargo-c would install a header of its own making"
    assert capi["header"]["subdirectory"] is False, "cargo-c would install the header to a folder below include"

    version = manifest["package"]["version"]
    if version == {"workspace": True}:
        version = manifest["workspace"]["package"]["version"]
    shared = f"lib/lib{name}.so"
    soname_numbers = version.split(".")[: capi["library"]["version_suffix_components"]]
    libraries = {f"lib/lib{name}.a", shared, f"{shared}.{'.'.join(soname_numbers)}", f"{shared}.{version}"}
    headers = {asset["from"] for asset in capi["install"]["include"]["asset"]}
    return headers | libraries | {f"lib/pkgconfig/{name}.pc"}


def by_cmake(prefix):
    files = {str(file.relative_to(prefix)) for file in prefix.rglob("*") if not file.is_dir()}
    # The library's own: the program is no matter for cargo-c.
    tool = ("bin/", "share/", "lib/systemd/", "lib/sysusers.d/")
    return {file for file in files if not file.startswith(("lib/cmake/", *tool))}


def main():
    cargo_c = by_cargo_c(tomllib.loads((ROOT / "Cargo.toml").read_text()))
    cmake = by_cmake(Path(sys.argv[1]))
    if cargo_c != cmake:
        sys.exit(f"only cargo-c installs {sorted(cargo_c - cmake)}, only CMake installs {sorted(cmake - cargo_c)}")
    headers = {str(file.relative_to(ROOT)) for file in ROOT.glob("include/*")}
    if not headers <= cmake:
        sys.exit(f"nobody installs {sorted(headers - cmake)}")
    print("cargo-c and CMake install:", *sorted(cmake))


if __name__ == "__main__":
    main()
