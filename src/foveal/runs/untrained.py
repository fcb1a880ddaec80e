"""The scorer of a model before it was trained, for comparison."""

from torch import nn

from foveal.experiment import seeded
from foveal.models import PatchClassifier
from foveal.nn.protocols import Scorer
from foveal.nn.scorers import BackboneScorer
from foveal.runs.description import build, describe
from foveal.runs.record import PARTS

_SEEDS = 3


def untrained_scorers(model: nn.Module) -> list[Scorer]:
    """Scorers like that of a run's model, with weights drawn at random where training changed them.

    A frozen network keeps its weights: of it, training changes the last layers alone.

    Args:
        model: as a run describes it.

    Returns:
        Scorers of other random weights each, on the model's device; none if the model is no
        `PatchClassifier`.
    """
    if not isinstance(model, PatchClassifier):
        return []
    trained, scorers = model.scorer, list[Scorer]()
    device = next(model.parameters()).device
    for seed in range(_SEEDS):
        with seeded(seed):
            scorer = build(describe(trained), "the model's scorer", PARTS)
        if isinstance(trained, BackboneScorer) and trained.frozen:
            scorer.network.load_state_dict(trained.network.state_dict())
        scorers.append(scorer.to(device))
    return scorers
