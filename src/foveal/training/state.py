"""How far a run has come: what a checkpoint holds beside weights and optimiser."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from foveal.evaluation import Report
from foveal.runs.folder import Row


class Outcome(NamedTuple):
    """What a step came to, over all devices.

    Attributes:
        loss: mean over the images.
        correct: number of images whose label was right.
        images: number of images.
        finite: whether loss and gradient were; if not, the step was skipped.
        scorer_gradient: its norm, None for a model without a scorer.
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
    """How far a run has come.

    Attributes:
        step: steps made.
        seconds: time taken, validations included.
        skipped: steps in a row whose loss or gradient was not finite.
        best_loss: validation loss of the best checkpoint, infinite before there is one.
        images: seen since the last row of metrics; the next ones are about these images.
        counted: those of them in steps that were not skipped.
        correct: those of them whose label was right.
        loss: the sum of theirs.
        busy: seconds they took.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_loss: float = math.inf
    images: float = 0.0
    counted: float = 0.0
    correct: float = 0.0
    loss: float = 0.0
    busy: float = 0.0

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "State":
        """The state that `saved` returned."""
        return cls(**{field.name: saved[field.name] for field in fields(cls)})

    def saved(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def count(self, outcome: Outcome, seconds: float) -> None:
        """A step is done, and took so long."""
        self.step += 1
        self.skipped = 0 if outcome.finite else self.skipped + 1
        self.images += outcome.images
        self.busy += seconds
        self.seconds += seconds
        if outcome.finite:
            self.counted += outcome.images
            self.correct += outcome.correct
            self.loss += outcome.loss * outcome.images

    @property
    def mean_loss(self) -> float | None:
        """Of the training images since the last row."""
        return self.loss / self.counted if self.counted else None

    @property
    def accuracy(self) -> float | None:
        """On the training images since the last row."""
        return self.correct / self.counted if self.counted else None

    @property
    def rate(self) -> float:
        """Training images a second since the last row."""
        return self.images / max(self.busy, 1e-9)

    def improves(self, report: Report) -> bool:
        """Whether a validation has the lowest loss so far, or the same again. It is remembered.

        The accuracy of a few hundred images hangs on a few of them; the loss weighs them all.
        """
        better = report.loss <= self.best_loss
        if better:
            self.best_loss = report.loss
        return better

    def row(
        self,
        learning_rate: float,
        sigma: float | None,
        report: Report | None = None,
        score_entropy: float | None = None,
    ) -> Row:
        """A row of metrics; the sums begin anew."""
        row: Row = {
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "loss": self.mean_loss,
            "accuracy": self.accuracy,
            "learning_rate": learning_rate,
            "sigma": sigma,
            "images_per_second": round(self.rate, 3),
            "validation_loss": report.loss if report else None,
            "validation_accuracy": report.accuracy if report else None,
            "validation_balanced_accuracy": report.balanced_accuracy if report else None,
            "validation_hit_rate": report.hit_rate if report else None,
            "validation_hit_all_rate": report.hit_all_rate if report else None,
            "validation_score_entropy": score_entropy,
        }
        self.images = self.counted = self.correct = self.loss = self.busy = 0.0
        return row
