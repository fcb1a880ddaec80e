"""Which weights a training starts from, and whether it can begin with proposals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foveal.errors import DownloadFailed, UserError
from foveal.settings import Beginning, Model

if TYPE_CHECKING:
    from foveal.data import Dataset
    from foveal.models import PatchClassifier

SCRATCH = "thin"  # the encoder that has no pretrained weights
_CELLS = 4  # of an encoder's last map along a side of a patch
_SCORER_STRIDE = 8  # pixels of the view
_SCORER_WIDTH = 64
_ZOOM = 1.5
_SEEN = 96  # pixels of an enlarged patch from which on it is not enlarged further


@dataclass(frozen=True)
class WeightsSource:
    """Where weights come from.

    Attributes:
        pretrained: whether there are pretrained weights, from a file or timm's hub.
        notes: a warning where they were wanted and cannot be had.
    """

    pretrained: bool
    notes: tuple[str, ...] = ()


def weights_source(model: Model) -> WeightsSource:
    """Find out whether pretrained weights are wanted and can be had."""
    from foveal.nn.backbones import backbone

    if model.encoder == SCRATCH or not model.pretrained:
        return WeightsSource(False)
    if model.weights is not None:
        return WeightsSource(True)
    try:
        backbone(model.encoder, 0, pretrained=True)
    except DownloadFailed as error:
        return WeightsSource(
            False,
            (
                f"warning: training starts from random weights, which take far more images and "
                f"time: {error}",
            ),
        )
    return WeightsSource(True)


def infer_networks(model: Model, image: tuple[int, int]) -> Model:
    """Fill in which feature maps of which networks are used, and how far windows are apart.

    Args:
        model: with view and patch.
        image: typical height and width.
    """
    from foveal.nn.backbones import stage_by_stride

    assert isinstance(model.patch, int)
    stage = model.encoder_stage
    if stage is None and model.encoder == SCRATCH:
        stage = -1
    elif stage is None:
        stage = stage_by_stride(model.encoder, model.patch / _CELLS, model.weights)
    zoom = model.zoom or (_zoom(model.patch) if model.pretrained else 1.0)
    pool = model.encoder_pool or ("avgmax" if model.pretrained else "mean")
    apart = _apart(model, image)
    model = replace(model, encoder_stage=stage, zoom=zoom, encoder_pool=pool, apart=apart)
    if not model.pretrained or model.scorer is not None:
        return model
    return replace(
        model,
        scorer=model.encoder,
        scorer_stage=stage_by_stride(model.encoder, _SCORER_STRIDE, model.weights),
        scorer_width=_SCORER_WIDTH,
        freeze_scorer=True,
    )


def _zoom(patch: int) -> float:
    """Pretrained networks expect things larger; what is large already only takes more time.

    >>> _zoom(64), _zoom(80), _zoom(128)
    (1.5, 1.2, 1.0)
    """
    return round(min(_ZOOM, max(1.0, _SEEN / patch)), 2)


def _apart(model: Model, image: tuple[int, int]) -> int:
    """Half a patch in cells of the scorer's map, where it has a pretrained network."""
    if model.apart is not None or not model.pretrained:
        return model.apart or 0
    assert model.view is not None
    assert isinstance(model.patch, int)
    scale = min(view / side for view, side in zip(model.view, image, strict=True))
    if model.glances == 2 and model.closer is not None:
        scale *= model.closer  # the map that windows are selected in
    return max(1, round(model.patch * scale / 2 / _SCORER_STRIDE))


def possible(beginning: Beginning, model: Model) -> bool:
    """Whether training begins with proposals, which come from a frozen pretrained scorer."""
    return beginning.begin and model.pretrained and model.freeze_scorer and model.scorer != "conv"


def nothing_here(beginning: Beginning, classes: Sequence[str]) -> Beginning:
    """Fill in which class means that there is nothing to find, by its name if it is not given.

    Raises:
        UserError: there is no such class.
    """
    from foveal.data.folder import class_names
    from foveal.data.folder.table import shorten

    if beginning.nothing is None:
        return replace(beginning, nothing=class_names.nothing_here(classes) or "")
    if beginning.nothing and beginning.nothing not in classes:
        raise UserError(
            f"--nothing {beginning.nothing}: there is no such class: choose one of "
            f"{shorten(classes)}"
        )
    return beginning


def nothing_to_find(beginning: Beginning | None) -> tuple[str, ...]:
    """A remark where a class is taken to mean that there is nothing to find."""
    if beginning is None or not beginning.nothing:
        return ()
    return (
        f"class {beginning.nothing}: nothing is looked for in its images; if something in them "
        "tells the class, train with --nothing ''",
    )


def searched_small(
    beginning: Beginning | None, network: "PatchClassifier", images: "Dataset"
) -> tuple[str, ...]:
    """A remark where images are so large that they are shrunk before they are searched."""
    if beginning is None:
        return ()
    from foveal.phases.preparing import proposal_halvings, trunk_of_scorer
    from foveal.proposals.reduction import describe

    halvings = proposal_halvings(images, trunk_of_scorer(network), beginning)
    if not halvings:
        return ()
    return (
        f"proposals are searched for in the images at {describe(halvings)}, to save time; what is "
        "too small to be seen there is not proposed (--proposal-megapixels)",
    )


def left_out(beginning: Beginning, model: Model) -> tuple[str, ...]:
    """A remark where the first phases were wanted and had pretrained weights, but no scorer."""
    if possible(beginning, model) or not (beginning.begin and model.pretrained):
        return ()
    return (
        "training begins end to end: proposals need the features of a pretrained scorer with "
        "--freeze-scorer",
    )
