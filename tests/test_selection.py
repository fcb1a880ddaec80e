"""Laws of selections and predictions: one home for hard ones, and pytrees of their tensors."""

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from foveal import topk
from foveal.paper.models.parts_prediction import PartsPrediction
from foveal.prediction import Prediction
from foveal.topk import Selection


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts_prediction() -> PartsPrediction:
    scores = torch.randn(2, 9, generator=seeded(), requires_grad=True)
    selection = topk.perturbed(scores, 3, 0.5)
    logits = selection.dense(9).sum(dim=1)[:, :4]
    return PartsPrediction(
        logits=logits,
        scores=scores,
        windows=torch.randint(0, 9, (9, 4), generator=seeded()),
        selection=selection,
        patches=torch.rand(2, 3, 1, 4, 4),
        whole_logits=2 * logits,
        part_logits=torch.rand(2, 3, 4),
    )


def plain_prediction() -> Prediction:
    whole = parts_prediction()
    names = ("logits", "scores", "windows", "selection", "patches")
    return Prediction(**{name: getattr(whole, name) for name in names})


TREES = [lambda: parts_prediction().selection, plain_prediction, parts_prediction]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_slot_j_of_a_one_hot_selection_looks_at_candidate_j_alone(dtype: torch.dtype) -> None:
    candidates = torch.tensor([[4, 0, 4], [1, 2, 3]])
    selection = Selection.one_hot(candidates, dtype)
    expected = torch.zeros(2, 3, 5, dtype=dtype).scatter(2, candidates[..., None], 1.0)
    assert torch.equal(selection.dense(5), expected)
    assert selection.weights.dtype == dtype
    assert selection.is_hard


def test_only_one_hot_selections_without_gradient_are_hard() -> None:
    selection = Selection.one_hot(torch.tensor([[3, 1]]))
    turned = selection.weights.flip(1)
    assert not Selection(selection.candidates, turned).is_hard
    assert not Selection(selection.candidates, selection.weights.clone().requires_grad_()).is_hard
    assert not Selection(selection.candidates, selection.weights[:, :1]).is_hard


@pytest.mark.parametrize("build", TREES)
def test_a_result_is_a_pytree_of_all_its_tensors(build) -> None:  # type: ignore[no-untyped-def]
    result = build()
    leaves, structure = pytree.tree_flatten(result)
    assert all(isinstance(leaf, Tensor) for leaf in leaves)
    assert len(leaves) == {Selection: 2, Prediction: 6, PartsPrediction: 8}[type(result)]
    again = pytree.tree_unflatten(leaves, structure)
    assert type(again) is type(result)
    assert all(a is b for a, b in zip(leaves, pytree.tree_leaves(again), strict=True))


@pytest.mark.parametrize("build", TREES)
def test_a_detached_result_has_equal_values_and_no_gradient(build) -> None:  # type: ignore[no-untyped-def]
    result = build()
    detached = result.detach()
    assert type(detached) is type(result)
    before, after = pytree.tree_leaves(result), pytree.tree_leaves(detached)
    assert any(leaf.requires_grad for leaf in before)
    assert not any(leaf.requires_grad for leaf in after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("build", TREES)
def test_a_moved_result_is_on_the_new_device_with_every_tensor(build) -> None:  # type: ignore[no-untyped-def]
    moved = build().to("meta")
    assert all(leaf.device.type == "meta" for leaf in pytree.tree_leaves(moved))
