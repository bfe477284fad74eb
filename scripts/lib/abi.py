"""The binary interface of libtreecache: what treecache.h declares, written down and compared.

    abi.py describe HEADER SONAME DIR   writes DIR/treecache.abi and DIR/treecache.constants
    abi.py compare OLD_DIR NEW_DIR      prints what differs, and exits with
                                        0: nothing differs
                                        1: it does, and no program breaks: NEW adds to OLD, or has another SONAME
                                        2: programs that were built with OLD break

A description is made from the header alone, as a C compiler reads it: of a library whose functions have no bodies. The
debug information of the Rust library would bring Rust's names and insides along, and its release profile has no types.

abidiff tells people what differs. What breaks is judged here, since that rests on a promise of ours: structs which only
the library allocates may grow at their end. (abidiff's suppressions for that hide other changes of these structs too.)
"""

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SAME, ALLOWED, BREAKS = range(3)

# Programs have these by value, so they never grow.
FIXED_SIZE = {"tc_stat"}

COMPILER = ("gcc", "-std=c99")


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def describe(header, soname, folder):
    """Writes what `header` declares into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        library = build_library(header, soname, Path(work))
        # Nothing of the machine, the compiler and the folder that it was made with.
        neutral = ("architecture", "corpus-path", "comp-dir-path", "show-locs", "elf-needed", "parameter-names")
        options = [f"--no-{what}" for what in neutral]
        (folder / "treecache.abi").write_text(run("abidw", "--type-id-style", "hash", *options, library))

    macros = run(*COMPILER, "-E", "-dM", header)
    # The version's own numbers change with every release.
    constants = re.findall(r"^#define (TC_(?!VERSION_)\w+) (.+)$", macros, re.MULTILINE)
    (folder / "treecache.constants").write_text("".join(f"{name} {value}\n" for name, value in sorted(constants)))


def build_library(header, soname, folder):
    """Builds a shared library with every function of `header`, which do nothing."""
    declarations = " ".join(run(*COMPILER, "-E", "-P", header).split()).split(";")
    functions = [declaration for declaration in declarations if re.search(r"\btc_\w+\(", declaration)]
    source = "".join(f"{function} {{ __builtin_unreachable(); }}\n" for function in functions)
    (folder / "treecache.c").write_text(f'#include "{header.resolve()}"\n{source}')
    library = folder / "libtreecache.so"
    linker = ("-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{soname}")
    run(*COMPILER, "-g", *linker, "treecache.c", "-o", library, cwd=folder)
    return library


def read(folder):
    """Returns the SONAME, and the set of what a program may rely on, as text."""
    corpus = ElementTree.parse(folder / "treecache.abi").getroot()
    types = {element.get("id"): element for element in corpus.iter() if element.get("id")}

    def type_of(element):
        return spelled(types[element.get("type-id")])

    def spelled(element):
        match element.tag:
            case "type-decl" | "typedef-decl":
                return element.get("name")
            case "class-decl":
                return f"struct {element.get('name')}"
            case "pointer-type-def":
                return f"{type_of(element)} *"
            case "qualified-type-def" if element.get("const") == "yes":
                return f"{type_of(element)} const"
            case "function-type" | "function-decl":
                return f"{type_of(element.find('return'))} ({', '.join(map(type_of, element.findall('parameter')))})"
            case unknown:
                raise NotImplementedError(f"{unknown} in a description: {element.attrib}")

    facts = {f"constant {line}" for line in (folder / "treecache.constants").read_text().splitlines()}
    for element in corpus.iter():
        name = element.get("name")
        match element.tag:
            case "function-decl":
                facts.add(f"function {name}: {spelled(element)}")
            case "typedef-decl":
                facts.add(f"type {name}: {type_of(element)}")
            case "type-decl":
                facts.add(f"type {name}: {element.get('size-in-bits')} bits")
            case "class-decl":
                if name in FIXED_SIZE:
                    facts.add(f"struct {name}: {element.get('size-in-bits')} bits")
                for member in element.findall("data-member"):
                    variable = member.find("var-decl")
                    place = f"{name}.{variable.get('name')} at bit {member.get('layout-offset-in-bits')}"
                    facts.add(f"member {place}: {type_of(variable)}")
    return corpus.get("soname"), facts


def compare(old, new):
    """Prints what differs between two descriptions, and returns what that means to programs built with the old one."""
    files = [folder / "treecache.abi" for folder in (old, new)]
    report = subprocess.run(["abidiff", "--harmless", *files], text=True, stdout=subprocess.PIPE)
    if report.returncode != 0:
        print(report.stdout, end="")

    (old_soname, old_facts), (new_soname, new_facts) = read(old), read(new)
    for fact in sorted(old_facts - new_facts):
        print("-", fact)
    for fact in sorted(new_facts - old_facts):
        print("+", fact)

    if old_soname != new_soname:
        return ALLOWED
    if old_facts == new_facts:
        # What abidiff alone sees is taken for the worst.
        return SAME if report.returncode == 0 else BREAKS
    return ALLOWED if old_facts < new_facts else BREAKS


def main(arguments):
    match arguments:
        case ["describe", header, soname, folder]:
            describe(Path(header), soname, Path(folder))
            return SAME
        case ["compare", old, new]:
            return compare(Path(old), Path(new))
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
