"""The picture of a terminal in the README: python docs/pictures/ask.py writes ask.svg beside it.

The commands are run in a pseudo-terminal, and what they print is drawn as it came.
"""

import io
import os
import pty
import re
import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COLUMNS, ROWS = 100, 40
COMMANDS = (
    'dokkai ask "Who built a lighthouse on the Eddystone rocks?" examples/lighthouse.txt',
    'dokkai ask "How high was the Pharos?" examples/lighthouse.txt',
    'dokkai ask "Who painted the ceiling of the chapel?" examples/lighthouse.txt',
)


def run(command: str) -> str:
    """What the command writes to a terminal."""
    os.environ |= {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
    written = io.BytesIO()

    def keep(descriptor: int) -> bytes:
        chunk = os.read(descriptor, 4096)
        written.write(chunk)
        return chunk

    pty.spawn(shlex.split(command), keep)
    return written.getvalue().decode().replace("\r\n", "\n")


def main() -> None:
    os.chdir(HERE.parent.parent)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for command in COMMANDS:
        console.print(Text(f"$ {command}", style="bold"))
        output = run(command).split("\r")[-1]  # a progress line that was overwritten
        console.print(Text.from_ansi(output.rstrip()), end="\n\n")
    svg = console.export_svg(title="dokkai ask")
    svg = re.sub(r" *@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)  # no fonts from elsewhere
    (HERE / "ask.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
