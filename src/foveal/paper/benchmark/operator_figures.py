"""The figures of the operators, and their tables. Does not import torch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from foveal.paper.benchmark.comparison import format_cell
from foveal.paper.operators import OperatorName


@dataclass(frozen=True)
class OperatorCost:
    """What one forward and backward pass takes.

    Attributes:
        seconds: median, of the processor; None where it was not measured.
        megabytes: peak memory over its inputs, in 10^6 bytes; None where it was not measured.
        left_out: why it was not: it would not fit into memory, or take too much time.
    """

    seconds: float | None = None
    megabytes: float | None = None
    left_out: Literal["memory", "time"] | None = None


@dataclass(frozen=True)
class OperatorRow:
    """One operator.

    Attributes:
        operator: its name.
        absent: why it cannot be run here; then there are no figures.
        softness: at which its costs were measured.
        gaps: part of a slot that is not its hard choice, by the number of candidates it mixes; None
            where it cannot be made to mix so many.
        costs: by the number of candidates N.
    """

    operator: OperatorName
    absent: str | None = None
    softness: float | None = None
    gaps: Mapping[float, float | None] | None = None
    costs: Mapping[int, OperatorCost] | None = None

    def largest(self, megabytes: float) -> float | None:
        """The largest N that fits into memory, from how it grew between the two largest measured.

        >>> costs = {10: OperatorCost(1.0, 1.0), 100: OperatorCost(1.0, 10.0)}
        >>> round(OperatorRow("exact", costs=costs).largest(1000.0))
        10000
        """
        known = [(n, c.megabytes) for n, c in sorted((self.costs or {}).items()) if c.megabytes]
        if len(known) < 2 or known[-1][1] <= known[-2][1]:
            return None
        (n1, size1), (n2, size2) = known[-2:]
        power = math.log(size2 / size1) / math.log(n2 / n1)
        return float(n2 * (megabytes / size2) ** (1 / power))


@dataclass(frozen=True)
class OperatorFigures:
    """What was asked, where it was measured, and the figures; prints as Markdown.

    Attributes:
        settings: what was asked.
        machine: where it was measured.
        rows: one per operator.
        training: table of the runs, in Markdown; "" if none was asked for.
    """

    settings: dict[str, Any]
    machine: str
    rows: tuple[OperatorRow, ...]
    training: str = ""

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "operators"} | asdict(self)

    def __str__(self) -> str:
        """The tables between what was asked and where it ran."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        parts = [f"operators: {asked}", self._costs(), self._gaps(), self.training, self.machine]
        return "\n\n".join(part.strip() for part in parts if part)

    def _costs(self) -> str:
        sizes = self.settings["candidates"]
        titles = [f"s, N {n}" for n in sizes] + [f"MB, N {n}" for n in sizes]
        limit = self.settings["gigabytes"]
        lines = [f"| operator | {' | '.join(titles)} | largest N in {limit:g} GB, extrapolated |"]
        lines.append("|---|" + "---:|" * (len(titles) + 1))
        for row in self.rows:
            if row.absent:
                lines.append(f"| {row.operator} | {row.absent} |{' |' * len(titles)}")
                continue
            each = [(row.costs or {})[n] for n in sizes]
            cells = [_cell(cost.seconds, cost.left_out) for cost in each]
            cells += [_cell(cost.megabytes, None) for cost in each]
            largest = row.largest(1000 * limit)
            cells.append("-" if largest is None else f"{largest:.0e}")
            lines.append(f"| {row.operator} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def _gaps(self) -> str:
        mixtures = self.settings["mixtures"]
        titles = [f"gap, mixing {mixture:g}" for mixture in mixtures]
        lines = [f"| operator | softness | {' | '.join(titles)} |"]
        lines.append("|---|" + "---:|" * (len(titles) + 1))
        for row in self.rows:
            if row.gaps is not None:
                each = (row.gaps[mixture] for mixture in mixtures)
                gaps = ("not reached" if gap is None else f"{gap:.1%}" for gap in each)
                lines.append(f"| {row.operator} | {row.softness:.3g} | {' | '.join(gaps)} |")
        return "\n".join(lines)


def _cell(value: float | None, left_out: str | None) -> str:
    return f"too much {left_out}" if left_out else format_cell(value)
