"""A model, or a call, as plain values in model.yaml, and back.

    class: foveal.models.WholeImage                 function: foveal.data.folder.read_folder
    arguments:                                      arguments:
      encoder:                                        path: /data/photos
        class: foveal.nn.encoders.Backbone            seed: 0
        arguments: {name: resnet18, stage: -1}
      classes: 4

As in scikit-learn, every constructor argument is an attribute of the same name: so a module is
described by its signature and its attributes. Only public names of this package are written, so
that moving a class to another file orphans no run, and only names of this package are read: a
description can build models, and nothing else.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

from torch import nn

from foveal.errors import UserError
from foveal.runs._moved import current
from foveal.runs.stored import fitting

_LARGEST = 2**31  # of a number that a model is described by
# say where weights began, and nothing about what the model is
_BEGINNINGS = frozenset(("weights", "pretrained"))


def describe(value: Any) -> Any:
    """Describe a module of this package, a function of it, or a plain value.

    Raises:
        TypeError: the value is neither; a module lacks the attribute of an argument.
    """
    if isinstance(value, nn.Module):
        return {"class": _path_of(type(value)), "arguments": _arguments_of(value)}
    if isinstance(value, partial):
        return {"function": _path_of(value.func), "arguments": _arguments_of_call(value)}
    if isinstance(value, FunctionType):
        return {"function": _path_of(value)}
    if isinstance(value, list | tuple):
        return [describe(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): describe(each) for key, each in value.items()}
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot describe a {type(value).__name__}: {value!r}")


def build(description: Any, place: str, within: tuple[str, ...]) -> Any:
    """Build what was described; lists become tuples, calls `functools.partial`.

    Args:
        description: as `describe` returns it, maybe read from a file.
        place: key that the description stands under, for messages.
        within: packages that classes and functions may come from.

    Raises:
        UserError: it names something that is not in this package, or arguments that do not fit.
    """
    if isinstance(description, list):
        return tuple(build(each, f"{place}[{i}]", within) for i, each in enumerate(description))
    if not isinstance(description, dict):
        return description
    for kind in ("class", "function"):
        if kind in description:
            arguments = description.get("arguments", {})
            if set(description) - {kind, "arguments"} or not isinstance(arguments, dict):
                raise UserError(f"{place}: expected {kind} and arguments: got {description}")
            path, arguments = current(description[kind], arguments)
            values = {k: build(each, f"{place}.{k}", within) for k, each in arguments.items()}
            target = _find(path, place, within, is_class=kind == "class")
            return _call(target, _checked(target, values, place), "arguments" in description, place)
    return {key: build(each, f"{place}.{key}", within) for key, each in description.items()}


def _call(target: Any, arguments: dict[str, Any], given: bool, place: str) -> Any:
    try:
        inspect.signature(target).bind_partial(**arguments)
        if isinstance(target, FunctionType):
            return partial(target, **arguments) if given else target
        return target(**arguments)
    except Exception as error:  # arguments come from a file: what they lead to is its fault
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{place}: {target.__name__}: {why}") from error


def _checked(target: Any, arguments: dict[str, Any], place: str) -> dict[str, Any]:
    """Arguments of the types in the signature, where these are types of plain values."""
    hints = get_type_hints(_signature_of(target))
    for name, value in arguments.items():
        if isinstance(target, type) and isinstance(value, int) and abs(value) > _LARGEST:
            raise UserError(f"{place}.{name}: must be {_LARGEST} at most: got {value}")
    return {
        name: fitting(value, hints[name], f"{place}.{name}") if name in hints else value
        for name, value in arguments.items()
    }


def _signature_of(target: Any) -> Any:
    return target.__init__ if inspect.isclass(target) else target


def _path_of(thing: Any) -> str:
    """The public name: of the outermost package that exports the class or function."""
    module, name = thing.__module__, thing.__qualname__
    if module.startswith("foveal.") and name.isidentifier():
        for home in _homes(module):
            path, place = f"{home}.{name}", import_module(home)
            listed = home == module or name in getattr(place, "__all__", ())
            if listed and getattr(place, name) is thing and "._" not in path:
                return path
    raise TypeError(f"{module}.{name} is not a public part of foveal: a run cannot store it")


def _homes(module: str) -> Iterator[str]:
    """Modules that may export what is defined in one: its packages from the outside in, the
    modules that these export, and the module itself."""
    parts = module.split(".")
    for depth in range(2, len(parts)):
        package = import_module(".".join(parts[:depth]))
        yield package.__name__
        for name in getattr(package, "__all__", ()):
            if isinstance(each := getattr(package, name), ModuleType):
                yield each.__name__
    yield module


def _find(path: Any, place: str, within: tuple[str, ...], *, is_class: bool) -> Any:
    """The class of a module, or the function, of a dotted name within some packages."""
    what = "a class" if is_class else "a function"
    refusal = UserError(f"{place}: {path!r} is not {what} of this version of foveal")
    if not isinstance(path, str) or "._" in path:
        raise refusal
    if not _lies_within(path, within):
        raise refusal
    if not all(part.isidentifier() for part in path.split(".")):
        raise refusal
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise refusal from None
    fits = issubclass(found, nn.Module) if isinstance(found, type) else False
    if not (fits if is_class else isinstance(found, FunctionType)):
        raise refusal
    if not _lies_within(f"{found.__module__}.{name}", within):  # only imported there
        raise refusal
    return found


def _lies_within(path: str, packages: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{package}.") for package in packages)


def _arguments_of(module: nn.Module) -> dict[str, Any]:
    arguments = {}
    for name in inspect.signature(type(module)).parameters:
        if name in _BEGINNINGS:
            continue
        if not hasattr(module, name):
            raise TypeError(
                f"{type(module).__name__} does not keep its argument {name!r} as an attribute of "
                "that name: a run cannot store it"
            )
        arguments[name] = describe(getattr(module, name))
    return arguments


def _arguments_of_call(call: "partial[Any]") -> dict[str, Any]:
    bound = inspect.signature(call.func).bind_partial(*call.args, **call.keywords)
    return {name: describe(value) for name, value in bound.arguments.items()}
