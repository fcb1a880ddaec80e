"""Parsers of the command line: cyclopts, set up to raise mistakes and to return exit statuses.

The options of some commands depend on their first word, a recipe for example. Such a command takes
all words as they are, looks at the first, and parses the others by a parser of its own.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Annotated, Any

import cyclopts
from cyclopts import App, Group

from foveal.cli._console import SUCCESS, log
from foveal.cli._spellings import modernise
from foveal.errors import UserError, nearest

Token = Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True)]
"""A word of the command line that a command parses itself."""


def split_target(tokens: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take a first word that is no option from the tokens."""
    if tokens and not tokens[0].startswith("-"):
        return tokens[0], list(tokens[1:])
    return None, list(tokens)


def asks_help(tokens: Sequence[str]) -> bool:
    """Whether help is asked for."""
    return bool({"-h", "--help"} & set(tokens))


def read_ahead(tokens: Sequence[str], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Values of a few options that decide on the others, which are skipped."""
    parser = new_app("", "")
    parser.help_flags = []
    parser.default(command(lambda given: 0, parameters))
    _, bound, *_ = parser.parse_known_args(tokens)
    return dict(bound.arguments)


def new_app(name: str, description: str, *, usage: str | None = None) -> App:
    """Make a parser that raises what is wrong and returns what its command returns.

    Args:
        name: words before the options, such as "train birds".
        description: what the command does, shown above the options.
        usage: first line of the help (default: made from the options).
    """
    app = App(
        name=f"foveal {name}".strip(),
        help=_reflow(inspect.cleandoc(description)),
        usage=usage and f"Usage: foveal {usage}",
        help_format="plaintext",
        group_parameters="Options",
        version_flags=[],
        exit_on_error=False,
        print_error=False,
        help_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    app["--help"].show = False
    return app


def _reflow(text: str) -> str:
    """Join the lines of each paragraph, but not those of a table."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(p if "  " in p else " ".join(p.split()) for p in paragraphs)


def command(
    function: Callable[[dict[str, Any]], int], parameters: Sequence[Parameter]
) -> Callable[..., int]:
    """Give a function that takes a dictionary the signature of these options."""

    def run(**given: Any) -> int:
        return function(given)

    run.__annotations__ = {}
    run.__doc__ = function.__doc__
    run.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    return run


def run_command(
    parser: App,
    function: Callable[[dict[str, Any]], int],
    parameters: Sequence[Parameter],
    tokens: Sequence[str],
) -> int:
    """Parse the options of a command, call it, and return its exit status; or show its help.

    Args:
        parser: of the command.
        function: called with the values that are given, by option.
        parameters: the options.
        tokens: what follows the command and its first word.
    """
    parser.default(command(function, parameters))
    return int(parser(modernise(tokens, parameters)) or SUCCESS)


def show_topics(
    parser: App, what: str, topics: Mapping[str, str], name: str | None, tokens: Sequence[str]
) -> int:
    """Show what the first word of a command can be, if help is asked for.

    Args:
        parser: of the command.
        what: what the first word names.
        topics: what it can be, and what that means.
        name: the first word, none of these; None: it is missing.
        tokens: what follows it.

    Raises:
        UserError: no help is asked for.
    """
    mistake = f"name a {what}: {', '.join(topics)}"
    if name is not None:
        mistake = f"unknown {what} {name!r}: {nearest(name, topics)}"
    if not asks_help(tokens):
        raise UserError(mistake)
    if name is not None:
        log(f"foveal: {mistake}")
    list_in_help(parser, f"{what.capitalize()}s", topics)
    return int(parser(["--help"]) or SUCCESS)


def list_in_help(parser: App, title: str, lines: Mapping[str, str]) -> None:
    """List names and their meaning in the help of a command, below its options."""
    group = Group.create_ordered(title)
    for name, line in lines.items():
        parser.command(App(name=name, help=line, group=group, help_flags=[], version_flags=[]))
