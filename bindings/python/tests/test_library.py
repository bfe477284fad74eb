"""How the shared library is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import treecache

LIBRARY = Path(os.environ["TREECACHE_LIBRARY"]).resolve()
PACKAGE = Path(treecache.__file__).parent


def import_treecache(path, **environment):
    """Imports the package that is in `path` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "import treecache; print(treecache.library_version)"],
        env={"PYTHONPATH": str(path), **environment},
        capture_output=True,
        text=True,
    )


def test_the_environment_names_it(tmp_path):
    found = import_treecache(PACKAGE.parent, TREECACHE_LIBRARY=str(LIBRARY))
    assert (found.stdout.strip(), found.stderr) == (treecache.library_version, "")


def test_it_lies_beside_the_package(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "treecache")
    (tmp_path / "treecache" / "libtreecache.so.0").symlink_to(LIBRARY)
    found = import_treecache(tmp_path)
    assert (found.stdout.strip(), found.stderr) == (treecache.library_version, "")


def test_the_system_loader_knows_it(tmp_path):
    (tmp_path / "libtreecache.so.0").symlink_to(LIBRARY)
    found = import_treecache(PACKAGE.parent, LD_LIBRARY_PATH=str(tmp_path))
    assert (found.stdout.strip(), found.stderr) == (treecache.library_version, "")


def test_when_there_is_none_the_error_says_what_was_tried():
    found = import_treecache(PACKAGE.parent)
    assert found.returncode != 0
    assert "ImportError: the shared library of treecache cannot be loaded; tried:" in found.stderr
    assert f"  {PACKAGE}/libtreecache.so.0 (beside the package): " in found.stderr
    assert "  libtreecache.so.0 (system loader): " in found.stderr
    assert "TREECACHE_LIBRARY" in found.stderr


def test_what_the_environment_names_is_not_replaced_by_another(tmp_path):
    (tmp_path / "libtreecache.so.0").symlink_to(LIBRARY)
    found = import_treecache(PACKAGE.parent, TREECACHE_LIBRARY="/nowhere/lib.so", LD_LIBRARY_PATH=str(tmp_path))
    assert "  /nowhere/lib.so (TREECACHE_LIBRARY): " in found.stderr
    assert "system loader" not in found.stderr


def test_another_library_is_refused():
    found = import_treecache(PACKAGE.parent, TREECACHE_LIBRARY="libc.so.6")
    assert "  libc.so.6 (TREECACHE_LIBRARY): " in found.stderr
    assert "tc_version" in found.stderr
