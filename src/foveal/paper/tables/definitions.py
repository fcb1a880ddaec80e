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

_SIGNS: dict[Scale, Size] = {
    "full": Size("traffic_signs"),
    "mini": Size(
        "traffic_signs",
        {
            "encoder": "resnet18",
            "view": (320, 544),
            "patch": 64,
            "steps": 400,
            "batch": 8,
            "learning_rate": 3e-4,
            "weight_decay": 0.05,
            "shift": 40,
            "size": (320, 544),
        },
    ),
}

_BIRDS: dict[Scale, Size] = {
    "full": Size("birds", {"full": True}),
    "mini": Size(
        "birds",
        {
            "full": True,
            "encoder": "resnet18",
            "whole": 300,
            "size": 224,
            "patch": 112,
            "steps": 3000,
        },
    ),
}


def _sinkhorn(k: int) -> tuple[Row, Row]:
    soft = {"select": "sinkhorn", "k": k, "soft_evaluation": True}
    hard = {"select": "sinkhorn", "k": k}
    return Row(f"Sinkhorn, {k} looks", soft), Row(f"Sinkhorn, {k} looks, hard evaluation", hard)


TABLES: dict[str, Table] = {
    "table1": Table(
        "Traffic signs: which speed limit, if any, does a street scene show?",
        "mean and deviation of 9 runs, 5 of the whole scene; of attention sampling as its authors "
        "report it, 87.6 ± 1.4 when repeated with 5 looks",
        (
            Row("Top-K, 5 looks", {"k": 5}, "91.7 ± 2.2"),
            Row("Top-K, 10 looks", {"k": 10}, "89.3 ± 1.4"),
            Row(
                "attention sampling, 5 looks",
                {"model": "attention_sampling", "k": 5},
                "91.1 ± 0.2",
            ),
            Row(
                "attention sampling, 10 looks",
                {"model": "attention_sampling", "k": 10},
                "90.5 ± 0.8",
            ),
            Row("whole scene", {}, "63.0 ± 2.6", recipe="traffic_signs_cnn"),
            Row("iterative patch selection", {"model": "iterative"}),
        ),
        _SIGNS,
    ),
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
    "table3": Table(
        "Birds: 200 species, told apart by parts",
        "mean and deviation of 5 runs",
        (
            Row("NTS-Net, 2 parts", {"variant": "nts_net", "k": 2}, "87.3"),
            Row("NTS-Net, 4 parts", {"variant": "nts_net", "k": 4}, "87.5"),
            Row("Top-K, concat, 2 parts", {"variant": "concat", "k": 2}, "84.7 ± 0.8"),
            Row("Top-K, concat, 4 parts", {"variant": "concat", "k": 4}, "85.9 ± 0.4"),
            Row("Top-K, mean, 2 parts", {"variant": "mean", "k": 2}, "85.8 ± 0.3"),
            Row("Top-K, mean, 4 parts", {"variant": "mean", "k": 4}, "86.7 ± 0.4"),
        ),
        _BIRDS,
        goal=0.8,
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
    "table5": Table(
        "Selection by optimal transport instead of noise",
        "no number was found; the paper tells that hard evaluation costs accuracy here",
        (*_sinkhorn(5), *_sinkhorn(10), Row("Top-K, 5 looks", {"k": 5})),
        {"full": _SIGNS["full"], "mini": _BILLIARDS["mini"]},
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
        {
            "full": _BILLIARDS["full"],
            # as many looks as balls: with more, a scorer that learns nothing finds them all
            "mini": Size("billiards_mini", {**_BILLIARDS["mini"].settings, "k": 3, "steps": 2000}),
        },
    ),
}
"""By the name that `foveal reproduce` is called with."""
