"""The programs of README.md and docs/, word for word: compiled, run against a server, and their output compared.

    examples.py PREFIX SERVER_PORT WORK

A block of code is annotated by a comment above its fence:

    <!-- program NAME       a whole program; what follows is how it is tried, see below
    STEPS -->
    <!-- fragment NAME -->  a part of one: a program in tests/docs has it by #include "NAME.inc"
    <!-- output NAME -->    all that the program NAME prints on standard output
    <!-- cmake NAME -->     a CMakeLists.txt that builds the program NAME, too
    <!-- rust NAME          a part of examples/NAME.rs, which cargo builds; tried like a program
    STEPS -->
    <!-- commands NAME      what is typed into a shell, run like a program, in a folder that has what the source's has.
    STEPS -->               $HOME/treecache is the prefix, and localhost:2181 the server

On the pages of COMMAND_PAGES, every block of a shell, of YAML, of systemd and of Docker is `commands`, and is run, or stands
in NOT_RUN with the reason. (Their Python is run by bindings/python/tests/test_docs.py.)

Figures that are told again are annotated above their table:

    <!-- figures PAGE -->   each number in the table, but for its first column, is in PAGE

Every block of C has to be a program or a fragment; blocks of C++ (cpp) may be. The programs in tests/docs begin with
their steps in a comment. Steps are Python and use what `Trial` offers. Each program has a root of its own on the
server: the chroot in the hosts that it is given as its first argument.

Messages of the library that a page explains are annotated above their table:

    <!-- messages -->       each code in its first column is in the source, but for what stands in place of "…"

Links are checked, too: to files, and to headings in them.
"""

import concurrent.futures
import contextlib
import logging
import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/lib"))

from kazoo.client import KazooClient  # noqa: E402
from proxy import Proxy  # noqa: E402

PAGES = [ROOT / page for page in ("README.md", "CHANGELOG.md", "packaging/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
REFERENCE = ROOT / "docs/reference.md"  # has declarations, which are the header's own
COMMAND_PAGES = [ROOT / page for page in ("docs/deploying.md", "docs/sharing.md", "docs/troubleshooting.md")]
# Commands that are not run, and why.
NOT_RUN = {
    "gunicorn": "runs for ever; bindings/python/tests/test_docs.py runs it",
    "systemd": "needs a systemd, and a machine to change",
    "static-go": "needs Go; bindings/go/test does the same",
    "static-go-musl": "needs Go; bindings/go/test does the same",
    "musl": "builds the whole crate; tests/musl/run does the same",
    "docker-debian": "needs a container runtime, and images from a registry",
    "docker-volume": "needs a container runtime; bindings/python/tests/test_attach.py has namespaces and a read-only mount",
    "kubernetes": "needs a cluster",
    "kubernetes-sidecar": "needs a cluster",
    "systemd-writer": "needs systemd; bindings/python/tests/test_docs.py runs the program",
    "prometheus-rules": "tests/prometheus runs it",
    "prometheus-agent": "tests/prometheus runs it",
    "openssl": "needs a server with TLS; tests/server has one, and no certificate of an example.org",
    "conformance": "builds the whole crate; tests/server/conformance.rs asks the same questions",
}
# Where messages of the library may stand.
SOURCES = ["src/**/*.rs", "core/src/**/*.rs", "bindings/python/src/**/*.py", "CMakeLists.txt", "packaging/cmake/*.cmake"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
COMPILERS = {"c": ["gcc", "-std=c99"], "cpp": ["g++", "-std=c++17"]}
INTERPRETERS = {"php": "php", "ruby": "ruby", "lua": "luajit"}
# What a program does not free is an error, too; also where stacks that are left still have its address.
SANITIZER = ["-g", "-fsanitize=address"]
ENVIRONMENT = {**os.environ, "LSAN_OPTIONS": "use_stacks=0:use_registers=0"}
PATIENCE = 30  # seconds; against hanging only


class Wrong(Exception):
    """What is to be told to who wrote the page."""


class Block:
    def __init__(self, page, line, language, text, kind, name, steps):
        self.place = f"{page.relative_to(ROOT)}:{line}"
        self.language, self.text, self.kind, self.name, self.steps = language, text, kind, name, steps


FENCED = re.compile(
    r"""(?:^<!--\ (?P<kind>program|fragment|output|cmake|rust|commands)\ (?P<name>[\w-]+)(?P<steps>(?:(?!-->).)*)-->\n)?
        ^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in FENCED.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        fields = match.groupdict()
        steps = textwrap.dedent(fields.pop("steps") or "")
        blocks.append(Block(page, line, fields["language"], fields["text"], fields["kind"], fields["name"], steps))
    if len(re.findall(r"^<!-- (?:program|fragment|output|cmake|rust|commands)\b", text, re.MULTILINE)) != sum(
        block.kind is not None for block in blocks
    ):
        raise Wrong(f"{page.relative_to(ROOT)}: an annotation is not right above a block")
    for block in blocks:
        if block.language == "c" and block.kind not in ("program", "fragment"):
            raise Wrong(f"{block.place}: a block of C is a program or a fragment: see tests/docs/examples.py")
        if page in COMMAND_PAGES and block.language in ("sh", "yaml", "ini", "dockerfile") and block.kind != "commands":
            raise Wrong(f"{block.place}: it is not said whether this is run: see tests/docs/examples.py")
    return blocks


class Program:
    def __init__(self, block):
        self.name, self.place, self.language, self.text, self.steps = (
            block.name,
            block.place,
            block.language,
            block.text,
            block.steps,
        )
        self.output = None
        self.cmake = None


def wrapper(path):
    """A program in tests/docs, as if it were a block."""
    text = path.read_text(encoding="utf-8")
    match = re.match(r"/\*(.*?)\*/", text, re.DOTALL)
    if not match:
        raise Wrong(f"{path.name} does not begin with its steps")
    return Block(path, 1, path.suffix[1:], text, "program", path.stem, textwrap.dedent(match[1]))


def collect():
    """The programs, and the fragments by name."""
    by_kind = {"program": {}, "fragment": {}, "output": {}, "cmake": {}, "rust": {}, "commands": {}}
    wrappers = [wrapper(path) for path in sorted((ROOT / "tests/docs").glob("*.c*"))]
    for block in wrappers + [block for page in PAGES if page != REFERENCE for block in blocks_of(page)]:
        if block.kind:
            if block.name in by_kind[block.kind]:
                raise Wrong(f"{block.place}: there is another {block.kind} {block.name}")
            by_kind[block.kind][block.name] = block

    commands = by_kind["commands"]
    if not_there := NOT_RUN.keys() - commands.keys():
        raise Wrong(f"NOT_RUN has {sorted(not_there)}, which no page has")
    runs = {name: block for name, block in commands.items() if name not in NOT_RUN}
    tried = [*by_kind["program"].items(), *by_kind["rust"].items(), *runs.items()]
    programs = {name: Program(block) for name, block in tried}
    if len(programs) < len(tried):
        raise Wrong(f"two programs have one name: {sorted(name for name, _ in tried)}")
    for kind in ("output", "cmake"):
        for name, block in by_kind[kind].items():
            if name not in programs:
                raise Wrong(f"{block.place}: there is no program {name}")
            setattr(programs[name], kind, block.text)
    used = re.findall(r'#include "([\w-]+)\.inc"', "".join(block.text for block in wrappers))
    if sorted(used) != sorted(by_kind["fragment"]):
        raise Wrong(f"fragments {sorted(by_kind['fragment'])}, but tests/docs includes {sorted(used)}")
    return list(programs.values()), by_kind["fragment"]


def folder_in_memory():
    return tempfile.TemporaryDirectory(prefix="treecache-", dir="/dev/shm")


class Trial:
    """One run of a program, and what its steps can use."""

    def __init__(self, program, binary, server_port):
        root = f"/{program.name}"
        with_root = KazooClient(f"127.0.0.1:{server_port}")
        with_root.start()
        if with_root.exists(root):
            with_root.delete(root, recursive=True)
        with_root.create(root)
        with_root.stop()
        self.network = Proxy(server_port)
        self.hosts = f"127.0.0.1:{self.network.port}{root}"
        self.zk = KazooClient(f"127.0.0.1:{server_port}{root}")
        self.zk.start()
        self.binary = binary
        self.errors = binary.with_suffix(".errors")  # what it prints on standard error
        self.process = None
        self.lines = []
        self.shown = 0
        self.changed = threading.Condition()

    def run(self, *arguments):
        """Starts the program with the hosts and these arguments."""
        self.run_without_hosts(self.hosts, *arguments)

    def run_without_hosts(self, *arguments):
        """Starts the program with these arguments."""
        ours, theirs = pty.openpty()  # so that it prints a line when it has one
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [self.binary, *arguments],
                stdin=subprocess.PIPE,
                stdout=theirs,
                stderr=errors,
                env=ENVIRONMENT,
            )
        os.close(theirs)
        self.reader = threading.Thread(target=self.read, args=(ours,), daemon=True)
        self.reader.start()

    def read(self, ours):
        with open(ours, encoding="utf-8", newline="\r\n") as file:
            try:
                for line in file:
                    line = re.sub(r"\x1b\[[0-9;]*m", "", line)  # colours
                    with self.changed:
                        self.lines.append(line.rstrip("\r\n"))
                        self.changed.notify()
            except OSError:
                pass  # what a terminal says when nobody holds its other side any more

    def shows(self, *lines):
        """Waits until the program has printed each of these lines, after those before."""
        for line in lines:
            with self.changed:
                if not self.changed.wait_for(lambda: line in self.lines[self.shown :], PATIENCE):
                    raise Wrong(f"does not print {line!r}, but\n{self.printed()}")
                self.shown += self.lines[self.shown :].index(line) + 1

    def printed(self):
        return "\n".join([*self.lines, self.errors.read_text(encoding="utf-8")])

    def enter(self, line=""):
        """Types a line."""
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def ends(self, code=0):
        """Waits for the program's end."""
        try:
            ended_with = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Wrong(f"does not end, and printed\n{self.printed()}") from None
        self.reader.join(PATIENCE)
        if ended_with != code:
            raise Wrong(f"ends with {ended_with} instead of {code}, and printed\n{self.printed()}")

    @contextlib.contextmanager
    def kept(self, path):
        """The name of a file in which the tree at a path is kept."""
        import treecache

        with folder_in_memory() as folder:
            file = f"{folder}/tree"
            with treecache.Client(self.hosts) as client, client.cache(path, {"share.file": file}):
                yield file

    def offered(self):
        import treecache

        return {
            "zk": self.zk,  # a kazoo client whose / is the program's root
            "network": self.network,  # between the program and the server: drop(), restore()
            "run": self.run,
            "run_without_hosts": self.run_without_hosts,
            "kept": self.kept,  # with kept("/path") as file
            "folder_in_memory": folder_in_memory,
            "treecache": treecache,  # the binding for Python
            "shows": self.shows,
            "enter": self.enter,
            "ends": self.ends,
            "time": time,
        }

    def clean_up(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.zk.stop()


def attempt(program, binary, server_port):
    trial = Trial(program, binary, server_port)
    try:
        exec(compile(program.steps, f"the steps of {program.name}", "exec"), trial.offered())
        trial.ends()
        printed = "".join(f"{line}\n" for line in trial.lines)
        if program.output is not None and printed != program.output:
            raise Wrong(f"prints\n{printed}instead of\n{program.output}")
    finally:
        trial.clean_up()


def build(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise Wrong(done.stdout)
    return done.stdout


def located(block):
    """A block's text, so that a compiler names the page."""
    page, line = block.place.split(":")
    return f'#line {line} "{page}"\n{block.text}'


def with_pkg_config(program, prefix, work):
    source = work / f"{program.name}.{program.language}"
    source.write_text(located(program), encoding="utf-8")
    (libdir,) = {path.parent for path in prefix.rglob("libtreecache.a")}
    environment = {**os.environ, "PKG_CONFIG_PATH": str(libdir / "pkgconfig")}
    flags = build(["pkg-config", "--cflags", "--libs", "treecache"], env=environment).split()
    compiler = COMPILERS[program.language] + WARNINGS + SANITIZER
    binary = work / program.name
    include = ["-I", str(work), "-I", str(ROOT / "tests/c"), "-I", str(ROOT / "tests/docs")]
    build([*compiler, *include, str(source), "-o", str(binary), *flags, "-pthread", f"-Wl,-rpath,{libdir}"])
    return binary


def with_cmake(program, prefix, work):
    folder = work / f"{program.name}-cmake"
    folder.mkdir()
    (folder / f"{program.name}.{program.language}").write_text(program.text, encoding="utf-8")
    (folder / "CMakeLists.txt").write_text(program.cmake, encoding="utf-8")
    build(["cmake", "-S", str(folder), "-B", str(folder / "build"), f"-DCMAKE_PREFIX_PATH={prefix}"])
    build(["cmake", "--build", str(folder / "build")])
    return folder / "build" / program.name


def with_cargo(program, work):
    source = ROOT / "examples" / f"{program.name}.rs"
    if program.text not in source.read_text(encoding="utf-8"):
        raise Wrong(f"it is not in {source.relative_to(ROOT)}")
    build(["cargo", "build", "--quiet", "--locked", "--features", "ffi", "--example", program.name], cwd=ROOT)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return shutil.copy(target / "debug/examples" / program.name, work / program.name)


def with_interpreter(program, prefix, work):
    """A script in a language that calls the library by itself."""
    source = work / f"{program.name}.{program.language}"
    source.write_text(program.text, encoding="utf-8")
    (libdir,) = {path.parent for path in prefix.rglob("libtreecache.a")}
    script = work / program.name
    interpreter = INTERPRETERS[program.language]
    script.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH='{libdir}'\nexec {interpreter} '{source}' \"$@\"\n", encoding="utf-8"
    )
    script.chmod(0o755)
    return script


def with_shell(program, prefix, server_port, work):
    """A script of what is typed. The server is its argument, where it is named as host:port."""
    folder = work / f"{program.name}-commands"
    folder.mkdir()
    for name in ("bindings", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "treecache").symlink_to(prefix)
    text = program.text.replace("localhost:2181", "$1").replace("localhost 2181", f"127.0.0.1 {server_port}")
    script = folder / "commands"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        f"cd '{folder}'\nexport HOME=$PWD PYTHONPATH=$PWD/bindings/python/src PYTHONDONTWRITEBYTECODE=1\n{text}",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


def check(program, prefix, server_port, work):
    """What is wrong with a program, or None."""
    try:
        if program.language in INTERPRETERS:
            attempt(program, with_interpreter(program, prefix, work), server_port)
            return None
        if program.language == "sh":
            attempt(program, with_shell(program, prefix, server_port, work), server_port)
            return None
        if program.language == "rust":
            attempt(program, with_cargo(program, work), server_port)
            return None
        attempt(program, with_pkg_config(program, prefix, work), server_port)
        if program.cmake:
            attempt(program, with_cmake(program, prefix, work), server_port)
    except Wrong as wrong:
        return f"{program.place}: {program.name}: {wrong}"
    return None


def anchors_of(page):
    """The fragments that a page can be asked for, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    anchors = re.findall(r'<a id="([^"]+)">', text)
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = [c for c in words if c in "-_ " or unicodedata.category(c)[0] in "LN"]
        anchors.append("".join(kept).replace(" ", "-"))
    return anchors


def broken_links():
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"https?:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists():
                yield f"{page.relative_to(ROOT)}: there is no {path}"
            elif anchor and anchor not in anchors_of(target):
                yield f"{page.relative_to(ROOT)}: there is no {link}"


def tables(page, annotation):
    """The tables of a page that stand below such a comment: its argument, and the rows."""
    text = page.read_text(encoding="utf-8")
    for argument, table in re.findall(rf"^<!-- {annotation}(?: (\S+))? -->\n((?:\|.*\n)+)", text, re.MULTILINE):
        yield argument, [row.strip("|").split("|") for row in table.splitlines()[2:]]


def unknown_messages():
    """Messages that a page explains, and the library does not have (any more)."""
    files = [file for pattern in SOURCES for file in ROOT.glob(pattern)]
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    source = re.sub(r"\\\n\s*", "", source).replace('\\"', '"')  # one string over several lines, and its quotes
    source = source.replace("${tool} was", "cargo was")
    for page in PAGES:
        for _, rows in tables(page, "messages"):
            for message in (code for row in rows for code in re.findall(r"`([^`]+)`", row[0])):
                missing = [part for part in message.split("…") if part.strip(" :,()") not in source]
                if missing or len(message) < len("closed"):
                    yield f"{page.relative_to(ROOT)}: the library does not say '{message}': {missing}"


def figures_of_others():
    """Figures that are told again, and are not (or no longer) in the page that they are from."""
    number = r"\d[\d.,]*(?: (?:ns|µs|ms|s|MB|nodes)\b)?"
    for page in PAGES:
        for source, rows in tables(page, "figures"):
            known = (ROOT / source).read_text(encoding="utf-8")
            for name, *cells in rows:
                for figure in re.findall(number, " ".join(cells)):
                    if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,]*\d)", known):
                        yield f"{page.relative_to(ROOT)}: {source} has no {figure}, of '{name.strip()}'"


def main():
    logging.disable(logging.WARNING)  # kazoo's, of connections that end
    prefix, server_port, work = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
    # The binding for Python, for steps.
    (library,) = prefix.rglob("libtreecache.so.0")
    os.environ["TREECACHE_LIBRARY"] = str(library)
    sys.path.insert(0, str(ROOT / "bindings/python/src"))
    sys.dont_write_bytecode = True
    try:
        programs, fragments = collect()
    except Wrong as wrong:
        sys.exit(str(wrong))
    for fragment in fragments.values():
        (work / f"{fragment.name}.inc").write_text(located(fragment), encoding="utf-8")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = [pool.submit(check, program, prefix, server_port, work) for program in programs]
        wrong = [result for done in checks if (result := done.result())]
    wrong += broken_links()
    wrong += figures_of_others()
    wrong += unknown_messages()
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(programs)} programs with {len(fragments)} fragments do what they say; no link is broken")
    for name, reason in NOT_RUN.items():
        print(f"NOT RUN: {name}: {reason}")


if __name__ == "__main__":
    main()
