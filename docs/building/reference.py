"""The reference, from signatures and docstrings: what the command line and Python read is what the page says."""

import inspect
import re
from typing import Literal, get_args, get_origin

import docstring_parser

import vitalsynth
from vitalsynth import components, methods, objectives, presets, schedules, sources
from vitalsynth.commands import COMMANDS, function, interface

FAMILIES = {
    "Generators": ("--generator", vitalsynth.Generator),
    "Discriminators": ("--discriminator", vitalsynth.Discriminator),
    "Objectives": ("--objective", objectives.Objective),
    "Methods": ("--method", methods.Method),
    "Stabilisers": ("--stabilisers+", vitalsynth.Stabiliser),
    "Schedules": ("--generator_schedule", schedules.Schedule),
}


def commands():
    """Return the page of commands: from the parsers that make `--help` and read the command line."""
    pages = [
        "# Commands\n\nWhat `vitalsynth COMMAND --help` says. `-` and `_` in options are the same. Every command is "
        "also a function with the same arguments: `vitalsynth.train(...)`. Exit codes: 0 well, 1 failed or something "
        "found, 2 wrong use, 75 stopped and can be continued. Options whose value is a part "
        "(`--generator`) and their own "
        "settings (`--generator.hidden`) are on [the page of parts](parts.md)."
    ]
    for command in COMMANDS:
        parser = interface.build(f"vitalsynth {command}", function(command))
        actions = [each for each in parser._actions if each.help and not each.dest.endswith("help")]
        options = "\n\n".join(
            option(each) for each in actions if each.dest not in ("config", "print_config", "similarity")
        )
        pages.append(f"## {command}\n\n{prose(parser.description or '')}\n\n{options}")
    return "\n\n".join(pages) + "\n"


def option(action):
    """Return an option of a parser, with what it takes and what it is if not given."""
    name = next((each for each in action.option_strings if each.startswith("--")), action.dest)
    hint = getattr(action, "_typehint", None)
    takes = (
        " | ".join(map(str, get_args(hint)))
        if get_origin(hint) is Literal
        else hint.__name__
        if hint in (int, float)
        else ""
    )
    default = action.default
    if isinstance(default, dict) and "class_path" in default:
        default = default["class_path"].rpartition(".")[2]
    told = [f"`{takes}`"] * bool(takes)
    if getattr(action, "required", False):
        told.append("must be given" if action.option_strings else "")
    elif default not in (None, "", False, (), [], "==SUPPRESS=="):
        told.append(f"`{default}` if not given")
    about = " ".join(action.help.split())
    if action.dest == "preset":
        return "`--preset`\n:   Begin with settings that are good together: [presets](parts.md#presets)."
    notes = f" *({', '.join(filter(None, told))})*" if any(told) else ""
    return f"`{name}`\n:   {prose(about)}{notes}"


def parts():
    """Return the page of parts that are chosen by name, and of presets and sources."""
    pages = [
        "# Parts and presets\n\nA part is chosen by its name, and its settings follow: `--generator GRU "
        "--generator.hidden 64`. Your own is chosen by where Python finds it: `--generator my_nets.Wave` "
        "([how](../extend.md)).",
        "## Presets\n\n`--preset NAME` begins with these settings; what follows on the command line wins.",
    ]
    for name, about in presets.names().items():
        body = presets.path(name).read_text("utf-8").partition("\n")[2].strip()
        pages.append(f"### {name}\n\n{prose(about)}\n\n```yaml\n{body}\n```")
    for title, (flag, base) in FAMILIES.items():
        pages.append(f"## {title}\n\n`{flag} NAME`")
        for name, cls in sorted(components.members(base).items()):
            if ".games." in cls.__module__:  # players of games with known answers, which only `theory` plays
                continue
            pages.append(f"### {name}\n\n{summary(cls)}\n\n{settings(cls.__init__, flag.removesuffix('+'))}")
    pages.append("## Sources\n\n`vitalsynth train NAME`, settings as `--source.NAME VALUE`.")
    for name in sources.names():
        source = sources.find(name)
        pages.append(f"### {name}\n\n{summary(source)}\n\n{settings(source, '--source')}")
    return "\n\n".join(pages) + "\n"


def python():
    """Return the page of public names."""
    pages = ["# Python\n\nEverything below is imported from `vitalsynth`. Commands are functions of the same names."]
    names = sorted(vitalsynth.__all__, key=lambda name: (not name[0].isupper(), name.lower()))
    classes = [name for name in names if inspect.isclass(getattr(vitalsynth, name))]
    pages.append("## Classes")
    for name in classes:
        pages.append(f"### {name}\n\n{documented(name, getattr(vitalsynth, name))}")
        for method, member in public(getattr(vitalsynth, name)):
            pages.append(f"#### {name}.{method}\n\n{documented(method, member)}")
    pages.append("## Functions")
    functions = [name for name in names if name not in classes]
    pages += [f"### {name}\n\n{documented(name, getattr(vitalsynth, name))}" for name in functions]
    return "\n\n".join(pages) + "\n"


def public(cls):
    """Yield the documented methods and properties that a class defines itself."""
    for name, member in vars(cls).items():
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if not name.startswith("_") and (inspect.isfunction(inner) or isinstance(inner, property)) and inner.__doc__:
            yield name, inner


def documented(name, thing):
    """Return a signature, what the docstring says, arguments, result and errors."""
    parsed = docstring_parser.parse(inspect.getdoc(thing) or "")
    parsed_init = docstring_parser.parse(inspect.getdoc(thing.__init__) or "") if inspect.isclass(thing) else parsed
    arguments = parsed.params or parsed_init.params
    blocks = [] if isinstance(thing, property) else [f"```text\n{signature(name, thing)}\n```"]
    blocks += [prose(parsed.short_description or ""), prose(parsed.long_description or "")]
    blocks += [f"`{each.arg_name}`\n:   {prose(each.description or '')}" for each in arguments]
    if parsed.returns and parsed.returns.description:
        blocks.append(f"**Returns** {prose(parsed.returns.description)}")
    blocks += [f"**Raises** `{each.type_name}` {prose(each.description or '')}" for each in parsed.raises]
    return "\n\n".join(filter(None, blocks))


def signature(name, thing):
    """Return a signature, an argument a line if it is long; without types, which the text says."""
    try:
        found = inspect.signature(thing)
    except ValueError:
        return name
    kinds = inspect.Parameter
    words = []
    for each in found.parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is kinds.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        star = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(each.kind, "")
        words.append(star + each.name + ("" if each.default is each.empty else f"={shown(each.default)}"))
    line = f"{name}({', '.join(words)})"
    return line if len(line) < 88 else f"{name}(\n    " + ",\n    ".join(words) + ",\n)"


def shown(default):
    """Return a default as one would write it."""
    inner = getattr(default, "func", default)
    if inspect.isclass(inner) or inspect.isfunction(inner):
        keywords = ", ".join(f"{key}={value!r}" for key, value in getattr(default, "keywords", {}).items())
        return f"{inner.__name__}({keywords})" if keywords else inner.__name__
    return re.sub(r"\w+\.(?=[A-Z])", "", repr(default))


def summary(thing):
    """Return what a docstring says before its arguments."""
    parsed = docstring_parser.parse(inspect.getdoc(thing) or "")
    return "\n\n".join(filter(None, (prose(parsed.short_description or ""), prose(parsed.long_description or ""))))


def settings(function_, flag):
    """Return the documented parameters of a part as options."""
    defaults = inspect.signature(function_).parameters
    rows = []
    for each in docstring_parser.parse(inspect.getdoc(function_) or "").params:
        default = defaults[each.arg_name].default if each.arg_name in defaults else inspect.Parameter.empty
        told = "" if default in (inspect.Parameter.empty, None, "", False) else f" *(`{shown(default)}` if not given)*"
        rows.append(f"`{flag}.{each.arg_name}`\n:   {prose(' '.join((each.description or '').split()))}{told}")
    return "\n\n".join(rows)


def prose(text):
    """Return a docstring's text as Markdown: options become code, and what is not code means what it says."""
    text = re.sub(r"(`[^`]*`)|(?<![\w'\"-])(--\w[\w.+]*)", lambda found: found[1] or f"`{found[2]}`", text)
    return "".join(
        part if k % 2 else re.sub(r"([*_\[])", r"\\\1", part).replace("<", "&lt;")
        for k, part in enumerate(re.split(r"(`[^`]*`)", text))
    )
