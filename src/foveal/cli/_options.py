"""Options of the command line from the signature of a function whose keywords are groups.

    def birds(*, model: Model = Model(k=4), seed: int = 0)  ->  --view --patch --k ... --seed
    {"k": 2, "seed": 1}                                     ->  {"model": Model(k=2), "seed": 1}

A group is a dataclass. Its fields become options, with the values of the default instance as
defaults and the docstring as help; after parsing, the options become groups again.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from inspect import Parameter
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import cyclopts
from cyclopts import Group
from docstring_parser import parse

from foveal.errors import UserError


class Options:
    """The keywords of a function, flat.

    Args:
        function: its keywords are groups with a default instance, or plain values; positional
            arguments are no options.
        without: keywords that are not options.
        required: whether a keyword without a default must be given.
        title: heading of the options that belong to no group.

    Raises:
        TypeError: two groups have a field of the same name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        without: Iterable[str] = (),
        required: bool = True,
        title: str = "Run",
    ) -> None:
        self.groups: dict[str, Any] = {}  # default instance by keyword
        self.homes: dict[str, str | None] = {}  # keyword by option; None: the option is a keyword
        self.parameters: list[Parameter] = []
        hints, helps = get_type_hints(function, include_extras=True), documentation(function)
        for keyword, parameter in inspect.signature(function).parameters.items():
            if keyword in without or parameter.kind is Parameter.POSITIONAL_ONLY:
                continue
            if is_dataclass(parameter.default):
                self.groups[keyword] = parameter.default
                self._add_group(keyword, parameter.default)
            else:
                kind, default = hints[keyword], parameter.default
                if default is Parameter.empty and not required:
                    kind, default = kind | None, None
                self._add(keyword, None, kind, default, helps[keyword], title)

    def _add_group(self, keyword: str, instance: Any) -> None:
        hints, helps = get_type_hints(type(instance)), documentation(type(instance))
        for field in fields(instance):
            default = getattr(instance, field.name)
            title = keyword.replace("_", " ").capitalize()
            self._add(field.name, keyword, hints[field.name], default, helps[field.name], title)

    def _add(
        self, name: str, home: str | None, kind: Any, default: Any, text: str, title: str
    ) -> None:
        if name in self.homes:
            raise TypeError(f"the option {name} stands in two groups")
        self.homes[name] = home
        self.parameters.append(option(name, kind, default, text, title))

    def only(self, *names: str) -> list[Parameter]:
        """The parameters of some options."""
        return [parameter for parameter in self.parameters if parameter.name in names]

    def select(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of these options among others."""
        return {name: value for name, value in given.items() if name in self.homes}

    def group(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of the function: complete groups, and the plain values given.

        Args:
            given: values by option; others may be among them.

        Raises:
            UserError: a value lies outside its range.
        """
        grouped: dict[str, Any] = {}
        for keyword, instance in self.groups.items():
            own = {name: given[name] for name in given if self.homes.get(name) == keyword}
            try:
                grouped[keyword] = replace(instance, **own)
            except ValueError as error:
                raise UserError(str(error)) from error
        plain = {n: v for n, v in given.items() if n in self.homes and self.homes[n] is None}
        return grouped | plain

    def flatten(self, grouped: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by option: the inverse of `group`."""
        values = {}
        for name, home in self.homes.items():
            if (home or name) in grouped:
                values[name] = getattr(grouped[home], name) if home else grouped[name]
        return values


def option(name: str, kind: Any, default: Any, text: str, title: str) -> Parameter:
    """Describe one option to cyclopts.

    Args:
        name: with underscores.
        kind: its type.
        default: `Parameter.empty` if the option must be given.
        text: its help.
        title: heading that it stands under in the help.
    """
    optional = NoneType in get_args(kind)
    kinds = [each for each in get_args(kind) if each is not NoneType] if optional else [kind]
    negative: tuple[str, ...] | None = None
    if optional:  # only what is given by default can be taken back
        taken_back = default is not None and default is not Parameter.empty
        negative = (f"--no-{flag(name)[2:]}",) if taken_back else ()
    is_silent = default is None or default is False or default == ()
    settings = cyclopts.Parameter(
        help=text,
        group=TITLES.setdefault(title, Group.create_ordered(title)),
        negative=negative,
        negative_iterable=(),
        consume_multiple=any(map(_is_variadic, kinds)),
        show_default=False if is_silent else show,
    )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, settings]
    )


TITLES: dict[str, Group] = {
    title: Group.create_ordered(title)
    for title in ("Model", "Selection", "Optimisation", "Augmentation")
}


def _is_variadic(kind: Any) -> bool:
    return get_origin(kind) is list or Ellipsis in get_args(kind)


def show(value: Any) -> str:
    """Write a value as it is written on the command line.

    >>> show((0.5, 1.0)), show(1 / 30), show(True)
    ('0.5 1', '0.0333333', 'on')
    """
    if isinstance(value, tuple | list):
        return " ".join(map(show, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def documentation(thing: Callable[..., Any]) -> dict[str, str]:
    """Read the help of a function's arguments, or of a class's and its bases' attributes."""
    texts = (
        [base.__doc__ for base in reversed(inspect.getmro(thing))]
        if isinstance(thing, type)
        else [thing.__doc__]
    )
    return {
        each.arg_name: " ".join((each.description or "").split())
        for text in texts
        for each in parse(text or "").params
    }


def flag(name: str) -> str:
    """The option of a name.

    >>> flag("learning_rate")
    '--learning-rate'
    """
    return f"--{name.replace('_', '-')}"
