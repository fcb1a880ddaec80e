"""From exemplars of every question to one evidence map, each as far as it proves itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.images import Image
from foveal.proposals.background import Background
from foveal.proposals.exemplars import Detector, Trial
from foveal.proposals.findings import Exemplar, Finding
from foveal.proposals.found import Proposals
from foveal.proposals.places import windows_about
from foveal.proposals.survey import Survey
from foveal.proposals.trunk import Trunk

_EXEMPLARS = 30  # per question
_WINDOWS = 64  # per mined image
_SHOWN = 12  # exemplars per question to look at
_SURE = 3.0  # deviations of chance that an AUC must exceed one half by
_LEAST = 0.15  # and by how much at least
_COMPARABLE = 0.5  # least weight of a question beside the best one's


class _Answer(NamedTuple):
    """The exemplars of a question, the weight it earned, and the scale of its evidence."""

    finding: Finding
    question: int
    detector: Detector
    mean: Tensor
    deviation: Tensor


def combine(
    trial: Trial,
    trunk: Trunk,
    background: Background,
    patch: tuple[int, int],
    images: Sequence[Image],
) -> Proposals:
    """Evidence in deviations above images without the label, the largest over the questions.

    A question counts by the surplus of its AUC over one half and three deviations of chance. Of a
    class and its opposite only the better counts: evidence for "nothing here" is none. Questions
    worth less than half of the best are left out.
    """
    answers = sorted(_weighed(_answers(trial), trial), key=lambda each: -_surplus(each.finding))
    used = [answer for answer in answers if answer.finding.weight > 0]
    rest = torch.ones(len(images), dtype=torch.bool, device=trial.positive.device)
    for answer in used:
        rest &= ~trial.questions[answer.question].positive
    parts = [_exemplars(trial, answer) for answer in used]
    width = trial.cells.shape[1]
    empty = trial.cells.new_zeros(0)
    found = Proposals(
        trunk,
        background,
        patch=patch,
        cells=torch.cat([cells for cells, _, _ in parts]) if parts else empty.view(0, width),
        gain=torch.cat([gain for _, gain, _ in parts]) if parts else empty,
        bias=torch.cat([bias for _, _, bias in parts]) if parts else empty,
        findings=[answer.finding for answer in answers],
        exemplars=[each for answer in used for each in _shown(trial, answer, trunk, patch, images)],
        complete=bool(used) and len(torch.unique(trial.positive[rest], dim=0)) <= 1,
    )
    found.rest = tuple(rest.nonzero()[:, 0].tolist())
    found.mined = tuple(
        _windows(found, trial.survey, number, images[number].size) for number in range(len(images))
    )
    return found


def _windows(
    found: Proposals, survey: Survey, image: int, size: tuple[int, int]
) -> Int[Tensor, "Q 4"]:
    """Windows about the rare cells of an image that was mined."""
    cells = survey.rare[image].float()
    rank = -torch.arange(len(cells), device=cells.device, dtype=cells.dtype)  # the rarest first
    evidence = found.similarity(cells) if found.trusted else rank
    count = min(_WINDOWS, len(cells))
    return found.choose(survey.rare_places[image].long(), evidence, rank, size, count).cpu()


def _answers(trial: Trial) -> list[_Answer]:
    found = []
    for number, question in enumerate(trial.questions):
        detectors = trial.detectors(number, _EXEMPLARS)
        area, deviation, heights = trial.proof(number, detectors)
        against = heights[~question.positive]
        images = int(question.positive.sum())
        found.append(
            _Answer(
                Finding(question.name, area, deviation, images, weight=0.0),
                number,
                detectors[None],
                against.mean(),
                against.std().clamp(min=1e-3),
            )
        )
    return found


def _surplus(finding: Finding) -> float:
    """How far the AUC exceeds what chance gives."""
    return finding.auc - 0.5 - _SURE * finding.deviation


def _weighed(answers: list[_Answer], trial: Trial) -> list[_Answer]:
    """The answers with the weights they earned."""
    best = max((_surplus(answer.finding) for answer in answers), default=0.0)
    found = []
    for answer in answers:
        finding = answer.finding
        positive = trial.questions[answer.question].positive
        opposite = max(
            (
                _surplus(other.finding)
                for other in answers
                if torch.equal(trial.questions[other.question].positive, ~positive)
            ),
            default=-1.0,
        )
        surplus = _surplus(finding)
        proven = surplus > 0 and finding.auc >= 0.5 + _LEAST
        if proven and surplus > opposite and surplus >= _COMPARABLE * best:
            answer = answer._replace(finding=replace(finding, weight=min(2 * surplus, 1.0)))
        found.append(answer)
    return found


def _exemplars(trial: Trial, answer: _Answer) -> tuple[Tensor, Tensor, Tensor]:
    """Cells, gain and bias: deviations of the exemplar, then of the evidence, times the weight."""
    detector, weight = answer.detector, answer.finding.weight
    gain = weight / (detector.deviation * answer.deviation)
    bias = -detector.mean * gain - weight * answer.mean / answer.deviation
    return trial.cells[detector.candidates], gain, bias


def _shown(
    trial: Trial,
    answer: _Answer,
    trunk: Trunk,
    patch: tuple[int, int],
    images: Sequence[Image],
) -> list[Exemplar]:
    """The purest exemplars of a question, cut out of their images."""
    found: list[Exemplar] = []
    chosen = answer.detector.candidates[:_SHOWN]
    nats = answer.detector.nats[:_SHOWN].tolist()
    for candidate, each in zip(chosen.tolist(), nats, strict=True):
        number, place = trial.where(candidate, answer.question)
        image = images[number]
        window = windows_about(place[None], trunk, patch, image.size)[0].tolist()
        size = (window[2] - window[0], window[3] - window[1])
        crop = image.crops(torch.tensor([window]), size)[0]
        pixels = (crop * 255).round().to(torch.uint8).cpu()
        top, left, bottom, right = window
        shown = (top, left, bottom, right)
        found.append(Exemplar(answer.finding.question, number, shown, each, pixels))
    return found
