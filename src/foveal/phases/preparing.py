"""What comes before reading: a classifier of the view, proposals, and what these tell.

Each keeps its result in the run's folder, and is not done twice.
"""

from dataclasses import dataclass

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
from foveal.settings import Beginning, Precision, Training


@dataclass(frozen=True)
class Preparation:
    """What comes before reading, for one run.

    Attributes:
        splits: the images.
        training: of the last phase, for its seed and class weights.
        beginning: the earlier phases.
        folder: of the run.
        log: where they report to.
        precision: that frozen networks compute with.
    """

    splits: Splits
    training: Training
    beginning: Beginning
    folder: RunFolder
    log: PhaseLog
    precision: Precision = "auto"

    def view_classifier(self, model: PatchClassifier) -> FittedHead | None:
        """A classifier of the small view, to compare with and to add to the answer."""
        if not (self.beginning.baseline or self.beginning.global_head):
            return None
        if (kept := self.folder.kept("global_head")) is not None:
            return FittedHead(**kept)
        self.log.begin("baseline", "a linear classifier of the small view")
        fitted = fit_global_head(
            model, self.splits, self._class_weights, self.log.count, self.precision
        )
        self.folder.keep("baseline", fitted.figures)
        self.folder.keep("global_head", vars(fitted))
        self.log.end(f"balanced accuracy {fitted.balanced_accuracy:.1%}")
        return fitted

    def proposals(self, model: PatchClassifier) -> Proposed:
        """Windows that may show the evidence, in all images."""
        if (kept := self.folder.kept("proposals")) is not None:
            return Proposed.from_state(kept["windows"])
        trunk, images = trunk_of_scorer(model).rounded(self.precision), self.splits.train
        halvings = proposal_halvings(images, trunk, self.beginning)
        where = f" at {reduction.describe(halvings)}" if halvings else ""
        self.log.begin("proposals", f"what tells the labels, in {len(images)} images{where}")
        nothing = self.beginning.nothing
        found, proposed = propose(
            self.splits,
            trunk,
            patch=model.patch[0],
            count=self.beginning.proposals,
            nothing=images.classes.index(nothing) if nothing else None,
            seed=self.training.seed,
            megapixels=_searched(self.beginning),
            progress=self.log.count,
        )
        self.log.end(proposed.summary)
        self.folder.keep("proposals", {"found": found.state(), "windows": proposed.state()})
        return proposed

    def reranked(self, reader: Reader, proposed: Proposed) -> Proposed:
        """The proposed windows, those first whose frozen features tell the labels."""
        if (kept := self.folder.kept("reranked")) is not None:
            return Proposed.from_state(kept)
        self.log.begin("proposals", "re-ranked by what their frozen features tell")
        found = rerank(
            reader,
            proposed,
            *strips_of(
                self.splits, proposed, patch=reader.patch, validated=len(proposed.validation[0])
            ),
            class_weights=self._class_weights,
            seed=self.training.seed,
            progress=self.log.count,
        )
        told = f"{found.accuracy:.1%} of the validation images"
        self.log.end(f"frozen features tell the label of {told}")
        self.folder.keep("reranked", found.proposed.state())
        return found.proposed

    def pooling(self, reader: Reader, proposed: Proposed) -> Pooling:
        """Whether one window tells the label, or several together."""
        if (kept := self.folder.kept("pooling")) is not None:
            return Pooling(**kept)
        self.log.begin("proposals", "whether one window tells the label, or several together")
        first = proposed.first(WINDOWS)
        found = choose_pooling(
            reader,
            *strips_of(self.splits, first, patch=reader.patch, validated=WINDOWS),
            class_weights=self._class_weights,
            seed=self.training.seed,
            progress=self.log.count,
        )
        self.log.end(str(found))
        self.folder.keep("pooling", vars(found))
        return found

    @property
    def _class_weights(self) -> tuple[float, ...] | None:
        return self.training.optimisation.class_weights


def proposal_halvings(images: Dataset, trunk: Trunk, beginning: Beginning) -> int:
    """How often images are halved before they are searched for proposals."""
    return reduction.halvings_for(sizes(images), trunk, _searched(beginning))


def _searched(beginning: Beginning) -> float:
    """Megapixels of an image that are searched for proposals."""
    return beginning.proposal_megapixels or reduction.MEGAPIXELS


def trunk_of_scorer(model: PatchClassifier) -> Trunk:
    """The scorer's frozen network, as a trunk for proposals, which masks what the model does.

    Raises:
        ValueError: the scorer has none.
    """
    scorer = model.scorer
    if not isinstance(scorer, BackboneScorer) or not scorer.frozen:
        raise ValueError("training begins with proposals only with a frozen pretrained scorer")
    return Trunk(scorer.network, mean=scorer.mean, deviation=scorer.std).masked(model.mask)
