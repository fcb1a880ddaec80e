"""What comes before reading: a classifier of the view, proposals, and what these tell.

Each keeps its result in the run's folder, and is not done twice.
"""

from foveal.data import Dataset, Splits
from foveal.data.dataset import sizes
from foveal.models import PatchClassifier
from foveal.nn.scorers import BackboneScorer
from foveal.phases.phase_log import PhaseLog
from foveal.phases.pooling import WINDOWS, Pooling, choose_pooling
from foveal.phases.proposing import Proposed, propose
from foveal.phases.reader import Reader
from foveal.phases.reading import strips_of
from foveal.phases.reranking import rerank
from foveal.phases.view_classifier import FittedHead, fit_global_head
from foveal.proposals import Trunk, reduction
from foveal.runs.folder import RunFolder
from foveal.settings import Beginning, Training


def view_classifier(
    model: PatchClassifier,
    splits: Splits,
    training: Training,
    beginning: Beginning,
    folder: RunFolder,
    log: PhaseLog,
) -> FittedHead | None:
    """A classifier of the small view, to compare with and to add to the answer."""
    if not (beginning.baseline or beginning.global_head):
        return None
    if (kept := folder.kept("global_head")) is not None:
        return FittedHead(**kept)
    log.begin("baseline", "a linear classifier of the small view")
    fitted = fit_global_head(model, splits, training.optimisation.class_weights, log.count)
    folder.keep("baseline", fitted.figures)
    folder.keep("global_head", vars(fitted))
    log.end(f"balanced accuracy {fitted.balanced_accuracy:.1%}")
    return fitted


def find_proposals(
    model: PatchClassifier,
    splits: Splits,
    training: Training,
    beginning: Beginning,
    folder: RunFolder,
    log: PhaseLog,
) -> Proposed:
    """Windows that may show the evidence, in all images."""
    if (kept := folder.kept("proposals")) is not None:
        return Proposed.from_state(kept["windows"])
    trunk = trunk_of_scorer(model)
    halvings = proposal_halvings(splits.train, trunk, beginning)
    where = f" at {reduction.describe(halvings)}" if halvings else ""
    log.begin("proposals", f"what tells the labels, in {len(splits.train)} images{where}")
    found, proposed = propose(
        splits,
        trunk,
        patch=model.patch[0],
        count=beginning.proposals,
        nothing=_nothing(splits, beginning),
        seed=training.seed,
        megapixels=_searched(beginning),
        progress=log.count,
    )
    log.end(proposed.summary)
    folder.keep("proposals", {"found": found.state(), "windows": proposed.state()})
    return proposed


def _nothing(splits: Splits, beginning: Beginning) -> int | None:
    """Number of the class that means that there is nothing to find."""
    return splits.train.classes.index(beginning.nothing) if beginning.nothing else None


def order_proposals(
    reader: Reader,
    proposed: Proposed,
    splits: Splits,
    training: Training,
    folder: RunFolder,
    log: PhaseLog,
) -> Proposed:
    """The proposed windows, those first whose frozen features tell the labels."""
    if (kept := folder.kept("reranked")) is not None:
        return Proposed.from_state(kept)
    log.begin("proposals", "re-ranked by what their frozen features tell")
    train, validation = strips_of(
        splits, proposed, patch=reader.patch, validated=len(proposed.validation[0])
    )
    reranked = rerank(
        reader,
        proposed,
        train,
        validation,
        class_weights=training.optimisation.class_weights,
        seed=training.seed,
        progress=log.count,
    )
    log.end(f"frozen features tell the label of {reranked.accuracy:.1%} of the validation images")
    folder.keep("reranked", reranked.proposed.state())
    return reranked.proposed


def pooling_of(
    reader: Reader,
    proposed: Proposed,
    splits: Splits,
    training: Training,
    folder: RunFolder,
    log: PhaseLog,
) -> bool:
    """Let the votes be pooled as suits the labels; whether windows tell them together."""
    if (kept := folder.kept("pooling")) is None:
        log.begin("proposals", "whether one window tells the label, or several together")
        train, validation = strips_of(
            splits, proposed.first(WINDOWS), patch=reader.patch, validated=WINDOWS
        )
        found = choose_pooling(
            reader,
            train,
            validation,
            class_weights=training.optimisation.class_weights,
            seed=training.seed,
            progress=log.count,
        )
        log.end(str(found))
        folder.keep("pooling", vars(found))
    else:
        found = Pooling(**kept)
    found.apply(reader.vote)
    return found.joint


def proposal_halvings(images: Dataset, trunk: Trunk, beginning: Beginning) -> int:
    """How often images are halved before they are searched for proposals."""
    return reduction.halvings_for(sizes(images), trunk, _searched(beginning))


def _searched(beginning: Beginning) -> float:
    """Megapixels of an image that are searched for proposals."""
    return beginning.proposal_megapixels or reduction.MEGAPIXELS


def trunk_of_scorer(model: PatchClassifier) -> Trunk:
    """The scorer's frozen network, as a trunk for proposals.

    Raises:
        ValueError: the scorer has none.
    """
    scorer = model.scorer
    if not isinstance(scorer, BackboneScorer) or not scorer.frozen:
        raise ValueError("training begins with proposals only with a frozen pretrained scorer")
    return Trunk(scorer.network, mean=scorer.mean, deviation=scorer.std)
