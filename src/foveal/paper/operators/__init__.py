"""Differentiable Top-K operators of the literature behind one signature, to compare them.

    scores Float (B, N), k, softness  ->  Selection

Softness is in the units of the scores; at 0 all are the hard Top-K. Their slots are in order of
index, or in order of score, the best first. What is soft is a matter of the operator: equal
softness is not equal sharpness, see `foveal.paper.operators.sharpness`.

An operator that gives one mask per k instead of a row per slot becomes rows by differences: slot j
has what the mask of the j best has more than that of the j - 1 best.

Importing this does not import torch.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from foveal.errors import UserError

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float

    from foveal.topk import Selection

RelaxationName = Literal[
    "softsort",
    "neuralsort",
    "lapsum",
    "dftopk",
    "gumbel",
    "straight_through",
    "budget",
    "network",
    "pot",
    "optax",
    "softtorch_softsort",
    "softtorch_neuralsort",
    "softtorch_transport",
]
"""The operators that are none of this library's selectors."""

OperatorName = Literal["exact", "listing", "sinkhorn", RelaxationName]


@dataclass(frozen=True)
class Operator:
    """An operator.

    Attributes:
        title: what it is, in a few words.
        module: in this folder, with a function of the operator's name.
        by_score: whether its slots are in order of score instead of index.
        packages: what must be installed, by the names that are imported.
        python: the earliest Python that these say they take.
        sharp_as: the operator whose sharpness it has, if its own mixtures are always hard.
    """

    title: str
    module: str
    by_score: bool = True
    packages: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    sharp_as: OperatorName | None = None


_DIFFTOPK, _SOFTTORCH = ("difftopk", "diffsort"), ("softtorch",)
OPERATORS: dict[OperatorName, Operator] = {
    "exact": Operator("perturbed Top-K, exact", "foveal_own", by_score=False),
    "listing": Operator("perturbed Top-K, the paper's listing", "foveal_own", by_score=False),
    "sinkhorn": Operator("optimal transport, Newton", "foveal_own"),
    "softsort": Operator("SoftSort", "sorting"),
    "neuralsort": Operator("NeuralSort", "sorting"),
    "lapsum": Operator("LapSum", "masks"),
    "dftopk": Operator("DFTopK", "masks"),
    "gumbel": Operator("Gumbel Top-K, relaxed", "sorting"),
    "straight_through": Operator("straight-through SoftSort", "sorting", sharp_as="softsort"),
    "budget": Operator("entmax, budget sparsemax", "masks", packages=("entmax",)),
    "network": Operator("difftopk, bitonic network", "networks", packages=_DIFFTOPK),
    "pot": Operator("POT, unrolled Sinkhorn", "transports", packages=("ot",)),
    "optax": Operator("optax, perturbed", "perturbations", False, ("optax", "jax")),
    "softtorch_softsort": Operator(
        "SoftTorch, SoftSort", "relaxations", packages=_SOFTTORCH, python=(3, 12)
    ),
    "softtorch_neuralsort": Operator(
        "SoftTorch, NeuralSort", "relaxations", packages=_SOFTTORCH, python=(3, 12)
    ),
    "softtorch_transport": Operator(
        "SoftTorch, optimal transport", "relaxations", packages=_SOFTTORCH, python=(3, 12)
    ),
}


def why_absent(name: OperatorName) -> str | None:
    """Why an operator cannot be run here; None if it can."""
    operator = OPERATORS[name]
    absent = [package for package in operator.packages if find_spec(package) is None]
    if not absent:
        return None
    why = f"{' and '.join(absent)} not installed"
    if sys.version_info < operator.python:
        why += f", which says that it takes Python {'.'.join(map(str, operator.python))}"
    return why


def check_present(name: OperatorName) -> None:
    """Refuse an operator whose packages are missing.

    Raises:
        UserError: names them.
    """
    if (why := why_absent(name)) is not None:
        raise UserError(f"{name}: {why}: install foveal's extra operators")


def select(
    name: OperatorName,
    scores: Float[torch.Tensor, "B N"],
    k: int,
    softness: float,
    generator: torch.Generator | None = None,
) -> Selection:
    """Select k candidates with an operator.

    Args:
        name: of the operator.
        scores: relevance of the N candidates.
        k: number of slots, 1..N - 1.
        softness: in units of the scores, 0 or more; 0: the hard Top-K, without gradient.
        generator: source of the noise of those that draw some; None: torch's default.

    Raises:
        UserError: a package is missing.
    """
    from foveal.topk import Selection, hard

    check_present(name)
    operator = OPERATORS[name]
    if softness == 0:
        if not operator.by_score:
            return hard(scores, k)
        best = scores.detach().sort(dim=1, descending=True, stable=True).indices[:, :k]
        return Selection.one_hot(best, scores.dtype)
    function = getattr(import_module(f"{__name__}.{operator.module}"), name)
    selection: Selection = function(scores, k, softness, generator)
    return selection
