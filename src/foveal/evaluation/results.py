"""The result of one image, and what comes of changed looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveal.data.labels import LabelName

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Result:
    """The prediction for one image, in plain values.

    Attributes:
        file: name of the image.
        label: the most probable class; for multi-label models the tuple of all classes with a
            probability above one half; "" where there is an error.
        probability: probability of the label, in [0, 1]; for a tuple, of exactly this set.
        probabilities: class -> probability; they sum to one unless the model is multi-label.
        windows: the windows of the K patches, top left bottom right in pixels of the image, end
            excluded.
        truth: the true class, or the tuple of the true classes in the model's order, if known.
        error: why there is no prediction, in one line, or None.
        size: (height, width) of the image in pixels; None where there is an error.
    """

    file: str
    label: LabelName
    probability: float
    probabilities: dict[str, float]
    windows: list[Window]
    truth: LabelName | None = None
    error: str | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Looks:
    """Whether the looks of a model matter; see `foveal.evaluation.evidence`.

    Attributes:
        variants: accuracy and balanced accuracy by what is changed: alone, blanked, soft, hard.
        untrained_hit_rate: mean hit rate of untrained scorers; None without boxes.
    """

    variants: Mapping[str, tuple[float, float]]
    untrained_hit_rate: float | None

    def summary(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        figures: dict[str, Any] = {
            name: {"accuracy": accuracy, "balanced_accuracy": balanced}
            for name, (accuracy, balanced) in self.variants.items()
        }
        return figures | {"untrained_hit_rate": self.untrained_hit_rate}
