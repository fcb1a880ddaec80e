"""Rows of finished cells in a file, one JSON object a line, and their table."""

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from foveal._files import explained
from foveal.errors import UserError

Row = Mapping[str, Any]
HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "auroc", "hit_rate")
SHARES = (*HIGHER_IS_BETTER, "chance_hit_rate")


class Cell(NamedTuple):
    """What a row is about."""

    task: str
    fold: int
    method: str
    seed: int
    budget: float

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"{self.task}, fold {self.fold}, {self.method}, seed {self.seed}, "
            f"{self.budget:g} minutes"
        )


@dataclass(frozen=True)
class Results:
    """The rows of all finished cells; prints as a Markdown table.

    Attributes:
        rows: a row has the fields of its `Cell`, shares such as accuracy, minutes of training, test
            images_per_second and hardware.
    """

    rows: tuple[Row, ...]

    @classmethod
    def read(cls, file: Path, *, missing: bool = False) -> "Results":
        """Read a file; a last line that was cut short counts as not written.

        Args:
            file: as `append` writes it.
            missing: whether it may be missing: then there are no rows.

        Raises:
            UserError: it cannot be read, or another line is damaged.
        """
        if missing and not file.exists():
            return cls(())
        try:
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read ({error}): give a results.jsonl") from None
        return cls(tuple(_parse(file, i, line) for i, line in enumerate(lines, 1) if _whole(line)))

    @staticmethod
    def append(file: Path, row: Row) -> None:
        """Append a row, and wait for the disk; a line that was cut short before is ended first.

        Raises:
            UserError: it cannot be written.
        """
        with explained(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a+b") as out:
                out.seek(0)
                content = out.read()
                out.truncate(content.rfind(b"\n") + 1)
                out.write(json.dumps(dict(row)).encode() + b"\n")
                out.flush()
                os.fsync(out.fileno())

    @property
    def cells(self) -> set[Cell]:
        """What has been measured."""
        return {Cell(*(row[name] for name in Cell._fields)) for row in self.rows}

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "field", "rows": [dict(row) for row in self.rows]}

    def __str__(self) -> str:
        """Median and worst over folds and seeds, by task, budget and method."""
        groups: dict[tuple[str, float, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row["task"], row["budget"], row["method"]), []).append(row)
        titles = ["task", "minutes", "method", "accuracy", "balanced accuracy", "AUROC"]
        titles += ["hit rate", "by chance", "training min", "images/s", "runs"]
        lines = [f"| {' | '.join(titles)} |", "|---|---:|---|" + "---:|" * (len(titles) - 3)]
        for (task, budget, method), rows in groups.items():
            cells = [_share(rows, name, worst=name in HIGHER_IS_BETTER) for name in SHARES]
            medians = [_median(rows, name) for name in ("minutes", "images_per_second")]
            cells += ["" if value is None else f"{value:.3g}" for value in medians]
            lines.append(f"| {task} | {budget:g} | {method} | {' | '.join(cells)} | {len(rows)} |")
        machines = sorted({str(row["hardware"]) for row in self.rows})
        note = "Test images; median over folds and seeds, in brackets the worst, in percent."
        return "\n".join([*lines, "", note, *machines])


def _whole(line: str) -> bool:
    return line.endswith("\n") and bool(line.strip())


def _parse(file: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
        missing = [name for name in (*Cell._fields, *SHARES, "hardware") if name not in row]
    except (ValueError, TypeError):
        raise UserError(f"{file} line {number}: damaged: delete that line") from None
    if missing:
        raise UserError(f"{file} line {number}: no {missing[0]}: give a results.jsonl")
    return dict(row)


def _values(rows: list[Row], name: str) -> list[float]:
    return [row[name] for row in rows if row.get(name) is not None]


def _median(rows: list[Row], name: str) -> float | None:
    values = _values(rows, name)
    return statistics.median(values) if values else None


def _share(rows: list[Row], name: str, *, worst: bool) -> str:
    """A share in percent; where there are several, with the worst."""
    values = _values(rows, name)
    if not values:
        return ""
    middle = f"{100 * statistics.median(values):.1f}"
    return f"{middle} ({100 * min(values):.1f})" if worst and len(rows) > 1 else middle
