"""What a run folder holds is read here: plain YAML, plain tensors, each value of its type.

A folder may come from anywhere. Whatever is in it, what does not fit is a `UserError` of one line
with the file and the key, and nothing of it is executed.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from foveal._files import write
from foveal.errors import UserError

_DEEPEST, _MOST = 50, 1_000_000  # levels of nesting, and values
_SHOWN = 60  # characters of a value in a message


def validated(value: Any, kind: Any, place: str) -> Any:
    """A value that was read from a file, as the type it must have.

    Args:
        value: plain, as YAML has it.
        kind: a type, maybe a dataclass of settings.
        place: file and key, for the message.

    Raises:
        UserError: one line with file, key and value.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (place, *first["loc"]))
        raise UserError(f"{key}: {first['msg']}: got {_short(first['input'])}") from error


def fitting(value: Any, kind: Any, place: str) -> Any:
    """A value that was read from a file, as the argument of a function of this type.

    Types of anything but plain values are not checked.

    Raises:
        UserError: one line with file, key and value.
    """
    try:
        checked = validated(value, kind, place)
    except UserError:
        raise
    except Exception:  # no type that pydantic knows
        return value
    return checked if isinstance(value, str) else value


def read_yaml(file: Path) -> dict[str, Any]:
    """Read the options in a file: dictionaries with names as keys, lists, text, numbers and null.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{file} is damaged: it is not valid YAML") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} is damaged: it contains no options")
    _check_plain(content, file)
    return content


def write_yaml(file: Path, content: Mapping[str, Any]) -> None:
    """Write plain values."""
    write(file, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).encode())


def read_state(file: Path) -> dict[str, Any]:
    """Read plain values and tensors, on the CPU.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """
    import torch

    try:
        state = torch.load(io.BytesIO(file.read_bytes()), map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # torch raises whatever the damage leads to
        raise UserError(f"{file} is damaged: it cannot be resumed from") from error
    if not isinstance(state, dict):
        raise UserError(f"{file} is damaged: it cannot be resumed from")
    return state


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """Plain values and tensors, as `read_state` reads them."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def _check_plain(content: Any, file: Path) -> None:
    """Refuse what no run writes: dates, bytes, other keys than names, and what never ends.

    YAML can name one list in many places, so that a small file is endless when it is gone through.
    """
    level, depth, count = [content], 0, 0
    while level:
        depth, count = depth + 1, count + len(level)
        if depth > _DEEPEST or count > _MOST:
            raise UserError(f"{file} is damaged: its values are nested too deeply")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    raise UserError(f"{file} is damaged: a key is not a name: {_short(value)}")
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif not (value is None or isinstance(value, bool | int | float | str)):
                raise UserError(f"{file} is damaged: {_short(value)} is no plain value")
        level = below


def _short(value: Any) -> str:
    """A value in a message, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
