"""Whose code is in the library and in the program besides our own: what `cargo metadata` says of Cargo.lock. For
scripts/notices and scripts/sbom."""

import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The platforms that packages are made for; their crates are the same but for what is named here by `cargo metadata`.
PLATFORMS = [
    "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl",
]


def shipped(platform, root):
    """The packages whose code is in the package `root`, itself included, and for each the ids of those that it links."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={platform}"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    links, todo = {}, [next(id for id, package in packages.items() if package["name"] == root)]
    while todo:
        user = todo.pop()
        if user in links:
            continue
        links[user] = []
        for dependency in nodes[user]["deps"]:
            id = dependency["pkg"]
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            is_macro = any("proc-macro" in target["kind"] for target in packages[id]["targets"])
            if is_linked and not is_macro:
                links[user].append(id)
                todo.append(id)
    return {id: packages[id] for id in links}, links


def all_shipped(root):
    """As `shipped`, on all platforms together."""
    packages, links = {}, {}
    for platform in PLATFORMS:
        more, more_links = shipped(platform, root)
        packages |= more
        links = {id: sorted({*links.get(id, []), *more_links.get(id, [])}) for id in packages}
    return packages, links
