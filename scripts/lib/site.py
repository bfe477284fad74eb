"""What scripts/site needs: the files of a book, and whether the site that mdBook has made of them is whole.

    site.py collect FOLDER      FOLDER/book.toml, and in FOLDER/src the pages, with all files that they link to
    site.py check SITE          every link within the site leads to something
"""

import html.parser
import pathlib
import re
import shutil
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"


def linked(page):
    """The files of the repository that a page links to."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path = link.partition("#")[0]
        if path and not re.match(r"https?:", path):
            yield (page.parent / path).resolve()


def collect(folder):
    summary = DOCS / "SUMMARY.md"
    pages = list(linked(summary))
    forgotten = set(DOCS.rglob("*.md")) - {*pages, summary}
    if forgotten:
        sys.exit(f"docs/SUMMARY.md does not have {', '.join(sorted(page.name for page in forgotten))}")
    source = folder / "src"
    for file in {*pages, *(file for page in pages for file in linked(page))}:
        copy = source / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            copy.with_name(as_index(file.name)).write_text(as_index(file.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copy(file, copy)
    # In the book, the summary stands in the folder above.
    text = re.sub(
        r"\]\(([^)]+)\)",
        lambda link: f"]({(DOCS / link[1]).resolve().relative_to(ROOT)})",
        summary.read_text(encoding="utf-8"),
    )
    (source / "SUMMARY.md").write_text(as_index(text), encoding="utf-8")
    shutil.copy(DOCS / "book.toml", folder)


def as_index(text):
    """A name, or a text with links, in which what is called README is the first page of its folder."""
    return re.sub(r"^README\.md$|(?<=\()((?:[\w.-]+/)*)README\.md(?=[)#])", r"\1index.md", text)


class Page(html.parser.HTMLParser):
    """The ids of a page, and what it links to."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name"):
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


def check(site):
    pages = {file: Page(file) for file in site.rglob("*.html")}
    wrong, links = [], 0
    for file, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlparse(link)
            if url.scheme or url.netloc or file.name in ("404.html", "toc.html"):  # these are shown in other folders
                continue
            links += 1
            target = (file.parent / urllib.parse.unquote(url.path)).resolve() if url.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                wrong.append(f"{file.relative_to(site)}: there is no {link}")
            elif url.fragment and target in pages and urllib.parse.unquote(url.fragment) not in pages[target].ids:
                wrong.append(f"{file.relative_to(site)}: there is no {link}")
    if wrong:
        sys.exit("\n".join(sorted(wrong)))
    print(f"{len(pages)} pages, {links} links within the site")


if __name__ == "__main__":
    {"collect": collect, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]).resolve())
