"""Options of a command from a function's signature and docstring; mistakes in them as one line."""

import argparse
import difflib
import inspect
import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from foveal.errors import UserError

Function = Callable[..., Any]


WORDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    type(None): "null",
}
"""Types, for those who do not program."""


class _Layout(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Descriptions keep their lines; types are those that people know."""

    def _expand_help(self, action: argparse.Action) -> str:
        told = str(super()._expand_help(action)).replace("<class 'Path'>", "path")
        return re.sub(r"type: <function .* at 0x\w+>, ", "", told)  # where there are choices


def parser(command: str, description: str | None) -> ArgumentParser:
    """A parser for a command such as "train folder", without options yet."""
    return ArgumentParser(
        prog=f"foveal {command}",
        description=inspect.cleandoc(description or ""),
        formatter_class=_Layout,
        exit_on_error=False,
        allow_abbrev=False,
    )


def add(to: ArgumentParser, function: Function, *, required: bool = True) -> None:
    """Make every keyword of a function an option.

    Args:
        to: the parser.
        function: its docstring tells the meaning of its keywords.
        required: whether what has no default must be given.
    """
    bare = {p.name: p for p in _parameters(function) if p.default is p.empty}
    if required:
        bare = {}
    to.add_function_arguments(function, as_group=False, skip=set(bare))
    for name, parameter in bare.items():
        to.add_argument(f"--{name}", type=parameter.annotation)


def parse(
    by: ArgumentParser,
    arguments: list[str],
    function: Function | None = None,
    *,
    defaults: bool = True,
) -> dict[str, Any]:
    """Values by option; with `defaults=False` only of the options that are given.

    Args:
        by: the parser.
        arguments: what stands after the command.
        function: whose keywords are options, for better messages.
        defaults: whether options that are not given take their default.

    Raises:
        UserError: one line that names the option and the remedy.
    """
    try:
        options: dict[str, Any] = by.parse_args(arguments, defaults=defaults).as_dict()
    except argparse.ArgumentError as error:
        raise UserError(f"{_said(str(error), by, function)}; see {by.prog} --help") from None
    return options


def nearest(name: str, names: Iterable[str]) -> str:
    """What the user may have meant, or all there is.

    >>> nearest("trian", ("train", "explain"))
    'did you mean train?'
    """
    names = tuple(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _said(message: str, by: ArgumentParser, function: Function | None) -> str:
    """jsonargparse's message of many lines as one of ours."""
    if message.startswith("unrecognized arguments:"):
        return _unknown(message.split(":", 1)[1].split(), by)
    if message.startswith("the following arguments are required:"):
        missing = message.split(":", 1)[1].strip().split(", ")
        flags = [f"--{name}" if f"--{name}" in _flags(by) else name.upper() for name in missing]
        return f"{' and '.join(flags)} must be given"
    bad = re.match(r'Parser key "(\w+)":', message)
    if bad is None:
        return " ".join(message.removeprefix("argument ").split())
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    got = f"got {value[1]!r}" if value else "got something else"
    return f"--{bad[1]} must be {_type(bad[1], function)}: {got}"


def _unknown(words: list[str], by: ArgumentParser) -> str:
    word = words[0].split("=")[0]
    if not word.startswith("-"):
        return f"{word!r} was not expected"
    near = difflib.get_close_matches(f"--{word.strip('-').replace('-', '_')}", _flags(by), n=1)
    return f"unknown option {word}" + (f", did you mean {near[0]}?" if near else "")


def _flags(by: ArgumentParser) -> list[str]:
    return sorted(set(re.findall(r"(?<![\w-])--\w+", by.format_help())))


def _type(name: str, function: Function | None) -> str:
    """The type of an option in words."""
    for parameter in _parameters(function) if function else ():
        if parameter.name == name:
            return _words(parameter.annotation)
    return "of another type"


def _words(annotation: Any) -> str:
    """A type in words.

    >>> _words(tuple[int, int] | None)
    '[whole number, whole number] or null'
    """
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    parts = [_words(part) for part in get_args(annotation) if part is not ...]
    if not parts:
        return WORDS.get(annotation, str(annotation))
    if get_origin(annotation) in (tuple, list):
        return f"[{', '.join(parts)}]"
    return " or ".join(parts)


def _parameters(function: Function) -> Iterable[inspect.Parameter]:
    return inspect.signature(function).parameters.values()
