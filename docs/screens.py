"""Draws the screens of the documentation: runs the real program in a terminal, and writes what it shows as SVG.

python docs/screens.py        # writes docs/screens/*.svg
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pyte
from duomi.simulator import EXAMPLE_ID, Script, Simulator
from rich.console import Console
from rich.style import Style
from rich.text import Text

SCREENS = Path(__file__).with_name("screens")
COLUMNS = 84
HEX = re.compile("[0-9a-f]{6}")
COLOURS = {"brown": "yellow", "default": None}
# Like rich's own, without the fonts that it would load from a server.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "Noto Sans Mono CJK SC", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def shown(arguments: list[str], base_url: str, folder: str) -> list[Text]:
    """Run the command, and return the lines that its terminal shows at the end."""
    environment = os.environ | {"DUOMI_API_KEY": "sk-simulated", "DUOMI_BASE_URL": base_url, "TERM": "xterm-256color"}
    environment |= {"COLUMNS": str(COLUMNS), "LINES": "30", "NO_PROXY": "127.0.0.1"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "duomi", *arguments]
    process = subprocess.Popen(command, env=environment, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = pyte.Screen(COLUMNS, 30)
    stream = pyte.ByteStream(screen)
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65_536):
            stream.feed(piece)
    os.close(ours)
    process.wait()
    lines = [line(screen, number) for number in range(screen.lines)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def line(screen: pyte.Screen, number: int) -> Text:
    """Return one line of a terminal, with its colours."""
    text = Text()
    for column in range(screen.columns):
        cell = screen.buffer[number][column]
        colour = COLOURS[cell.fg] if cell.fg in COLOURS else f"#{cell.fg}" if HEX.fullmatch(cell.fg) else cell.fg
        text.append(cell.data, Style(color=colour, bold=cell.bold))
    text.rstrip()
    return text


def draw(name: str, arguments: list[str], base_url: str) -> None:
    """Write one screen."""
    with TemporaryDirectory() as folder:
        lines = shown(arguments, base_url, folder)
    command = Text.assemble(("$ ", "dim"), f"duomi {' '.join(arguments)}")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, legacy_windows=False)
        for each in (command, *lines):
            console.print(each, no_wrap=True, crop=True)
    console.save_svg(str(SCREENS / f"{name}.svg"), title="duomi", code_format=SVG, unique_id=f"duomi-{name}")


def main() -> None:
    """Draw all of them."""
    SCREENS.mkdir(exist_ok=True)
    tasks = {EXAMPLE_ID: Script(pending=0, running=()), "task_7c20": Script(pending=0, running=(), outcome="character")}
    with Simulator(tasks).serve(port=8017) as base_url:
        draw("demo", ["demo"], base_url)
        draw("get", ["get", EXAMPLE_ID], base_url)
        draw("check", ["check", "task_7c20"], base_url)


if __name__ == "__main__":
    main()
