"""Takes the picture of scripts/picture: `treecache top` in a terminal, drawn as SVG.

    picture.py TREECACHE SERVER_PORT FILE
"""

import html
import itertools
import random
import sys
import threading

from kazoo.client import KazooClient
from shop import Proxy, Shop
from terminal import Terminal

COLUMNS, ROWS, SECONDS = 112, 35, 65
CELL_WIDTH, CELL_HEIGHT, MARGIN, BAR = 8.4, 18, 14, 30
FOREGROUND, BACKGROUND, FRAME = "#d3d7de", "#14171c", "#2a2f38"
NAMED = {"red": "#d05050", "green": "#5fd75f", "brown": "#ffaf00", "black": "#000000", "white": "#ffffff"}
LEVELS = list("▁▂▃▄▅▆▇█")


def colour(name, default):
    return default if name == "default" else NAMED.get(name, f"#{name}")


def cells(line, columns):
    """Of one line: its characters, each with where it is, its colours and its font."""
    for column in range(columns):
        cell = line[column]
        colours = colour(cell.fg, FOREGROUND), colour(cell.bg, BACKGROUND)
        if cell.reverse:
            colours = colours[::-1]
        decoration = "underline" if cell.underscore else "line-through" if cell.strikethrough else None
        yield column, cell.data, (*colours, cell.bold, decoration)


def draw_line(line, row, columns):
    """Runs of one look: the background, then the text. Signs of sparklines are drawn, as fonts disagree about them."""
    top = BAR + MARGIN + row * CELL_HEIGHT
    drawn = cells(line, columns)
    for (foreground, background, bold, decoration), run in itertools.groupby(drawn, key=lambda cell: cell[2]):
        run = list(run)
        left, width = MARGIN + run[0][0] * CELL_WIDTH, len(run) * CELL_WIDTH
        if background != BACKGROUND:
            yield f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{CELL_HEIGHT}" fill="{background}"/>'
        if decoration == "underline":
            yield f'<path d="M{left:.1f} {top + CELL_HEIGHT - 2.5}h{width:.1f}" stroke="{FRAME}" stroke-width="1.5"/>'
        for column, sign, _ in run:
            if sign in LEVELS:
                height = (LEVELS.index(sign) + 1) * (CELL_HEIGHT - 4) / len(LEVELS)
                yield (f'<rect x="{MARGIN + column * CELL_WIDTH:.1f}" y="{top + CELL_HEIGHT - 2 - height:.1f}" '
                       f'width="{CELL_WIDTH - 1}" height="{height:.1f}" fill="{foreground}"/>')
        style = ' font-weight="bold"' if bold else ""
        if decoration == "line-through":
            style += ' text-decoration="line-through"'
        # Word by word, so that each is in its column whatever the font.
        for is_drawn, word in itertools.groupby(run, key=lambda cell: cell[1] not in (" ", *LEVELS)):
            word = list(word)
            if is_drawn:
                yield (f'<text x="{MARGIN + word[0][0] * CELL_WIDTH:.1f}" y="{top + CELL_HEIGHT - 5}" '
                       f'fill="{foreground}"{style} textLength="{len(word) * CELL_WIDTH:.1f}" '
                       f'lengthAdjust="spacingAndGlyphs">{html.escape("".join(sign for _, sign, _ in word))}</text>')


def draw(screen, title):
    width = screen.columns * CELL_WIDTH + 2 * MARGIN
    height = screen.lines * CELL_HEIGHT + 2 * MARGIN + BAR
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
           f'height="{height}" font-family="ui-monospace, \'DejaVu Sans Mono\', Menlo, Consolas, monospace" '
           'font-size="13.95">')
    yield f'<rect width="{width:.0f}" height="{height}" rx="9" fill="{BACKGROUND}"/>'
    yield f'<path d="M0 {BAR}V9a9 9 0 0 1 9-9H{width - 9:.0f}a9 9 0 0 1 9 9V{BAR}z" fill="{FRAME}"/>'
    for number, fill in enumerate(["#ec6a5e", "#f4bf4f", "#61c554"]):
        yield f'<circle cx="{18 + number * 20}" cy="{BAR / 2}" r="6" fill="{fill}"/>'
    yield (f'<text x="{width / 2:.0f}" y="{BAR / 2 + 5}" fill="#9aa3b0" text-anchor="middle">'
           f'{html.escape(title)}</text>')
    for row in range(screen.lines):
        yield from draw_line(screen.buffer[row], row, screen.columns)
    yield "</svg>"


def run_shop(shop, is_over):
    """As a shop is: now and then there is more to do."""
    mood = random.Random(7)
    while not is_over.wait(mood.choice([0.02, 0.05, 0.1, 0.2, 0.5, 0.9])):
        for _ in range(mood.choice([1, 1, 1, 2, 6])):
            shop.change()


def main():
    treecache, port, file = sys.argv[1:]
    zk = KazooClient(f"127.0.0.1:{port}")
    zk.start()
    shop = Shop(zk)
    shop.fill()
    proxy = Proxy(int(port))
    is_over = threading.Event()
    business = threading.Thread(target=run_shop, args=(shop, is_over))
    terminal = Terminal([treecache, "top", f"127.0.0.1:{proxy.port}", "/shop"], columns=COLUMNS, rows=ROWS)
    business.start()
    terminal.look(SECONDS / 2)
    proxy.drop()
    terminal.look(1)
    proxy.restore()
    terminal.look(SECONDS / 2)
    terminal.press("jjjj")
    terminal.look(0.5)
    with open(file, "w", encoding="utf-8") as picture:
        for line in draw(terminal.screen, f"treecache top 127.0.0.1:{proxy.port} /shop"):
            picture.write(line + "\n")
    is_over.set()
    business.join()
    terminal.end()
    zk.stop()


if __name__ == "__main__":
    main()
