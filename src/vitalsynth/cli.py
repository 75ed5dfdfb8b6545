"""The command line: one command is one plain function, imported only when it is called.

Exit codes: 0 well, 1 failed, 2 wrong use, 75 stopped and can be continued.
"""

from __future__ import annotations

import ast
import difflib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from .commands import COMMANDS, function, parted

SHELLS = ("bash", "zsh", "tcsh")


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(_help())
        return 0
    if first == "--version":
        from importlib.metadata import version

        print(f"vitalsynth {version('vitalsynth')}")
        return 0
    if first == "--completion":
        return _completion(arguments[1:])
    command, rest = parted(arguments)
    if inner := [each for each in COMMANDS if command not in COMMANDS and each.startswith(f"{first} ")]:
        wanted = rest and rest[0] not in ("-h", "--help")
        said = [f"no command {first + ' ' + rest[0]!r}"] if wanted else []
        print("\n".join([*said, f"usage: vitalsynth {first} COMMAND ...", "", *_rows(inner)]))
        return 2 if wanted else 0
    if command not in COMMANDS:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(COMMANDS)}"
        print(f"vitalsynth: no command {first!r}; {meant}", file=sys.stderr)
        return 2
    sys.path.insert(0, os.getcwd())  # the user's own networks and sources lie there
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch is there: on a busy machine more are far slower
    try:
        from .commands import interface

        called = function(command)
    except KeyboardInterrupt:  # it takes seconds to import all that a command needs
        print(f"vitalsynth {command}: interrupted before anything was begun", file=sys.stderr)
        return 130
    return interface.run(command, called, rest)


def _help() -> str:
    return "\n".join(
        [
            "usage: vitalsynth COMMAND ... (vitalsynth COMMAND --help tells more)",
            "",
            "Learn a generator from biomedical time series, write a synthetic cohort, and judge it.",
            "",
            *_rows(COMMANDS),
            "",
            "A first run, on data that come with the package:",
            "  vitalsynth train icu-demo --preset strong --condition died --out runs/first --steps 1000",
            "  vitalsynth sample runs/first --count 500 --out cohort.parquet",
            "  vitalsynth evaluate runs/first --label died && vitalsynth report runs/first",
            "",
            "  --version               print the version",
            f"  --completion {'|'.join(SHELLS)}  print a completion script; eval it in the shell's start-up file",
        ]
    )


def _rows(commands: Iterable[str]) -> list[str]:
    """Return a line a command."""
    width = max(map(len, commands := list(commands)))
    return [f"  {command:<{width}}  {_summary(command)}" for command in commands]


def _summary(command: str) -> str:
    """Return the first line of a command's docstring, without importing it."""
    module, name = COMMANDS[command].split(".")
    tree = ast.parse((Path(__file__).parent / "commands" / f"{module}.py").read_text("utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    paragraph = (ast.get_docstring(body) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).split(": ")[0].rstrip(".") + "."


def _completion(arguments: list[str]) -> int:
    shell = arguments[0] if arguments else ""
    if shell not in SHELLS:
        print(f"vitalsynth: --completion takes one of {', '.join(SHELLS)}, got {shell!r}", file=sys.stderr)
        return 2
    from .commands import interface

    print(interface.completion({command: function(command) for command in COMMANDS}, shell))
    return 0
