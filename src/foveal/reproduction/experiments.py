"""The paper's tables, and one of ours, as lists of recipe calls. Nothing here costs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["full", "mini"]


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: what is compared.
        settings: keywords of the recipe that make it so.
        paper: the number it stands beside, test accuracy in percent; "" where there is none.
        recipe: another one than the table's, at either scale.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    recipe: str | None = None


@dataclass(frozen=True)
class Size:
    """How large a table's runs are.

    Attributes:
        recipe: that they call.
        settings: keywords that all of them share, where a row does not say otherwise.
    """

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of the paper or one like it.

    Attributes:
        title: what is compared on what.
        paper: what the numbers beside ours are.
        rows: its lines.
        sizes: the paper's, "full", and one for two processor cores, "mini".
        goal: a test accuracy; how soon the validation reaches it, and how many runs, is counted.
    """

    title: str
    paper: str
    rows: tuple[Row, ...]
    sizes: Mapping[Scale, Size]
    goal: float = 0.9


_BILLIARDS: dict[Scale, Size] = {
    "full": Size("billiards", {"scenes": 0}),
    "mini": Size(
        "billiards_mini",
        {"numbers": 3, "balls": (3, 3), "train": 6000, "steps": 1400, "scenes": 0},
    ),
}

TABLES: dict[str, Table] = {
    "table2": Table(
        "Billiards: the larger number of the left-most and the right-most ball",
        "median and MAD of 9 runs, 5 of a whole-picture network, 4 of attention sampling",
        (
            Row("Top-K, transformer", {}, "93.8 ± 0.3"),
            Row("Top-K, max", {"join": "max"}, "90.8 ± 0.1"),
            Row("Top-K, mean", {"join": "mean"}, "66.1 ± 0.7"),
            Row("attention sampling", {"model": "attention_sampling"}, "20.7 ± 0.0"),
            Row(
                "attention sampling + position",
                {"model": "attention_sampling", "coordinates": True},
                "42.4 ± 10.9",
            ),
            Row("whole picture", {"model": "whole"}, "81.6 ± 0.35"),
            Row(
                "whole picture + position",
                {"model": "whole", "coordinates": True},
                "83.8 ± 0.3",
            ),
            Row("whole picture, 4 times smaller", {"model": "whole", "downscale": 4}, "17.1 ± 0.8"),
            Row("iterative patch selection", {"model": "iterative"}),
            Row("random windows, transformer", {"select": "random"}),
        ),
        _BILLIARDS,
    ),
    "table4": Table(
        "Billiards: does sigma fall to 0, and is the selection hard in evaluation?",
        "no number was found; the paper tells the order, from the first row up to the last",
        (
            Row(
                "sigma stays, soft evaluation",
                {"sigma_schedule": "constant", "soft_evaluation": True},
            ),
            Row("sigma stays, hard evaluation", {"sigma_schedule": "constant"}),
            Row("sigma falls, hard evaluation", {}),
        ),
        _BILLIARDS,
    ),
    "estimators": Table(
        "Billiards: estimators of the selection's gradient",
        "not in the paper; all of its numbers are of the diagonal",
        (
            Row("exact", {}),
            Row("conditional", {"estimator": "conditional"}),
            Row("score function", {"estimator": "score_function"}),
            Row("diagonal, the paper's code", {"estimator": "diagonal"}),
            Row("diagonal, centred", {"estimator": "diagonal_centred"}),
        ),
        _BILLIARDS,
    ),
}
"""By the name that `foveal reproduce` is called with."""
