"""Runs what the documentation shows: its shell blocks and its Python blocks, at a tiny size.

A page is run in a folder of its own, from top to bottom. `vitalsynth` is called in this process. What makes it small:
whatever is counted in training steps is divided by 250, cohorts and shadow models are few, networks narrow, and a
source gives at most 200 sequences. A training that was done before, on whichever page, is copied, and a run is not
looked at twice in the same way. Of a sweep the product checks everything, and makes it; the first of a page is worked
on, two trials of it.

A line that needs what is not here (`needs`) is only taken apart by the real parser, so that no command, option, part or
preset in it can be wrong; what would have come of it is not there, so neither are lines that use it run. A run or table
that a page takes for granted is put there first: the run of the first steps, and its data.
"""

import inspect
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pandas as pd

from vitalsynth import cli, presets, sources
from vitalsynth.commands import COMMANDS, function, interface, parted
from vitalsynth.sequences import Sequences
from vitalsynth.sources import read as read_all

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
STEPS = {"steps", "at", "checkpoint_every", "keep_every", "similarity.every", "clone_steps", "gradients"}
FEW = {
    "count": 20,
    "batch": 16,
    "shadows": 2,
    "frames": 3,
    "trials": 2,
    "most": 40,
    "generator.hidden": 16,
    "privacy.length": 25,
}
MADE = {"out", "picture", "report", "folder"}
GIVEN = {
    "train": {"steps": "4000", "checkpoint_every": "1000", "similarity.count": "20", "batch": "16"},
    "board": {"no_serve": None},
    "watch": {"every": "0.2s"},
    "evaluate": {"metrics": "two_sample,coverage,copying"},
    "check": {"steps": "1"},
    "report": {"count": "100"},
}
FIRST = "train icu-demo --preset strong --condition died --steps 1000 --batch 32 --checkpoint_every 250"
LAUNCHERS = {"srun", "torchrun"}
"""Programs that start others, on a cluster or several devices."""
LOOKS = {"report", "check", "board", "attack", "data", "evolution"}
LOOKED: set[tuple[str, ...]] = set()
"""Commands that only look at a run or data, and what they were asked before, which is not asked again."""
READ: dict[tuple, Sequences] = {}
"""Sources that were read before."""
ELSEWHERE = {"git", "source", "cd", "export", "chmod", "rclone"}
"""Programs that need a network or the reader's own shell."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, the line where it begins and the text before it."""

    language: str
    text: str
    line: int
    before: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text("utf-8")
    found = []
    for fence in FENCE.finditer(text):
        inner = re.sub(f"^{fence[1]}", "", fence[3], flags=re.MULTILINE)
        before = text[: fence.start()].rstrip().rpartition("\n\n")[2]
        found.append(Block(fence[2], inner, text.count("\n", 0, fence.start()) + 1, before))
    return found


def lines(text: str) -> Iterator[list[str]]:
    """Yield the commands of a shell block, each as words."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def few(name: str, **settings):
    """Read at most 200 sequences of a source, spread over all of them."""
    key = (name, *sorted(settings.items()))
    if key not in READ:
        sequences = read_all(name, **settings)
        sequences = sequences.take(slice(None, None, math.ceil(len(sequences) / 200)))
        if name.replace("-", "_") not in sources.__all__ or set(settings) & set(sources.PLACES):
            return sequences  # of a file, which the next page has under the same name
        READ[key] = sequences
    return READ[key]


@dataclass
class Reader:
    """Somebody who types what a page says, in a folder of their own."""

    page: Path
    trained: dict[tuple[str, ...], Path]
    kept: Path
    absent: set[str] = field(default_factory=set)
    swept: bool = False
    wrong: list[str] = field(default_factory=list)

    def shell(self, block: Block) -> None:
        """Run a shell block."""
        for words in lines(block.text):
            before = dict(os.environ)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                name, _, value = words.pop(0).partition("=")
                os.environ[name] = value
            try:
                self.command(words)
            except Exception as error:
                self.wrong.append(f"block of line {block.line}: {shlex.join(words)}: {error}")
            finally:
                os.environ.clear()
                os.environ.update(before)
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                os.environ[name] = value

    def command(self, words: list[str]) -> None:
        """Run a line, or see at least that it could be."""
        program, *rest = words
        if program == "vitalsynth" or (program in LAUNCHERS and "vitalsynth" in words):
            arguments = words[words.index("vitalsynth") + 1 :]
            if program == "vitalsynth" and not self.needs(arguments):
                self.run(arguments)
            else:
                self.parse(arguments)
                self.absent |= {value for name, value in options(arguments) if name in MADE}
        elif program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert set(rest) <= set(targets), "make has no such target"
        elif program == "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
            asked = re.findall(r"\[([\w,]+)\]", " ".join(rest))
            assert {extra for group in asked for extra in group.split(",")} <= set(extras), "there is no such extra"
        elif program == "python" and rest[0].startswith("benchmarks/"):
            assert (ROOT / rest[0]).exists(), "there is no such script"
        elif program == "python" and not self.lost(rest[0]):
            subprocess.run([sys.executable, *small(rest)], check=True, capture_output=True)
        elif program in ("cmp", "cat", "ls"):
            subprocess.run(words, check=True, capture_output=True)
        else:
            assert program in ELSEWHERE | {"python"}, "the tests do not know this program"

    def needs(self, words: list[str]) -> str:
        """Say what a line needs that is not here, if anything."""
        command, rest = parted(words)
        asked = dict(options(words))
        plain = [value for name, value in options(rest) if not name]
        if any(re.fullmatch(r"[A-Z]+", word) for word in plain):
            return "something of the reader's"
        if command in ("theory", "export", "notebook run"):
            return "minutes, which their own tests take"
        if command in ("submit", "jobs", "sweep dashboard", "sweep work", "notebook serve") or {
            "follow",
            "go_on",
        } & set(asked):
            return "a scheduler, or somebody who ends it"
        if command.startswith("review ") or asked.get("score") == "people":
            return "people who answer"
        if any(
            re.match(r"/(?!tmp)|[\w.+-]*@?[\w.-]+:(?!\d)|\w+://", word)
            for word in [*plain, asked.get("storage", ""), asked.get("out", "")]
        ):
            return "another machine"
        if {"mail", "try_mail"} & set(asked) or asked.get("to", "tensorboard") != "tensorboard":
            return "a server"
        if asked.get("device", "auto").startswith("cuda") or int(asked.get("devices", 1)) > 1 or "gpu_memory" in asked:
            return "a GPU"
        if any(self.lost(word) for word in [*plain, *asked.values()]):
            return "what came of such a line"
        if command in ("data", "train") and plain and "folder" in parameters(plain[0]):
            return "data that must be asked for"
        return ""

    def lost(self, word: str) -> bool:
        """Whether a word names something that a line would have made which was not run."""
        return any(word == path or word.startswith(f"{path}/") for path in self.absent)

    def parse(self, words: list[str]) -> None:
        """Take a line apart as the program does, and the line that it may hold."""
        command, rest = parted(words)
        assert command in COMMANDS, f"no command {command}"
        named = self.page.stem if f"{self.page.stem}" in sources.names() else "icu-demo"
        rest = [named if word == "FOLDER" else word for word in rest]
        rest = [single(word) for word in rest] if command == "sweep" else rest
        for settings in interface.parsed(command, function(command), rest):
            if inner := settings.get("command"):
                assert isinstance(inner, list)
                self.parse(inner)

    def run(self, words: list[str]) -> None:
        """Run a line in this process, small."""
        command, rest = parted(words)
        rest = self.fewer(rest) if command == "sweep" else small(self.given(command, rest))
        self.provide(rest)
        key = tuple(sorted(word for word in rest if word != dict(options(rest)).get("out")))
        if command == "train" and key in self.trained and self.reusable(rest):
            shutil.copytree(self.trained[key], dict(options(rest))["out"])
            return
        if command in LOOKS and (command, *rest) in LOOKED:
            return
        whole = any(word.startswith("sweeps/") for word in rest)  # a sweep's trials are processes of their own
        with mock.patch.object(sources, "read", read_all if whole else sources.read):
            code = cli.main([*command.split(), *rest])
        LOOKED.add((command, *rest))
        accepted = {"release": (0, 2), "check": (0, 1)}.get(command, (0,))
        assert code in accepted, f"exit code {code}"
        if command == "train" and self.reusable(rest):
            self.trained[key] = self.kept / str(len(self.trained))
            shutil.copytree(dict(options(rest))["out"], self.trained[key])

    def reusable(self, words: list[str]) -> bool:
        """Whether a training depends on nothing in this folder."""
        return words[0].replace("-", "_") in sources.__all__ and not any("my_" in word for word in words)

    def given(self, command: str, words: list[str]) -> list[str]:
        """Add what makes a command small that says nothing of it."""
        asked = dict(options(words))
        more = {name: value for name, value in GIVEN.get(command, {}).items() if name not in asked}
        if command == "train" and not {"generator", "config"} & set(asked) and "," not in asked.get("preset", ""):
            generator = presets.preset(asked["preset"])["generator"].keywords if "preset" in asked else {"hidden": 100}
            more |= {f"generator.{size}": "16" for size in ("hidden", "head") if size in generator}
        return [*words, *(word for name, value in more.items() for word in (f"--{name}", value) if word is not None)]

    def fewer(self, words: list[str]) -> list[str]:
        """Leave of the first sweep of a page two trials, and of others none."""
        first, self.swept = not self.swept, True
        if not first:
            return ["--at_most", "0", *small(words)]
        inner = words.index("train") if "train" in words else 0  # what is before is of the sweep itself
        cut = words[:inner]
        for word in words[inner:]:
            left = 1 if "," in word or ".." in word else 0
            seen = any("," in each for each in cut[inner:])
            word = (
                ",".join(word.split(",")[: 1 if seen else 2]) if left and "," in word else re.sub(r"\.\.\d+$", "", word)
            )
            cut.append(word)
        return small(self.given("train", cut) if "train" in cut else cut)

    def provide(self, words: list[str]) -> None:
        """Put runs and tables there that the page takes for granted."""
        made = {value for name, value in options(words) if name in MADE}
        for word in words:
            if re.fullmatch(r"runs/[\w-]+", word) and word not in made and not Path(word).exists():
                self.first(word)
            elif word == "runs/*" and not Path("runs").exists():
                self.first("runs/icu")
            elif re.fullmatch(r"[\w-]+\.(csv|parquet)", word) and word not in made and not Path(word).exists():
                table(Path(word), dict(options(words)))

    def first(self, place: str) -> None:
        """Put the run of the first steps somewhere."""
        self.run([*shlex.split(FIRST), "--out", place])

    def python(self, block: Block, names: dict) -> None:
        """Run a Python block, or write it to the file that the text before it names."""
        if found := re.search(r"[Ii]n `(\w+\.py)`:$", block.before):
            Path(found[1]).write_text(block.text, "utf-8")
            return
        for word in re.findall(r'(?<!out=)(?<!save\()"([^"\n]+)"', block.text):
            self.provide([word])
        text = re.sub(r"\b(steps)=(\d+)", lambda found: f"{found[1]}={math.ceil(int(found[2]) / 250)}", block.text)
        text = text.replace('vitalsynth.sweep(["', 'vitalsynth.sweep(at_most=0, command=["')
        try:
            exec(compile(text, f"{self.page.name}:{block.line}", "exec"), names)
        except Exception as error:
            self.wrong.append(f"block of line {block.line}: {type(error).__name__}: {error}")


def parameters(data: str) -> set[str]:
    """Return what the source of some data can be told, apart from the data's own path."""
    try:
        return set(inspect.signature(sources.find(data)).parameters)
    except ValueError:
        return set()


def options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield options with their values, those without with an empty one, and plain words, which have no name."""
    words = [*words]
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            yield "", word
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else ""
        yield name.replace("-", "_"), value


def single(word: str) -> str:
    """Return the first of several values that a sweep is given in one word."""
    return re.sub(r"^\{(.*)\}$", r"\1", re.sub(r"^(?:log:|linear:)?([^.,{/]+?)(\.\.|,).*", r"\1", word))


def small(words: list[str]) -> list[str]:
    """Make the numbers of a command line small."""
    cut, name = [], ""
    for word in words:
        if name in STEPS and word.isdigit():
            word = str(min(math.ceil(int(word) / 250), 20))
        elif name in FEW and word.isdigit():
            word = str(min(int(word), FEW[name]))
        cut.append(word)
        name = word.removeprefix("--").replace("-", "_") if word.startswith("--") else ""
    return cut


def table(path: Path, asked: dict[str, str]) -> None:
    """Write the demo's stays as somebody's own table, with the columns that a command line names."""
    stays = few("icu-demo")
    whole = path.with_name("whole.parquet")
    with sources.writer(whole, stays.schema) as out:
        out.write(stays)
    frame = pd.read_parquet(whole)
    whole.unlink()
    renamed = {name: asked[f"source.{name}"] for name in ("id", "time") if f"source.{name}" in asked}
    frame = frame.rename(columns=renamed)
    if subject := asked.get("source.subject"):
        frame[subject] = frame[renamed.get("id", "id")]
    if "source.length" in asked:  # a single long series
        frame = frame[["hr", "resp"]].ffill().dropna()
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)
