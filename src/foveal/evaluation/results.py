"""The result of one image."""

from dataclasses import dataclass

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
    """

    file: str
    label: LabelName
    probability: float
    probabilities: dict[str, float]
    windows: list[Window]
    truth: LabelName | None = None
    error: str | None = None
