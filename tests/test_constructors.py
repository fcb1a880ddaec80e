"""Laws of the constructors of modules: what was given can be read back; nothing else changes."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import foveal.models
import foveal.nn
import foveal.paper.models
import foveal.paper.nn
from foveal.models import AttentionSampling, IterativePatchSelection, PatchClassifier, WholeImage
from foveal.nn import (
    aggregators,
    cross_attention,
    encoders,
    global_head,
    normalisations,
    scorers,
    selectors,
)
from foveal.paper.models.nts_net import NTSNet
from foveal.paper.models.nts_topk import NTSTopK, concat
from foveal.paper.nn import aggregators as paper_aggregators
from foveal.paper.nn import encoders as paper_encoders
from foveal.paper.nn.dropout import LastingDropout
from foveal.paper.nn.grids import cordonnier_grid
from foveal.paper.nn.lenet import LeNet
from foveal.paper.nn.pyramid import AnchorScorer, Attention, SqueezeExcitation
from foveal.paper.nn.scorers import TanhScorer
from foveal.paper.nn.selectors import Mixed, Relaxed
from foveal.topk import hard

NOT_KEPT = {"weights", "pretrained"}  # where weights start from, not what a module is


def on(*shape: int) -> Callable[[nn.Module], Any]:
    pixels = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    return lambda module: module(pixels)


def attend(module: nn.Module) -> Any:
    scores = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    return module(torch.ones(2, 3, 16), hard(scores, 3), scores.T.expand(12, 2))


def place(module: nn.Module) -> Any:
    scores = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    return module(hard(scores, 3), scores.T.expand(12, 2))


def maps(module: nn.Module) -> Any:
    return module([torch.ones(1, 16, 2, 2), torch.ones(1, 16, 1, 1)])


def _classifier() -> nn.Module:
    scorer = scorers.BackboneScorer("test_resnet", stage=1)
    return PatchClassifier(
        scorer=scorer,
        select=selectors.TopK(2),
        encoder=encoders.Backbone("test_resnet", stage=1),
        aggregate=aggregators.Transformer(32, width=16, heads=2),
        classes=3,
        view=(40, 44),
        patch=(24, 20),
        normalise=partial(
            normalisations.in_turn,
            steps=(normalisations.softmax, partial(normalisations.smoothing, share=0.1)),
        ),
        apart=1,
        mask="background",
        place=cordonnier_grid,
        global_head=global_head.GlobalHead(scorer.depth, classes=3),
        closer=2,
        regions=4,
    )


def _attention_sampling() -> nn.Module:
    return AttentionSampling(
        scorer=scorers.BackboneScorer("test_resnet", stage=1),
        select=selectors.Sampling(2),
        encoder=encoders.ThinResNet(3, width=8),
        classes=3,
        view=(40, 44),
        patch=(24, 20),
        smoothing=0.1,
        place=cordonnier_grid,
    )


def _parts(k: int) -> dict[str, Any]:
    encoder = encoders.Backbone("test_resnet")
    scorer = AnchorScorer(encoder.features, width=16, exchange=SqueezeExcitation(16))
    sizes = {"whole": (80, 80), "size": (64, 64), "patch": (32, 32)}
    return {"encoder": encoder, "scorer": scorer, "classes": 3, "dropout": 0.25, **sizes}


# one of each, with arguments that are not the defaults, and a call
ONE_OF_EACH: Mapping[type[nn.Module], tuple[Callable[[], nn.Module], Callable[[Any], Any]]] = {
    LastingDropout: (lambda: LastingDropout(0.3, seed=3), on(2, 40)),
    SqueezeExcitation: (lambda: SqueezeExcitation(16, reduction=2), maps),
    scorers.ConvScorer: (lambda: scorers.ConvScorer(1, pool=4), on(1, 1, 30, 30)),
    TanhScorer: (lambda: TanhScorer(2), on(1, 2, 9, 9)),
    scorers.BackboneScorer: (
        lambda: scorers.BackboneScorer(
            "test_resnet",
            stage=1,
            channels=2,
            frozen=True,
            width=4,
            mean=(0.1, 0.2),
            std=(0.3, 0.4),
            offset=1.25,
        ),
        on(1, 2, 40, 40),
    ),
    encoders.Backbone: (
        lambda: encoders.Backbone(
            "resnet34", stage=0, channels=1, zoom=1.5, pool="avgmax", mean=(0.1,), std=(0.3,)
        ),
        on(1, 1, 40, 40),
    ),
    paper_encoders.BareStemResNet: (
        lambda: paper_encoders.BareStemResNet(
            "resnet34", stage=0, channels=1, mean=(0.1,), std=(0.3,)
        ),
        on(1, 1, 40, 40),
    ),
    encoders.ThinResNet: (
        lambda: encoders.ThinResNet(2, width=8, pool="amax"),
        on(1, 2, 20, 20),
    ),
    paper_encoders.ShallowNet: (lambda: paper_encoders.ShallowNet(2, width=8), on(1, 2, 20, 20)),
    paper_encoders.WhatAndWhere: (
        lambda: paper_encoders.WhatAndWhere(2, widths=(4, 4, 8)),
        on(1, 2, 20, 20),
    ),
    LeNet: (lambda: LeNet((20, 24), 2, features=30), on(1, 2, 20, 24)),
    aggregators.Transformer: (
        lambda: aggregators.Transformer(
            16,
            width=8,
            num_layers=1,
            heads=2,
            dropout=0.2,
            norm_first=True,
            pool="amax",
            position=aggregators.FourierPosition(16, octaves=2),
        ),
        attend,
    ),
    paper_aggregators.PublishedTransformer: (
        lambda: paper_aggregators.PublishedTransformer(
            16,
            paper_aggregators.TablePosition(12, 16),
            width=8,
            num_layers=1,
            heads=2,
            dropout=0.2,
        ),
        attend,
    ),
    global_head.GlobalHead: (lambda: global_head.GlobalHead(16, classes=3), on(2, 16, 4, 5)),
    aggregators.Vote: (lambda: aggregators.Vote(16, classes=3, dropout=0.5), attend),
    aggregators.FourierPosition: (lambda: aggregators.FourierPosition(8, octaves=2), place),
    paper_aggregators.TablePosition: (lambda: paper_aggregators.TablePosition(12, 16), place),
    cross_attention.CrossAttention: (
        lambda: cross_attention.CrossAttention(
            16,
            num_queries=2,
            heads=4,
            hidden=5,
            dropout=0.2,
            position=aggregators.FourierPosition(16),
        ),
        attend,
    ),
    AnchorScorer: (
        lambda: AnchorScorer(4, width=16, exchange=SqueezeExcitation(16)),
        on(1, 4, 2, 2),
    ),
    Attention: (
        lambda: Attention(5, 16, num_layers=1, heads=4, dropout=0.2),
        maps,
    ),
    selectors.TopK: (
        lambda: selectors.TopK(2, sigma=0.2, estimator="diagonal", samples=7, soft_evaluation=True),
        on(2, 9),
    ),
    selectors.Sinkhorn: (
        lambda: selectors.Sinkhorn(
            2, epsilon=0.1, iterations=7, solver="released", soft_evaluation=True
        ),
        on(2, 9),
    ),
    selectors.Hard: (lambda: selectors.Hard(2), on(2, 9)),
    selectors.Random: (lambda: selectors.Random(2, seed=4), on(2, 9)),
    Mixed: (
        lambda: Mixed(selectors.Random(2, seed=4), hard=0.1, random=0.2, dropped=0.3),
        on(2, 9),
    ),
    Relaxed: (lambda: Relaxed("lapsum", 2, sigma=0.2), on(2, 9)),
    selectors.Sampling: (
        lambda: selectors.Sampling(2, replacement=True, seed=4),
        lambda module: module(on(2, 9)(lambda x: x.softmax(dim=1))),
    ),
    PatchClassifier: (_classifier, on(1, 3, 90, 80)),
    AttentionSampling: (_attention_sampling, on(1, 3, 90, 80)),
    IterativePatchSelection: (
        lambda: IterativePatchSelection(
            encoder=paper_encoders.ShallowNet(1, width=16),
            aggregate=cross_attention.CrossAttention(16),
            classes=3,
            grid=(3, 4),
            patch=(20, 24),
            k=2,
            at_once=5,
            channels=1,
        ),
        on(1, 1, 90, 80),
    ),
    WholeImage: (
        lambda: WholeImage(
            encoder=encoders.ThinResNet(3, width=8),
            classes=3,
            size=(20, 24),
            coordinates=True,
            channels=1,
        ),
        on(1, 1, 90, 80),
    ),
    NTSNet: (
        lambda: NTSNet(k=1, proposals=2, overlap=0.5, **_parts(2)),
        on(1, 3, 90, 80),
    ),
    NTSTopK: (
        lambda: NTSTopK(
            select=selectors.TopK(2),
            aggregate=concat,
            dropout_in_evaluation=True,
            normalise=normalisations.sigmoid,
            **_parts(2),
        ),
        on(1, 3, 90, 80),
    ),
}
# arguments that must fit the others here, and are not the defaults in another entry
ELSEWHERE: dict[type[nn.Module], set[str]] = {
    PatchClassifier: {"channels", "glances"},  # two in test_second_glance.py
    AttentionSampling: {"channels", "coordinates"},
    NTSNet: {"channels"},
    NTSTopK: {"channels"},
}
EACH = pytest.mark.parametrize("kind", ONE_OF_EACH, ids=lambda kind: kind.__name__)


def all_modules() -> set[type[nn.Module]]:
    """The public module classes of the folders of parts and models."""
    found = set()
    for package in (foveal.nn, foveal.models, foveal.paper.nn, foveal.paper.models):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, each in vars(importlib.import_module(info.name)).items():
                own = inspect.isclass(each) and each.__module__ == info.name
                if own and issubclass(each, nn.Module) and not name.startswith("_"):
                    found.add(each)
    return found


def arguments(module: nn.Module) -> dict[str, Any]:
    """What a module was constructed with, read from its attributes."""
    names = list(inspect.signature(type(module)).parameters)
    return {name: getattr(module, name) for name in names if name not in NOT_KEPT}


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def test_every_module_of_the_folders_is_held_to_these_laws() -> None:
    assert all_modules() == set(ONE_OF_EACH)


def is_plain(value: Any) -> bool:
    """Whether a value can be written to a file: plain, a module, or an importable function."""
    if isinstance(value, partial):
        return is_plain(value.func) and all(map(is_plain, value.keywords.values()))
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    if isinstance(value, nn.Module):
        return type(value) in ONE_OF_EACH
    if inspect.isfunction(value):
        return getattr(importlib.import_module(value.__module__), value.__qualname__) is value
    return value is None or isinstance(value, bool | int | float | str)


@EACH
def test_a_module_is_rebuilt_from_its_attributes(kind: type[nn.Module]) -> None:
    make, call = ONE_OF_EACH[kind]
    module = seeded(make)
    given = arguments(module)
    assert all(map(is_plain, given.values())), given
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    expected = call(module)
    assert flat(expected)
    rebuilt = kind(**given).eval()
    assert {key: value.shape for key, value in rebuilt.state_dict().items()} == {
        key: value.shape for key, value in weights.items()
    }
    rebuilt.load_state_dict(weights)
    again = arguments(rebuilt)
    assert {k: v for k, v in again.items() if not isinstance(v, nn.Module)} == {
        k: v for k, v in given.items() if not isinstance(v, nn.Module)
    }
    torch.testing.assert_close(flat(call(rebuilt)), flat(expected), rtol=0, atol=0, equal_nan=True)


def flat(result: Any) -> list[torch.Tensor]:
    """The tensors of a result, whatever holds them."""
    return [each for each in torch.utils._pytree.tree_leaves(result) if torch.is_tensor(each)]


@EACH
def test_arguments_here_are_not_the_defaults(kind: type[nn.Module]) -> None:
    given = arguments(seeded(ONE_OF_EACH[kind][0]))
    usual = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    same = {name for name, value in usual.items() if name in given and given[name] is value}
    assert same <= ELSEWHERE.get(kind, set())


@EACH
def test_a_constructor_changes_nothing_of_its_parts(kind: type[nn.Module]) -> None:
    module = seeded(ONE_OF_EACH[kind][0]).train()
    for number, each in enumerate(module.modules()):  # modes of all kinds
        each.training = number % 3 > 0
    given = arguments(module)
    parts = [value for value in given.values() if isinstance(value, nn.Module)]
    before = [({k: v.clone() for k, v in p.state_dict().items()}, modes(p)) for p in parts]
    kind(**given)
    for part, (state, mode) in zip(parts, before, strict=True):
        assert modes(part) == mode
        for key, value in part.state_dict().items():
            assert torch.equal(value, state[key]), key


def modes(module: nn.Module) -> list[tuple[bool, list[bool]]]:
    return [
        (part.training, [p.requires_grad for p in part.parameters(recurse=False)])
        for part in module.modules()
    ]
