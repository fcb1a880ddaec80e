"""What the phases of a training learned, as the page shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Int
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor

from foveal.images import Image
from foveal.report.drawing import BOX, WINDOW, edged, enlarged, in_picture, outline, rgb

_LONGEST = 640  # pixels of a picture


@dataclass(frozen=True)
class BeforeAfter:
    """Windows of one image before and after training.

    Attributes:
        file: name of the image; shown as text, never as HTML.
        truth: its class, "" if unknown.
        before: with the best proposals, which frozen features made.
        after: with the windows that the trained model looks at.
        hit_before: whether a proposal covers a box; None without boxes.
        hit_after: likewise after training.
    """

    file: str
    truth: str
    before: Pillow.Image
    after: Pillow.Image
    hit_before: bool | None = None
    hit_after: bool | None = None


@dataclass(frozen=True)
class Learning:
    """What each phase of a training came to.

    Attributes:
        exemplars: places of training images by what they told before training, most telling first.
        pairs: some images before and after training.
        reading: rows of metrics.csv of the phase that reads proposed windows.
        seconds: that each phase took, in order.
    """

    exemplars: Mapping[str, Sequence[Pillow.Image]] = field(default_factory=dict)
    pairs: Sequence[BeforeAfter] = ()
    reading: Sequence[Mapping[str, object]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def windows_on(
    image: Image, windows: Int[Tensor, "k 4"], boxes: Int[Tensor, "n 4"] | None = None
) -> Pillow.Image:
    """The image with a longer side of about 640 px, with windows, and boxes dashed.

    Args:
        image: of any size.
        windows: top left bottom right in pixels of the image.
        boxes: likewise.
    """
    height, width = image.size
    scale = min(1.0, _LONGEST / max(height, width))
    seen = rgb(image.view((max(1, round(height * scale)), max(1, round(width * scale)))))
    times = max(1, _LONGEST // max(seen.size))
    picture = edged(enlarged(seen, (seen.width * times, seen.height * times)))
    scales = (picture.height / height, picture.width / width)
    draw = ImageDraw.Draw(picture)
    outline(draw, [in_picture(each, scales) for each in windows.tolist()], WINDOW)
    if boxes is not None:
        outline(draw, [in_picture(each, scales) for each in boxes.tolist()], BOX, dash=6)
    return picture
