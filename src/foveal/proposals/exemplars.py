"""Which cells tell a label: each is tried as a detector, and judged by how it ranks images.

Candidates are the rare cells of all images, and the centres of common ones, for evidence that is
not rare. A candidate answers to an image with its largest similarity to any cell of the image, as
far as the survey kept these. Those whose first images bear one label are kept (`purity`): the
exemplars. How far they can be trusted is measured on images not used: exemplars are chosen without
one fold, and rank the images of that fold.

References:
    Singh, Gupta, Efros: Unsupervised discovery of mid-level discriminative patches, ECCV 2012.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveal.proposals.ranking import auc, purity
from foveal.proposals.survey import Survey

_CANDIDATES = 40_000  # most cells that are tried as exemplars
_COMPARABLE = 0.5  # least purity of an exemplar beside the best one's
_AT_ONCE = 2**24  # most similarities in memory


@dataclass(frozen=True)
class Question:
    """Which images bear a label.

    Attributes:
        name: for people: "cat", or "not cat".
        positive: of each image.
    """

    name: str
    positive: Bool[Tensor, "n"]


@dataclass(frozen=True)
class Detector:
    """The exemplars of one question.

    Attributes:
        candidates: (E,) their numbers, the best first.
        nats: (E,) the purity of each.
        mean: (E,) of the similarity to the images that do not bear the label.
        deviation: (E,) of the same.
    """

    candidates: Int[Tensor, "E"]
    nats: Float[Tensor, "E"]
    mean: Float[Tensor, "E"]
    deviation: Float[Tensor, "E"]


class Trial:
    """Cells of n images as candidate exemplars, and how purely each ranks the images.

    Args:
        survey: of the images.
        centres: (c, d) of the survey's common cells.
        questions: asked of all images.
        folds: fold number of each image.
        groups: group number of each image. A candidate does not rank its own group.
        within: compare the images of a group with each other only.

    Memory: at most 40 000 candidates, 2^24 similarities at a time.
    """

    def __init__(
        self,
        survey: Survey,
        centres: Float[Tensor, "c d"],
        questions: list[Question],
        *,
        folds: Int[Tensor, "n"],
        groups: Int[Tensor, "n"],
        within: bool,
    ) -> None:
        n, count, _ = survey.cells.shape
        self.survey, self.questions, self.within = survey, questions, within
        self.folds, self.groups = folds, groups
        per_image = max(min(count, _CANDIDATES // n), 1)
        rare = survey.cells[:, :per_image].flatten(0, 1)
        self.cells = torch.cat((centres, rare))  # (E, d)
        self.first = len(centres)  # number of the first rare cell
        images = torch.arange(n, device=folds.device).repeat_interleave(per_image)
        self.image = torch.cat((images.new_full((self.first,), -1), images))  # (E,); -1: none
        self.places = survey.places[:, :per_image].flatten(0, 1)  # (E - c, 2)
        self.positive = torch.zeros(n, len(questions), dtype=torch.bool, device=folds.device)
        for number, question in enumerate(questions):
            self.positive[:, number] = question.positive
        self.parts = [*torch.unique(folds).tolist(), None]  # the fold left out; None: none
        self.nats = self._judge()  # (parts, E, q)

    def responses(self, candidates: Int[Tensor, "E"]) -> Float[Tensor, "E n"]:
        """The largest similarity of each candidate to a cell of each image."""
        _, count, width = self.survey.cells.shape
        cells = self.cells[candidates]
        images = max(_AT_ONCE // (max(len(cells), 1) * count), 1)
        parts = [
            (cells @ part.reshape(-1, width).T).view(len(cells), len(part), count).amax(dim=2)
            for part in torch.split(self.survey.cells, images)
        ]
        to_rare = torch.cat(parts, dim=1)  # (E, n)
        is_centre = candidates < self.first
        to_rare[is_centre] = self.survey.common[:, candidates[is_centre]].T
        return to_rare

    def where(self, candidate: int, question: int) -> tuple[int, Int[Tensor, "2"]]:
        """Number of an image that shows a candidate, one with the label, and its row and column."""
        if candidate >= self.first:
            return int(self.image[candidate]), self.places[candidate - self.first]
        common = self.survey.common[:, candidate]
        image = int(common.masked_fill(~self.positive[:, question], -torch.inf).argmax())
        return image, self.survey.common_places[image, candidate]

    def detector(self, question: int, left_out: int | None, count: int) -> Detector:
        """The purest candidates, centres or from positive images, without the images of a fold."""
        part = self.parts.index(left_out)
        seen = self.folds != (-1 if left_out is None else left_out)
        positive = self.positive[:, question]
        allowed = (positive & seen)[self.image] | (self.image < 0)
        nats = self.nats[part, :, question].masked_fill(~allowed, -torch.inf)
        best = nats.topk(min(count, len(nats)))
        least = max(_COMPARABLE * float(best.values[0]), 1e-6)
        chosen = best.indices[best.values >= least]
        if len(chosen) == 0:
            nothing = nats[:0]
            return Detector(chosen, nothing, nothing, nothing)
        against = self.responses(chosen)[:, seen & ~positive]
        return Detector(
            chosen,
            self.nats[part, chosen, question],
            against.mean(dim=1),
            against.std(dim=1, correction=0).clamp(min=1e-3),
        )

    def heights(self, detector: Detector) -> Float[Tensor, "n"]:
        """The most evidence in each image, in deviations above images without the label."""
        if len(detector.candidates) == 0:
            return self.nats.new_zeros(len(self.folds))
        responses = self.responses(detector.candidates)
        standard = (responses - detector.mean[:, None]) / detector.deviation[:, None]
        return standard.amax(dim=0)

    def proof(self, question: int, count: int) -> tuple[float, float, Float[Tensor, "n"]]:
        """AUC on images not used, its deviation by chance, and the heights of these images."""
        heights = self.nats.new_zeros(len(self.folds))
        for fold in self.parts[:-1]:
            inside = self.folds == fold
            heights[inside] = self.heights(self.detector(question, fold, count))[inside]
        strata = self.folds
        if self.within:
            strata = strata * (int(self.groups.max()) + 1) + self.groups
        area, deviation = auc(heights, self.positive[:, question], strata)
        return area, deviation, heights

    def _judge(self) -> Float[Tensor, "parts E q"]:
        n, count, _ = self.survey.cells.shape
        chunk = max(_AT_ONCE // (n * count), 1)
        everyone = torch.arange(len(self.cells), device=self.image.device)
        judged = []
        for some in torch.split(everyone, chunk):
            responses = self.responses(some)
            own = self.groups[self.image[some]][:, None] == self.groups  # (E, n)
            own &= self.image[some][:, None] >= 0
            if self.within:
                responses = responses - self._group_means(responses)
            responses = responses.masked_fill(own, -torch.inf)
            parts = []
            for fold in self.parts:
                seen = self.folds != (-1 if fold is None else fold)
                parts.append(purity(responses[:, seen], self.positive[seen]))
            judged.append(torch.stack(parts))
        return torch.cat(judged, dim=1)

    def _group_means(self, responses: Float[Tensor, "E n"]) -> Float[Tensor, "E n"]:
        """The mean response to the images of each image's group."""
        sizes = torch.bincount(self.groups).clamp(min=1)
        sums = responses.new_zeros(len(responses), len(sizes))
        sums.index_add_(1, self.groups, responses)
        means: Tensor = (sums / sizes)[:, self.groups]
        return means
