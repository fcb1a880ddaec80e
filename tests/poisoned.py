"""Run folders in which one thing is wrong, as a folder from elsewhere may be."""

import csv
import io
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

HUGE = 2**62
MISSING, UNKNOWN = object(), object()
STEPS = ("steps", "optimisation", "training")


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


VALUES = (
    *(MISSING, UNKNOWN, None, True, -1, 0, 7, HUGE, -0.5, 1e308, math.nan, math.inf, ""),
    *("x", "\x1b[2J", "y" * 5000, [], {}, ["x", 3], nested(30)),
    {"class": "os.system", "arguments": {}},
)
LETTERS = "bcdefghi"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{letter}: &{letter} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, letter in zip(f"a{LETTERS}", LETTERS, strict=False)
)
TEXTS = (
    *("", "just words", "a: [", "[" * 3000, "{a: " * 3000, "? [a]\n: b", "7: seven", BOMB, "a: \0"),
    *("a: 2020-99-99", "a: 2020-01-01", f"a: {'9' * 5000}", "a: !!binary aGk=", "a: !!set {b}"),
)
CELLS = ("", "x", "-1", "nan", "inf", "9" * 5000, "²", "\x1b[2J", "a\0b", "y" * 5000, "1,2,3")


class Poison(NamedTuple):
    """One change of a run folder.

    Attributes:
        name: which.
        apply: makes it in a folder.
        is_huge: whether going on could rightly take for ever.
    """

    name: str
    apply: Callable[[Path], object]
    is_huge: bool = False


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value in dictionaries and lists."""
    if at:
        yield at
    items = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, each in items:
        yield from places(each, (*at, key))


def changed(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The content with another value at a place, with none, or with one more below it."""
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    last = place[-1]
    if value is MISSING:
        del holder[last]
    elif value is UNKNOWN:
        holder[last] = {**holder[last], "unknown": 7} if isinstance(holder[last], dict) else "?"
    elif isinstance(value, Tensor) and isinstance(holder[last], Tensor) and value.numel() == 1:
        holder[last] = torch.full_like(holder[last], value.item())
    else:
        holder[last] = value
    return content


def change_yaml(file: str, place: tuple[Any, ...], value: Any, run: Path) -> None:
    content = yaml.safe_load((run / file).read_text())
    (run / file).write_text(yaml.safe_dump(changed(content, place, value)))


def change_state(file: str, place: tuple[Any, ...], value: Any, run: Path) -> None:
    content = torch.load(run / file, weights_only=True)
    torch.save(changed(content, place, value) if place else value, run / file)


def change_weights(file: str, name: str, change: Callable[[Tensor], Tensor], run: Path) -> None:
    weights = load_file(run / file)
    save_file(weights | {name: change(weights[name]).contiguous()}, run / file)


def change_table(file: str, line: int, column: int, cell: str | None, run: Path) -> None:
    rows = list(csv.reader(io.StringIO((run / file).read_text())))
    for row in rows if cell is None else [rows[line]]:
        row[column : column + 1] = [] if cell is None else [cell]
    (run / file).write_text("".join(",".join(row) + "\n" for row in rows))


def write_text(file: str, text: str, run: Path) -> None:
    (run / file).write_bytes(text.encode())


def short(value: Any) -> str:
    return {id(MISSING): "missing", id(UNKNOWN): "unknown"}.get(id(value), repr(value)[:20])


def of_mapping(
    content: Any, file: str, change: Callable[..., None], several: int
) -> Iterator[Poison]:
    for place in places(content):
        before = content
        for key in place:
            before = before[key]
        values: tuple[Any, ...] = VALUES
        if isinstance(before, Tensor):
            nan = torch.full((1,), math.nan if before.is_floating_point() else -1)
            values = (MISSING, None, "x", torch.zeros(3, 1), nan)
        for value in values[:several] if len(place) > 3 else values:
            name = f"{file}: {'.'.join(map(str, place))} {short(value)}"
            by_default = value is MISSING or value == {}  # of which there are many steps
            is_huge = value is HUGE or (by_default and place[-1] in STEPS)
            yield Poison(name, partial(change, file, place, value), is_huge)


def poisons(run: Path) -> list[Poison]:
    """All changes of a run folder."""
    found: list[Poison] = []
    for file in ("recipe.yaml", "model.yaml"):
        content = yaml.safe_load((run / file).read_text())
        found += of_mapping(content, file, change_yaml, len(VALUES))
        found += [Poison(f"{file}: {t[:20]!r}", partial(write_text, file, t)) for t in TEXTS]
    for path in (run / "checkpoints" / "last" / "state.pt", *run.glob("phases/*.pt")):
        file = str(path.relative_to(run))
        found += of_mapping(torch.load(path, weights_only=True), file, change_state, 5)
        for whole in (7, [], None, torch.zeros(3)):
            found.append(Poison(f"{file}: {whole!r}", partial(change_state, file, (), whole)))
        found.append(Poison(f"{file}: text", partial(write_text, file, "x")))
    for file in ("metrics.csv", "data.csv"):
        header = (run / file).read_text().splitlines()[0]
        for column in range(header.count(",") + 1):
            for line, cell in [(line, cell) for line in (0, 1, -1) for cell in (*CELLS, None)]:
                name = f"{file}: line {line} column {column} {short(cell)}"
                found.append(Poison(name, partial(change_table, file, line, column, cell)))
        for text in ("", "x", "\n\n", '"', f"{header}\n", "z" * 200_000 + "\n1\n"):
            found.append(Poison(f"{file}: {text[:9]!r}", partial(write_text, file, text)))
    file = "checkpoints/best/model.safetensors"
    for name in load_file(run / file):
        for word, change in (
            ("nan", lambda weight: weight.float() * math.nan),
            ("complex", lambda weight: weight.to(torch.complex64)),
            ("bool", lambda weight: weight.bool()),
            ("huge", lambda weight: weight.float() + 1e38),
            ("shape", lambda weight: torch.zeros(3, 1)),
        ):
            found.append(Poison(f"{name}: {word}", partial(change_weights, file, name, change)))
    for text in ("", "x" * 9, "\x08" + "\0" * 7 + "{}      "):
        found.append(Poison(f"{file}: {text[:9]!r}", partial(write_text, file, text)))
    return found
