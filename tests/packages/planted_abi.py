"""Changes of treecache.h, planted to see that scripts/lib/abi.py says of each what it means to existing programs."""

import contextlib
import io
import re
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts/lib"))
import abi  # noqa: E402: found by the line above

HEADER = (ROOT / "include/treecache.h").read_text()

SAME = {
    "another comment": (r"Frees a snapshot", "Releases a snapshot"),
    "another name of a parameter": (r"(\*tc_status_name\(int32_t) status", r"\1 code"),
    "another version": (r"(TC_VERSION_PATCH) \d+", r"\1 99"),
}

ALLOWED = {
    "a function": (r"^const char \*tc_version", r"int32_t tc_added(void);\n\g<0>"),
    "a function with a struct": (
        r"^const char \*tc_version",
        r"typedef struct tc_more { int x; } tc_more;\nvoid tc_added(tc_more *more);\n\g<0>",
    ),
    "a constant": (r"^#define TC_OK 0", r"\g<0>\n#define TC_ERR_ADDED -99"),
    "a member at the end": (r"^\} tc_event;", r"    int64_t more;\n\g<0>"),
    "members in all structs that may grow": (r"^\} tc_(fault|node|children|event);", r"    int64_t more;\n\g<0>"),
}

BREAKS = {
    "no more function": (r"^const char \*tc_version\(void\);", r""),
    "another name of a function": (r"\btc_version\(", r"tc_versions("),
    "another type of a parameter": (r"(\*tc_status_name\()int32_t", r"\1int64_t"),
    "a parameter more": (r"^(int32_t tc_start\()", r"\1int32_t more, "),
    "another type of a result": (r"^bool (tc_snapshot_is_cut)", r"int32_t \1"),
    "a parameter more of a callback": (r"(\(\*tc_log_fn\)\(int32_t level,)", r"\1 int32_t more,"),
    "another type of a callback's result": (r"int32_t (\(\*tc_visit_fn\))", r"int64_t \1"),
    "another base of a type": (r"int32_t (tc_state;)", r"int64_t \1"),
    "no more constant": (r"^#define TC_ERR_LIMIT -\d+", r""),
    "another value of a constant": (r"(TC_EVENT_IN_STEP) 7", r"\1 8"),
    "a member in the middle": (r"^    uint32_t flags;", r"    uint64_t more;\n\g<0>"),
    "a member less": (r"^    int64_t zxid;", r""),
    "another type of a member, of the same size": (r"^    uint32_t flags;", r"    int32_t flags;"),
    "another name of a member": (r"^    uint32_t flags;", r"    uint32_t bits;"),
    "a member at the end of a struct that has a fixed size": (r"^\} tc_stat;", r"    int64_t more;\n\g<0>"),
    "two members in each other's place": (
        r"^    int64_t czxid;(.*?)^    int64_t mzxid;",
        r"    int64_t mzxid;\1    int64_t czxid;",
    ),
    "a member at the end, and another type of one": (
        r"^    uint32_t flags;(.*?)^\} tc_event;",
        r"    int32_t flags;\1    int64_t more;\n} tc_event;",
    ),
}


class PlantedChanges(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.describe("old", HEADER)

    def describe(self, name, text, soname="libtreecache.so.0"):
        header = self.folder / "treecache.h"
        header.write_text(text)
        abi.describe(header, soname, self.folder / name)

    def verdict(self):
        with contextlib.redirect_stdout(io.StringIO()):
            return abi.compare(self.folder / "old", self.folder / "new")

    def check(self, changes, expected):
        for name, (pattern, replacement) in changes.items():
            with self.subTest(name):
                changed = re.sub(pattern, replacement, HEADER, flags=re.MULTILINE | re.DOTALL)
                self.assertNotEqual(changed, HEADER, "the change is planted")
                self.describe("new", changed)
                self.assertEqual(self.verdict(), expected)

    def test_what_no_program_can_notice(self):
        self.check(SAME, abi.SAME)

    def test_additions(self):
        self.check(ALLOWED, abi.ALLOWED)

    def test_what_breaks_programs(self):
        self.check(BREAKS, abi.BREAKS)

    def test_a_new_soname_allows_all(self):
        self.describe("new", HEADER.replace("tc_version(", "tc_versions("), soname="libtreecache.so.1")
        self.assertEqual(self.verdict(), abi.ALLOWED)

    def test_a_description_depends_on_no_folder(self):
        self.describe("elsewhere/new", HEADER)
        for file in ("treecache.abi", "treecache.constants"):
            self.assertEqual(*((self.folder / name / file).read_text() for name in ("old", "elsewhere/new")))


if __name__ == "__main__":
    unittest.main()
