"""Progress of a run: what a checkpoint holds beside weights and optimiser."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from foveal.errors import UserError
from foveal.evaluation import Report
from foveal.runs.folder import Row
from foveal.runs.stored import validated


class Outcome(NamedTuple):
    """Result of a step, over all devices.

    Attributes:
        loss: mean over the images.
        correct: number of images with a correct prediction.
        images: number of images.
        finite: whether loss and gradient were finite; if not, the step was skipped.
        scorer_gradient: norm of the scorer's gradient, None for a model without a scorer.
        stop: whether a process was asked to stop.
    """

    loss: float
    correct: float
    images: float
    finite: bool
    scorer_gradient: float | None
    stop: bool


@dataclass
class State:
    """Progress of a run. Checkpoints hold the attributes by name.

    Attributes:
        step: number of steps made.
        seconds: time taken, validations included.
        skipped: number of steps in a row whose loss or gradient was not finite, as far as is known.
        best_loss: validation loss of the best checkpoint, infinite before the first.
        stale: number of validations since that one.
        images: number of training images since the last row of metrics.csv, as far as their steps
            were read; so are the following.
        counted: number of those images in steps that were not skipped.
        correct: number of counted images with a correct prediction.
        loss: sum of the losses of the counted images.
        busy: seconds the steps took.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_loss: float = math.inf
    stale: int = 0
    images: float = 0.0
    counted: float = 0.0
    correct: float = 0.0
    loss: float = 0.0
    busy: float = 0.0

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "State":
        """Restore the state that `to_dict` returned.

        Raises:
            KeyError: an attribute is missing.
            UserError: one is of another type.
        """
        saved = {"stale": 0} | saved  # earlier checkpoints do not have it
        known = {field.name: saved[field.name] for field in fields(cls)}
        state: State = validated(known, cls, "state")
        if state.step < 0:
            raise UserError(f"state.step: must be 0 or more: got {state.step}")
        return state

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return asdict(self)

    def add_step(self, seconds: float) -> None:
        """Count a step and the time it took."""
        self.step += 1
        self.add_seconds(seconds)

    def add_seconds(self, seconds: float) -> None:
        """Count time of training."""
        self.busy += seconds
        self.seconds += seconds

    def add(self, outcome: Outcome) -> None:
        """Count the result of a step, once it is known."""
        self.skipped = 0 if outcome.finite else self.skipped + 1
        self.images += outcome.images
        if outcome.finite:
            self.counted += outcome.images
            self.correct += outcome.correct
            self.loss += outcome.loss * outcome.images

    @property
    def mean_loss(self) -> float | None:
        """Mean loss of the training images since the last row."""
        return self.loss / self.counted if self.counted else None

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the training images since the last row."""
        return self.correct / self.counted if self.counted else None

    @property
    def images_per_second(self) -> float:
        """Training images per second since the last row."""
        return self.images / max(self.busy, 1e-9)

    def improves(self, report: Report) -> bool:
        """Whether a validation has the lowest loss so far, or equals it; remembers that loss.

        The accuracy on a few hundred images depends on a few of them; the loss weighs them all.
        """
        better = report.loss <= self.best_loss
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best_loss = report.loss
        return better

    def stalls(self, patience: int) -> bool:
        """Whether so many validations in a row did not improve; 0: never."""
        return 0 < patience <= self.stale

    def row(
        self,
        learning_rate: float,
        sigma: float | None,
        report: Report | None = None,
        score_entropy: float | None = None,
    ) -> Row:
        """Return a row of metrics and reset the sums."""
        row: Row = {
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "loss": self.mean_loss,
            "accuracy": self.accuracy,
            "learning_rate": learning_rate,
            "sigma": sigma,
            "images_per_second": round(self.images_per_second, 3),
            "validation_loss": report.loss if report else None,
            "validation_accuracy": report.accuracy if report else None,
            "validation_balanced_accuracy": report.balanced_accuracy if report else None,
            "validation_hit_rate": report.hit_rate if report else None,
            "validation_hit_all_rate": report.hit_all_rate if report else None,
            "validation_score_entropy": score_entropy,
        }
        self.images = self.counted = self.correct = self.loss = self.busy = 0.0
        return row
