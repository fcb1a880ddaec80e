"""The paper's tables, and one of ours, as lists of recipe calls. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["full", "mini"]


@dataclass(frozen=True)
class TableRow:
    """One row of a table.

    Attributes:
        name: what is compared.
        options: options of the recipe, by name.
        paper: the paper's test accuracy in percent; "" if it has none.
        recipe: a recipe other than the table's, at either scale.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    recipe: str | None = None


@dataclass(frozen=True)
class TableSize:
    """How large the runs of a table are.

    Attributes:
        recipe: the recipe that they call.
        options: options that all rows share, unless a row says otherwise.
    """

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper or one like it.

    Attributes:
        title: what is compared on what.
        paper: what the paper's numbers are.
        rows: its rows.
        sizes: "full", the paper's, and "mini", for two processor cores.
        goal: a validation accuracy; the table counts the runs that reach it, and how soon.
    """

    title: str
    paper: str
    rows: tuple[TableRow, ...]
    sizes: Mapping[Scale, TableSize]
    goal: float = 0.9

    def recipes(self, scale: Scale) -> tuple[str, ...]:
        """The recipes that its rows call."""
        return tuple(dict.fromkeys(row.recipe or self.sizes[scale].recipe for row in self.rows))


_BILLIARDS: dict[Scale, TableSize] = {
    "full": TableSize("billiards", {"data_seed": 0}),
    "mini": TableSize(
        "billiards_mini",
        {
            "numbers": 3,
            "balls": (3, 3),
            "train": 6000,
            "steps": 1400,
            "learning_rate": 1e-3,
            "data_seed": 0,
        },
    ),
}

_SIGNS: dict[Scale, TableSize] = {
    "full": TableSize("traffic_signs"),
    "mini": TableSize(
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

_BIRDS: dict[Scale, TableSize] = {
    "full": TableSize("birds", {"full": True}),
    "mini": TableSize(
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


def _sinkhorn(k: int) -> tuple[TableRow, TableRow]:
    soft = {"select": "sinkhorn", "k": k, "soft_evaluation": True}
    hard = {"select": "sinkhorn", "k": k}
    return TableRow(f"Sinkhorn, {k} patches", soft), TableRow(
        f"Sinkhorn, {k} patches, hard evaluation", hard
    )


TABLES: dict[str, PaperTable] = {
    "table1": PaperTable(
        "Traffic signs: which speed limit, if any, does a street scene show?",
        "mean and deviation of 9 runs, 5 of the whole scene; of attention sampling as its authors "
        "report it, 87.6 ± 1.4 when repeated with 5 patches",
        (
            TableRow("Top-K, 5 patches", {"k": 5}, "91.7 ± 2.2"),
            TableRow("Top-K, 10 patches", {"k": 10}, "89.3 ± 1.4"),
            TableRow(
                "attention sampling, 5 patches",
                {"model": "attention_sampling", "k": 5},
                "91.1 ± 0.2",
            ),
            TableRow(
                "attention sampling, 10 patches",
                {"model": "attention_sampling", "k": 10},
                "90.5 ± 0.8",
            ),
            TableRow("whole scene", {}, "63.0 ± 2.6", recipe="traffic_signs_cnn"),
            TableRow("iterative patch selection", {"model": "iterative"}),
        ),
        _SIGNS,
    ),
    "table2": PaperTable(
        "Billiards: the larger number of the left-most and the right-most ball",
        "median and MAD of 9 runs, 5 of a whole-picture network, 4 of attention sampling",
        (
            TableRow("Top-K, transformer", {}, "93.8 ± 0.3"),
            TableRow("Top-K, max", {"aggregator": "max"}, "90.8 ± 0.1"),
            TableRow("Top-K, mean", {"aggregator": "mean"}, "66.1 ± 0.7"),
            TableRow("attention sampling", {"model": "attention_sampling"}, "20.7 ± 0.0"),
            TableRow(
                "attention sampling + position",
                {"model": "attention_sampling", "coordinates": True},
                "42.4 ± 10.9",
            ),
            TableRow("whole picture", {"model": "whole"}, "81.6 ± 0.35"),
            TableRow(
                "whole picture + position",
                {"model": "whole", "coordinates": True},
                "83.8 ± 0.3",
            ),
            TableRow(
                "whole picture, 4 times smaller", {"model": "whole", "downscale": 4}, "17.1 ± 0.8"
            ),
            TableRow("iterative patch selection", {"model": "iterative"}),
            TableRow("random windows, transformer", {"select": "random"}),
        ),
        _BILLIARDS,
    ),
    "table3": PaperTable(
        "Birds: 200 species, classified by their parts",
        "mean and deviation of 5 runs",
        (
            TableRow("NTS-Net, 2 parts", {"variant": "nts_net", "k": 2}, "87.3"),
            TableRow("NTS-Net, 4 parts", {"variant": "nts_net", "k": 4}, "87.5"),
            TableRow("Top-K, concat, 2 parts", {"variant": "concat", "k": 2}, "84.7 ± 0.8"),
            TableRow("Top-K, concat, 4 parts", {"variant": "concat", "k": 4}, "85.9 ± 0.4"),
            TableRow("Top-K, mean, 2 parts", {"variant": "mean", "k": 2}, "85.8 ± 0.3"),
            TableRow("Top-K, mean, 4 parts", {"variant": "mean", "k": 4}, "86.7 ± 0.4"),
        ),
        _BIRDS,
        goal=0.8,
    ),
    "table4": PaperTable(
        "Billiards: does sigma fall to 0, and is the selection hard in evaluation?",
        "no number was found; the paper tells the order, from the first row up to the last",
        (
            TableRow(
                "sigma stays, soft evaluation",
                {"sigma_schedule": "constant", "soft_evaluation": True},
            ),
            TableRow("sigma stays, hard evaluation", {"sigma_schedule": "constant"}),
            TableRow("sigma falls, hard evaluation", {}),
        ),
        _BILLIARDS,
    ),
    "table5": PaperTable(
        "Selection by optimal transport instead of noise",
        "no number was found; the paper tells that hard evaluation costs accuracy here",
        (*_sinkhorn(5), *_sinkhorn(10), TableRow("Top-K, 5 patches", {"k": 5})),
        {"full": _SIGNS["full"], "mini": _BILLIARDS["mini"]},
    ),
    "estimators": PaperTable(
        "Billiards: estimators of the selection's gradient",
        "not in the paper; all of its numbers are of the diagonal",
        (
            TableRow("exact", {}),
            TableRow("conditional", {"estimator": "conditional"}),
            TableRow("score function", {"estimator": "score_function"}),
            TableRow("diagonal, the paper's code", {"estimator": "diagonal"}),
            TableRow("diagonal, centred", {"estimator": "diagonal_centred"}),
        ),
        {
            "full": _BILLIARDS["full"],
            # as many patches as balls: with more, an untrained scorer finds them all
            "mini": TableSize(
                "billiards_mini", {**_BILLIARDS["mini"].options, "k": 3, "steps": 2000}
            ),
        },
    ),
}
"""By the name that `foveal reproduce` is called with."""
