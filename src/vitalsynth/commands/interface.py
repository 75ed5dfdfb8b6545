"""From a command's function to its command line: jsonargparse reads the signature and the docstring.

Every mistake of the user ends in one line that says what is wrong and names the nearest right word. With
VITALSYNTH_DEBUG set, an error shows where it arose.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import docstring_parser
import jsonargparse
import yaml

from .. import components, presets, runs, sources
from ..monitoring.findings import Finding
from ..sequences import Sequences, nearest, one_line
from ..training import Diverged
from . import Pairs
from .branch import branch, inherited
from .notebook_run import NotebookFailed
from .sync import NotSynced
from .train import Stopped

Function = Callable[..., Any]
PLAIN = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
"""What Python's types are called."""


def run(command: str, function: Function, arguments: list[str]) -> int:
    """Run a command with its arguments; return the exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s".lower(), stream=sys.stderr)
    say = partial(print, file=sys.stderr)
    found = False
    try:
        for settings in parsed(command, function, arguments):
            result = function(**settings)
            _announce(result)
            found = found or (isinstance(result, list) and any(isinstance(each, Finding) for each in result))
    except (ValueError, OSError) as error:
        if os.environ.get("VITALSYNTH_DEBUG"):
            raise
        say(f"vitalsynth {command}: {one_line(error)}")
        return 2
    except (Diverged, NotSynced, NotebookFailed) as error:
        say(f"vitalsynth {command}: {one_line(error)}")
        return 1
    except Stopped as error:
        say(f"vitalsynth {command}: {one_line(error)}")
        return 75
    except KeyboardInterrupt:
        say(f"vitalsynth {command}: interrupted")
        return 130
    except Exception as error:  # a mistake of ours, or a run made to fail
        if os.environ.get("VITALSYNTH_DEBUG"):
            raise
        say(f"vitalsynth {command}: {type(error).__name__}: {one_line(error)} (VITALSYNTH_DEBUG=1 shows where)")
        return 1
    return int(found)


def parsed(command: str, function: Function, arguments: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the settings with which a command line calls a function; a branch is called run by run.

    Raises:
        ValueError: if it cannot be called so, in one line.
    """
    arguments, other = _without_other([_underscored(word) for word in arguments], function, arguments)
    arguments = _words_first(function, _with_preset(arguments))
    if config := _words(function, arguments)[1].get("config"):
        _config(config)
    for fixed, defaults in _invocations(function, arguments):
        parser = build(f"vitalsynth {command}", function, _source(function, arguments))
        parser.set_defaults(defaults)
        try:
            settings = parser.instantiate(parser.parse_args(arguments)).as_dict() | fixed | other
        except jsonargparse.ArgumentError as error:
            raise ValueError(explain(error.message, parser, function, arguments)) from None
        for name in ("config", "preset"):
            settings.pop(name, None)
        yield settings


def _without_other(
    arguments: list[str], function: Function, as_typed: list[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Part off another command, whose words are its own, if the function takes one; its name stays to be seen."""
    if "command" not in inspect.signature(function).parameters:
        return arguments, {}
    first = next((k for k in range(len(arguments)) if _words(function, arguments[: k + 1])[0]), len(arguments))
    return arguments[: first + 1], {"command": as_typed[first:]}


def _underscored(word: str) -> str:
    """Take --dry-run for --dry_run."""
    option, equals, value = word.partition("=")
    return option.replace("-", "_").replace("__", "--", 1) + equals + value if word.startswith("--") else word


def _words_first(function: Function, arguments: list[str]) -> list[str]:
    """Put plain words before options, so that options may stand between them."""
    words, options = list[str](), list[str]()
    for first, last in _spans(function, arguments):
        (options if arguments[first].startswith("-") else words).extend(arguments[first:last])
    return words + options


def _with_preset(arguments: list[str]) -> list[str]:
    """Take --preset NAME for a config file that comes first, so that whatever else is said wins.

    Raises:
        ValueError: if there is no such preset.
    """
    for place, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option == "--preset":
            name = value if equals else "".join(arguments[place + 1 : place + 2])
            rest = arguments[:place] + arguments[place + (1 if equals else 2) :]
            return ["--config", str(presets.path(name)), *rest]
    return arguments


def _invocations(function: Function, arguments: list[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield settings that are fixed, and defaults: of a branch, run by run, the settings of its parent."""
    plain, options = _words(function, arguments)
    if function is not branch or not plain:
        yield {}, {}
        return
    found = runs.find(plain)
    runs.destinations(options.get("out", ""), found)
    for run in found:
        at = options.get("at", "")
        yield {"run": [str(run.path)]}, inherited(run, int(at) if at.isdigit() else None, options.get("data", ""))


def build(title: str, function: Function, source: Function | None = None) -> jsonargparse.ArgumentParser:
    """Return the parser of a command; with a source, its settings are taken as --source.NAME."""
    about = _documentation(function)
    parser = jsonargparse.ArgumentParser(
        prog=title, description=_summary(function), exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="Read settings from a YAML or JSON file.")
    if "normalise" in inspect.signature(function).parameters:
        known = ". ".join(f"{name}: {what}" for name, what in presets.names().items())
        parser.add_argument("--preset", metavar="NAME", help=f"Begin with settings that are good together. {known}.")
    hints = inspect.get_annotations(function, eval_str=True)
    own = {name for name, text in about.items() if text.startswith("From Python only")} | {"source"}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            optional = parameter.default is not parameter.empty
            many = hints[name] in (list[str], str | list[str], Sequence[str])
            count = ("*" if optional else "+") if many else "?" if optional else None
            default = {"default": parameter.default} if optional else {}
            parser.add_argument(name, nargs=count, type=str, help=about[name], **default)  # type: ignore[arg-type]
            own.add(name)
        elif parameter.default is False:
            parser.add_argument(f"--{name}", action="store_true", help=about[name])
            own.add(name)
        elif hints[name] == Pairs:
            words = {"metavar": "NAME=VALUE", "default": list[str](), "type": str}
            parser.add_argument(f"-{name[0]}", f"--{name}", action="append", help=about[name], **words)
            own.add(name)
        elif hints[name] == str | Sequences:  # sequences can only be given from Python
            parser.add_argument(f"--{name}", type=str, help=about[name], default=parameter.default)
            own.add(name)
    parser.add_function_arguments(function, skip=set(own & set(about)), fail_untyped=False)  # type: ignore[arg-type]
    for name, parameter in inspect.signature(function).parameters.items():
        if isinstance(
            parameter.default, partial
        ):  # written out, so that --print_config can write it and a user change it
            record = {"class_path": components.path_of(parameter.default), "init_args": parameter.default.keywords}
            parser.set_defaults({name: record})
    for action in parser._actions:  # what a part is given by us is no setting, also where several parts can be given
        if action.dest.endswith(".help"):
            action._typehint = next(_factories(action._typehint), action._typehint)  # type: ignore[attr-defined]
    if source is not None:
        parser.add_function_arguments(source, "source", fail_untyped=False)
    return parser


def _documentation(function: Function) -> dict[str, str]:
    """Return the documentation of each parameter."""
    documented = docstring_parser.parse(inspect.getdoc(function) or "").params
    return {each.arg_name: " ".join((each.description or "").split()) for each in documented}


def _summary(function: Function) -> str:
    """Return a docstring up to its Args."""
    return (inspect.getdoc(function) or "").split("\n\nArgs:")[0]


def completion(functions: Mapping[str, Function], shell: str) -> str:
    """Return a completion script for all commands."""
    import shtab

    parser = jsonargparse.ArgumentParser(prog="vitalsynth")
    commands = parser.add_subcommands(required=False)
    for first in dict.fromkeys(command.split()[0] for command in functions):
        title = f"vitalsynth {first}"
        own = build(title, functions[first]) if first in functions else jsonargparse.ArgumentParser(prog=title)
        commands.add_subcommand(first, own)
        if more := [command for command in functions if command.startswith(f"{first} ")]:
            own._actions = [action for action in own._actions if action.option_strings]  # a second word comes instead
            inner = own.add_subcommands(required=False)
            for command in more:
                inner.add_subcommand(command.split()[1], build(f"vitalsynth {command}", functions[command]))
    return shtab.complete(parser, shell)  # type: ignore[arg-type]


def explain(message: str, parser: jsonargparse.ArgumentParser, function: Function, arguments: list[str]) -> str:
    """Turn a parser's message into one line that names the nearest right word."""
    options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    if found := re.search(r"[Uu]nrecognized arguments: (\S+)", message):
        word = found[1].partition("=")[0]
        if word == "--source.help":
            named = "".join(_words(function, arguments)[0][:1]) or "SOURCE"
            return f"no option {word}; '{parser.prog} {named} --help' lists the settings of a source, --source.NAME"
        return f"no option {word}; {nearest(word, options)}" if word.startswith("-") else f"one word too many: {word!r}"
    key = found[1] if (found := re.search(r"Parser key \"([\w.]+)\"", message)) else ""
    if found := re.search(r"arguments are required: ([\w., ]+?)(?:\.? Got value|$)", one_line(message)):
        inner = [f"--{key}.{name}" for name in found[1].split(", ")]
        outer = [f"--{name}" if f"--{name}" in options else name.upper() for name in found[1].split(", ")]
        advice = f"'{parser.prog} --help' tells more"
        return (
            f"--{key} {_given(key, arguments)} needs {', '.join(inner)}"
            if key
            else f"needs {', '.join(outer)}; {advice}"
        )
    if not key and (found := re.search(r"Option '([\w.]+)' is not accepted", message)):
        settings = [option.removeprefix("--") for option in options]
        return f"no setting {found[1]!r}; {nearest(found[1], settings)}"
    bases = _bases(function, key)
    classes = {name: cls for base in bases for name, cls in components.members(base).items()}
    if not classes:
        if found := re.search(r"NestedArg\(key='([\w.]+)'", message):
            return f"no option --{key}.{found[1]}; --{key} takes a value and has no settings"
        return f"--{key}: {_expectation(message)}" if key else one_line(message)
    if re.search(r"Expected a <class 'collections\.abc\.Sequence'>", message):
        return (
            f"--{key} takes any number, one after the other: --{key}+ {_given(key, arguments) or next(iter(classes))}"
        )
    chosen = _chosen(message, key, arguments)
    try:
        cls = components.locate(chosen) if "." in chosen else classes.get(chosen)
    except ValueError as error:
        return f"--{key}: {error}"
    if chosen and cls is None:
        return f"--{key}: no class {chosen!r}; {nearest(chosen, classes)}"
    if cls is not None and not issubclass(cls, tuple(bases)):
        return f"--{key}: {chosen} is not a {bases[0].__name__}; there are: {', '.join(classes)}"
    if cls is None or cls in bases:
        return f"--{key} needs a class before its settings; there are: {', '.join(classes)}"
    if found := re.search(r"Option '(\w+)' is not accepted", message):
        given = next(
            len(get_args(each)[0]) for each in _factories(inspect.get_annotations(function, eval_str=True)[key])
        )
        settings = list(inspect.signature(cls).parameters)[given:]
        return f"--{key} {cls.__name__} has no setting {found[1]!r}; {nearest(found[1], settings)}"
    return f"--{key} {cls.__name__}: {_expectation(message)}"


def _expectation(message: str) -> str:
    """Return the part of a parser's message that says what was expected."""
    text = re.sub(r"<class '(\w+)'>", r"\1", one_line(message))
    text = re.sub(r"typing\.Literal\[(.+?)\]", r"one of \1", text)
    if found := re.search(r"Errors:((?: - Expected an? [^-]+?)+) Given value type: \w+ Given value: (\S+)", text):
        kinds = re.findall(r"Expected an? (?:one of )?(.+?)(?= - |$)", found[1])
        return f"must be {' or '.join(PLAIN.get(each) or each for each in kinds)}, got {found[2].rstrip('.')}"
    if found := re.search(r"Expected an? (.+?)\. Got value: (\S+)", text):
        return f"must be {PLAIN.get(found[1], found[1])}, got {found[2].rstrip('.')}"
    return text.partition(": ")[2] or text


def _chosen(message: str, key: str, arguments: list[str]) -> str:
    """Return the class that a message is about, or the last one that the command line gives the option."""
    found = re.search(r"dot import path string: ([\w.]*\w)|class_path='([\w.]+)'", message)
    return found[1] or found[2] if found else _given(key, arguments)


def _given(key: str, arguments: list[str]) -> str:
    """Return the last value that the command line gives an option, or adds to it (`--key+`)."""
    following = [after for option, after in pairwise(arguments) if option in (f"--{key}", f"--{key}+")]
    joined = [a.partition("=")[2] for a in arguments if a.startswith((f"--{key}=", f"--{key}+="))]
    return ["", *following, *joined][-1]


def _bases(function: Function, key: str) -> list[type[Any]]:
    """Return the base classes of what an option can name."""
    results = [get_args(each)[-1] for each in _factories(inspect.get_annotations(function, eval_str=True).get(key))]
    return [result for result in results if inspect.isclass(result)]


def _factories(hint: Any) -> Iterator[Any]:
    """Yield the types of factories, `Callable[..., Part]`, that a type consists of."""
    if get_origin(hint) is Callable:
        yield hint
    else:
        for part in get_args(hint):
            yield from _factories(part)


def _source(function: Function, arguments: list[str]) -> Function | None:
    """Find the source that the command line or its config file names, whose settings become options."""
    parameters = inspect.signature(function).parameters
    if "source" not in parameters:
        return None
    plain, options = _words(function, arguments)
    positional = parameters["data"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = (plain[0] if plain else "") if positional else options.get("data", "")
    if not named and "config" in options:
        named = _config(options["config"]).get("data", "")
    return None if not named or Path(named, "run.json").exists() else sources.find(named)


def _words(function: Function, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Part a command line into plain words and options with their values."""
    found = [(name, value) for name, value in pairs(function, arguments) if value is not None]
    return [value for name, value in found if not name], {name: value for name, value in found if name}


def pairs(function: Function, arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield options with their values, flags without, and plain words, which have no name."""
    hints = inspect.get_annotations(function, eval_str=True)
    short = {f"-{name[0]}": name for name, hint in hints.items() if hint == Pairs}
    for first, last in _spans(function, arguments):
        word = _underscored(arguments[first])
        name, equals, value = short.get(word, word.removeprefix("--")).partition("=")
        if not word.startswith("-"):
            yield "", word
        elif equals:
            yield name, value
        else:
            yield name, "".join(arguments[first + 1 : last]) if _valued(function, word) else None


def _spans(function: Function, arguments: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where each plain word, flag, and option with its value begins and ends."""
    first = 0
    while first < len(arguments):
        last = first + 1 + _valued(function, _underscored(arguments[first]))
        yield first, last
        first = last


def _valued(function: Function, word: str) -> bool:
    """Say whether a word is an option whose value is the next word."""
    flags = {f"--{p.name}" for p in inspect.signature(function).parameters.values() if p.default is False}
    return word.startswith("-") and "=" not in word and word not in {*flags, "--help", "-h", "--print_config"}


def _config(path: str) -> dict[str, Any]:
    """Read a config file, so far as to know which source it names.

    Raises:
        ValueError: if it is no YAML or JSON of settings.
    """
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no settings; it should look like what --print_config writes")
    return content


def _announce(result: Any) -> None:
    from ..runs import Run

    for each in result if isinstance(result, list) else [result]:
        if isinstance(each, Run | Path):
            print(each.path if isinstance(each, Run) else each)
