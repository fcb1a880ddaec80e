"""What the folder of a run kept of its phases, to be shown beside what the model does now."""

from collections.abc import Sequence

import torch
from torch import nn

from foveal.data.labels import text
from foveal.evaluation import Input, box_hits
from foveal.models import PatchClassifier
from foveal.phases.phase_log import seconds_of
from foveal.phases.preparing import trunk_of_scorer
from foveal.proposals import Proposals
from foveal.report.drawing import rgb
from foveal.report.learning import BeforeAfter, Learning, windows_on
from foveal.report.looks import Look
from foveal.runs.folder import RunFolder

_PAIRS = 6  # images before and after


def learning(
    folder: RunFolder, model: nn.Module, asked: Sequence[Input], looks: Sequence[Look]
) -> Learning:
    """What each phase of a run came to; nothing where there were no phases.

    Args:
        folder: of the run.
        model: trained.
        asked: images.
        looks: what the model makes of each.
    """
    found = (folder.kept("proposals") or {}).get("found")
    if found is None or not isinstance(model, PatchClassifier):
        return Learning()
    proposals = Proposals.from_state(found, trunk_of_scorer(model))
    exemplars: dict[str, list[object]] = {}
    for each in proposals.exemplars:
        exemplars.setdefault(each.question, []).append(rgb(each.crop / 255))
    pairs = [_before_after(proposals, asked[i], looks[i]) for i in _chosen(asked, looks)]
    return Learning(
        exemplars=exemplars,  # type: ignore[arg-type]
        pairs=pairs,
        reading=RunFolder(folder.path / "phases" / "read").rows(),
        seconds=seconds_of(folder),
    )


def _chosen(asked: Sequence[Input], looks: Sequence[Look]) -> list[int]:
    """A few evenly spaced images, of those with boxes if there are any."""
    good = [i for i, look in enumerate(looks) if look.picture is not None]
    good = [i for i in good if asked[i].boxes is not None] or good
    count = min(_PAIRS, len(good))
    return [good[place * len(good) // count] for place in range(count)]


def _before_after(proposals: Proposals, asked: Input, look: Look) -> BeforeAfter:
    assert asked.image is not None
    after = torch.tensor(look.result.windows)
    cells = proposals.trunk.grid(asked.image.size)
    before = proposals.windows(asked.image, min(len(after), cells[0] * cells[1])).cpu()
    hits = box_hits(before, asked.boxes, asked.image.size)
    return BeforeAfter(
        file=look.result.file,
        truth="" if look.result.truth is None else text(look.result.truth),
        before=windows_on(asked.image, before, asked.boxes),
        after=windows_on(asked.image, after, asked.boxes),
        hit_before=None if hits is None else hits.some,
        hit_after=None if look.hits is None else look.hits.some,
    )
