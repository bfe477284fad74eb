"""_abi.py, compared with treecache.h."""

import ctypes
import os
import re
import shutil
import subprocess

import pytest

import treecache
from treecache import _abi, _values

HEADER = os.environ["TREECACHE_TEST_HEADER"]
with open(HEADER) as header:
    TEXT = re.sub(r"/\*.*?\*/", "", header.read(), flags=re.DOTALL)

STRUCTS = [one for one in vars(_abi).values() if isinstance(one, type) and issubclass(one, ctypes.Structure)]
STRUCTS.remove(ctypes.Structure)


def numbers(prefix: str) -> "dict[str, int]":
    return {name: int(number) for name, number in re.findall(rf"#define {prefix}(\w+) (-?\d+)", TEXT)}


def test_structs_lie_in_memory_as_the_c_compiler_has_them(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler"
    ours = {}
    for struct in STRUCTS:
        ours[f"sizeof({struct.__name__})"] = ctypes.sizeof(struct)
        for name, *_ in struct._fields_:
            field = getattr(struct, name)
            ours[f"offsetof({struct.__name__}, {name})"] = field.offset
            ours[f"sizeof((({struct.__name__} *)0)->{name})"] = field.size
    source = tmp_path / "layout.c"
    lines = "".join(f'    printf("%zu\\n", {expression});\n' for expression in ours)
    source.write_text(
        f'#include "{os.path.abspath(HEADER)}"\n#include <stdio.h>\nint main(void)\n{{\n{lines}    return 0;\n}}\n'
    )
    subprocess.run([compiler, "-std=c99", source, "-o", tmp_path / "layout"], check=True)
    answer = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True)
    assert len(STRUCTS) == 9
    assert dict(zip(ours, map(int, answer.stdout.split()))) == ours


def test_structs_have_all_fields_of_the_header():
    for struct in STRUCTS:
        name = struct.__name__
        (body,) = re.findall(rf"typedef struct {name} {{(.*?)}} {name};", TEXT, re.DOTALL)
        assert [field for field, *_ in struct._fields_] == re.findall(r"(\w+);", body), name


def kind(declared: str) -> object:
    """A type of the header, as ctypes has it: what is a pointer or not, and how large a number is."""
    declared = declared.strip()
    if "*" in declared:
        return "pointer"
    base = re.sub(r"\bconst\b", "", declared).split()[0]
    return {
        "void": None,
        "bool": ctypes.c_bool,
        "int32_t": ctypes.c_int32,
        "int64_t": ctypes.c_int64,
        "uint64_t": ctypes.c_uint64,
        "size_t": ctypes.c_size_t,
    }.get(base, "pointer" if base.endswith("_fn") else base)


def our_kind(declared: object) -> object:
    pointers = (ctypes._Pointer, ctypes._CFuncPtr)
    if declared in (ctypes.c_void_p, ctypes.c_char_p) or isinstance(declared, type) and issubclass(declared, pointers):
        return "pointer"
    return declared


def test_functions_take_and_return_what_the_header_says():
    declared = {}
    for result, name, arguments in re.findall(r"^([\w *]+?)\b(tc_\w+)\(([^;{}]*?)\);", TEXT, re.MULTILINE):
        taken = [] if arguments.strip() == "void" else arguments.split(",")
        declared[name] = (kind(result + (" *" if "*" in result else " ")), [kind(one) for one in taken])
    for name, (result, arguments) in _abi.PROTOTYPES.items():
        assert (our_kind(result), [our_kind(one) for one in arguments]) == declared[name], name


def test_each_status_has_an_exception():
    statuses = numbers("TC_ERR_")
    classes = {one.status: one for one in treecache.TreeCacheError.__subclasses__()}
    assert sorted(classes) == sorted(statuses.values())
    for name, status in statuses.items():
        assert classes[status].__name__.upper() == name.replace("_", "") + "ERROR"
        assert getattr(treecache, classes[status].__name__) is classes[status]


def test_numbers_are_those_of_the_header():
    events = numbers("TC_EVENT_")
    assert _abi.TC_EVENT_LAST_OF_VERSION == events.pop("LAST_OF_VERSION")
    assert {one.name: one.value for one in treecache.EventType} == events
    assert {one.name: one.value for one in treecache.State} == numbers("TC_STATE_")
    assert _abi.TC_ERR_TIMEOUT == numbers("TC_ERR_")["TIMEOUT"]
    assert _abi.TC_WALK_CONTINUE == numbers("TC_WALK_")["CONTINUE"]
    for name in events:
        assert getattr(treecache.TreeEvent, name) is treecache.EventType[name]


def test_numbers_of_a_later_library_are_taken():
    later = treecache.EventType(4711)
    assert (later, later.name) == (4711, "UNKNOWN_4711")
    with pytest.raises(ValueError):
        treecache.EventType("NODE_ADDED")


def test_a_stat_is_unpacked_field_by_field():
    names = [name for name, _ in _abi.tc_stat._fields_]
    stat = _abi.tc_stat(**{name: -number for number, name in enumerate(names, 1)})
    assert _values.STAT.unpack(stat) == tuple(-number for number in range(1, len(names) + 1))
    node = _abi.tc_node(None, 0, stat)
    assert _values.node_data("/a", node) == ("/a", b"", _values.STAT.unpack(stat))
    assert [name.replace("_", "").lower() for name in names] == [name.lower() for name in treecache.ZnodeStat._fields]
