"""Spellings of earlier releases: still accepted for one release, with one warning."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import Parameter
from typing import Any, get_args

from foveal import _json
from foveal.cli._console import log
from foveal.cli._options import flag
from foveal.errors import UserError

RENAMED: dict[str, tuple[str, ...]] = {
    "scorer_learning_rate": ("scorer_lr_scale",),
    "encoder_learning_rate": ("encoder_lr_scale",),
    "clip": ("clip_value", "clip_norm"),
    "aggregate": ("aggregator",),
    "join": ("aggregator",),
    "scenes": ("data_seed",),
    "tokens": ("transformer_width",),
    "width": ("transformer_width",),
    "layers": ("transformer_layers",),
    "heads": ("transformer_heads",),
    "stage": ("encoder_stage",),
    "scorer_frozen": ("freeze_scorer",),
    "drops": ("milestones",),
    "slots": ("k",),
    "sides": ("sizes",),
    "shift_share": ("shift_fraction",),
}
"""Option by earlier name. Of several, the one with a default is meant."""

_SWITCHES = {"true": True, "false": False}


def modernise(tokens: Sequence[str], parameters: Sequence[Parameter]) -> list[str]:
    """Replace earlier spellings by today's, and warn once.

    `--clip 1` becomes `--clip-value 1`, `--view [40,60]` becomes `--view 40 60`, `--flip true`
    becomes `--flip`, and `--class_weights true` becomes `--balance`.

    Args:
        tokens: what follows the command.
        parameters: the options of the command; a name that is one of them is not replaced.
    """
    known = {parameter.name: parameter for parameter in parameters}
    replaced: dict[str, str] = {}
    modern: list[str] = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--") or len(token) == 2:
            modern.append(token)
            continue
        words = [token, rest.pop(0)] if "=" not in token and _has_value(rest) else [token]
        today = _option(words, known)
        if today != words:
            replaced[" ".join(words)] = " ".join(today)
        modern += today
    if replaced:
        changes = ", ".join(f"{before} is now {after}" for before, after in replaced.items())
        log(f"foveal: deprecated spelling, accepted in this release only: {changes}")
    return modern


def _has_value(rest: Sequence[str]) -> bool:
    return bool(rest) and not rest[0].startswith("--")


def _option(words: list[str], known: Mapping[str, Parameter]) -> list[str]:
    """One option with at most one value, in today's spelling."""
    first, _, attached = words[0].partition("=")
    value = attached or (words[1] if len(words) == 2 else None)
    name = first[2:].replace("-", "_")
    if value in _SWITCHES and name == "class_weights" and "balance" in known:
        return ["--balance" if _SWITCHES[value] else "--no-balance"]
    if name == "settings" and name not in known and value is not None:
        return [word for k, v in _object(value).items() for word in _setting(k, v, known)]
    today = _today(name, known)
    if today is None:
        return words
    if value in _SWITCHES and get_args(known[today].annotation)[0] is bool:
        return [flag(today) if _SWITCHES[value] else f"--no-{flag(today)[2:]}"]
    if value is not None and value.startswith("[") and value.endswith("]"):
        return [flag(today), *_items(value)]
    return words if today == name else [flag(today), *([value] if value is not None else [])]


def _object(value: str) -> dict[str, Any]:
    """The options in a JSON object."""
    with suppress(ValueError):
        if isinstance(given := _json.loads(value), dict):
            return given
    raise UserError(f"--settings {value}: give a JSON object of options, or each as an option")


def _setting(name: str, value: Any, known: Mapping[str, Parameter]) -> list[str]:
    """An option that was given as a key of a JSON object."""
    text = value if isinstance(value, str) else json.dumps(value)
    return _option([f"--{name}", text], known)


def _items(value: str) -> list[str]:
    """The items of a list in JSON, or with bare words."""
    try:
        return [str(item) for item in _json.loads(value)]
    except ValueError:
        return value[1:-1].replace(",", " ").split()


def _today(name: str, known: Mapping[str, Parameter]) -> str | None:
    """The option that is meant, None if there is no such option."""
    if name in known:
        return name
    offered = [each for each in RENAMED.get(name, ()) if each in known]
    offered.sort(key=lambda each: known[each].default is None)
    return offered[0] if offered else None
