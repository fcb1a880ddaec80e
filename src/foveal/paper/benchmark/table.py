"""The figures of a comparison, for people and for programs."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One side's figures.

    Attributes:
        name: an estimator, a way of extracting, or "plain".
        seconds: median time of a forward and a backward pass; None where it did not fit.
        megabytes: peak memory over its inputs, in 10^6 bytes; None where it did not fit.
        difference: the largest absolute difference of its result from the plain one's.
    """

    name: str
    seconds: float | None
    megabytes: float | None
    difference: float | None


@dataclass(frozen=True)
class Table:
    """What was measured, where, and the figures; ratios are those of the last row over each.

    Attributes:
        notes: what follows from the figures, a line each.
    """

    task: str
    settings: dict[str, Any]
    machine: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The whole table with its ratios (plain over ours), ready for JSON."""
        plain = self.rows[-1]
        rows = [
            asdict(row)
            | {
                "times_faster": _ratio(plain.seconds, row.seconds),
                "times_smaller": _ratio(plain.megabytes, row.megabytes),
            }
            for row in self.rows
        ]
        return asdict(self) | {"rows": rows}

    def __str__(self) -> str:
        """A Markdown table between what was asked and where it ran."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            f"{self.task}: {asked}",
            "",
            f"| {'':<28} |  seconds |       MB |   faster |  smaller | difference |",
            f"|-{'':-<28}-|---------:|---------:|---------:|---------:|-----------:|",
        ]
        for row in self.summary()["rows"]:
            lines.append(
                f"| {row['name']:<28} | {cell(row['seconds'], 8)} | {cell(row['megabytes'], 8)} "
                f"| {cell(row['times_faster'], 8)} | {cell(row['times_smaller'], 8)} "
                f"| {cell(row['difference'], 10)} |"
            )
        return "\n".join([*lines, "", *self.notes, self.machine])


def _ratio(plain: float | None, ours: float | None) -> float | None:
    return plain / ours if plain and ours else None


def cell(value: float | None, width: int = 0) -> str:
    """Four digits, or a dash for what there is not."""
    return ("-" if value is None else f"{value:.4g}").rjust(width)
