"""Which cells tell a label: each is tried as a detector, and judged by how it ranks images.

Candidates are the rare cells of all images, and the centres of common ones, for evidence that is
not rare. A candidate answers to an image with its largest similarity to any cell of the image, as
far as the survey kept these. Those whose first images bear one label are kept (`purity`): the
exemplars. All are tried on the peaks of rarity first, then a shortlist on all cells that were kept.
How far a question can be trusted is measured on images not used: exemplars are chosen without one
fold, and rank the images of that fold.

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
_SHORTLIST = 100  # candidates of a question that are tried on all cells
_COMPARABLE = 0.5  # least purity of an exemplar beside the best one's
_LEAST = 1e-6  # nats
_AT_ONCE = 2**24  # most similarities in memory


@dataclass(frozen=True)
class Question:
    """Which images bear a label.

    Attributes:
        name: for people: "cat", or "not cat".
        positive: of each image.
    """

    name: str
    positive: Bool[Tensor, " n"]


@dataclass(frozen=True)
class Detector:
    """The exemplars of one question, and how they answer to all images.

    Attributes:
        candidates: (E,) their numbers, the best first.
        nats: (E,) the purity of each.
        mean: (E,) of the similarity to the images that do not bear the label.
        deviation: (E,) of the same.
        heights: (n,) the most evidence in each image, in such deviations above such means.
    """

    candidates: Int[Tensor, " E"]
    nats: Float[Tensor, " E"]
    mean: Float[Tensor, " E"]
    deviation: Float[Tensor, " E"]
    heights: Float[Tensor, " n"]


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
        folds: Int[Tensor, " n"],
        groups: Int[Tensor, " n"],
        within: bool,
    ) -> None:
        n, count, _ = survey.peaks.shape
        self.survey, self.questions, self.within = survey, questions, within
        self.folds, self.groups = folds, groups
        per_image = max(min(count, _CANDIDATES // n), 1)
        self.cells = torch.cat((centres, survey.peaks[:, :per_image].flatten(0, 1)))  # (E, d)
        self.first = len(centres)  # number of the first candidate that is a peak
        images = torch.arange(n, device=folds.device).repeat_interleave(per_image)
        self.image = torch.cat((images.new_full((self.first,), -1), images))  # (E,); -1: none
        self.places = survey.places[:, :per_image].flatten(0, 1)  # (E - c, 2)
        self.positive = torch.zeros(n, len(questions), dtype=torch.bool, device=folds.device)
        for number, question in enumerate(questions):
            self.positive[:, number] = question.positive
        self.parts = [*torch.unique(folds).tolist(), None]  # the fold left out; None: none
        self.nats = self._judge_all()  # (parts, E, q)

    def responses(
        self, candidates: Int[Tensor, " E"], among: Float[Tensor, "n m d"] | None = None
    ) -> Float[Tensor, "E n"]:
        """The largest similarity of each candidate to a cell of each image.

        Args:
            candidates: their numbers.
            among: cells of each image; None: all that were kept.
        """
        bank = self.survey.rare if among is None else among
        cells = self.cells[candidates]
        images = max(_AT_ONCE // (max(len(cells), 1) * bank.shape[1]), 1)
        parts = [
            (cells @ part.float().flatten(0, 1).T).view(len(cells), len(part), -1).amax(dim=2)
            for part in torch.split(bank, images)
        ]
        to_rare = torch.cat(parts, dim=1)  # (E, n)
        is_centre = candidates < self.first
        to_rare[is_centre] = self.survey.common[:, candidates[is_centre]].T
        return to_rare

    def where(self, candidate: int, question: int) -> tuple[int, Int[Tensor, " 2"]]:
        """Number of an image that shows a candidate, one with the label, and its row and column."""
        if candidate >= self.first:
            return int(self.image[candidate]), self.places[candidate - self.first]
        common = self.survey.common[:, candidate]
        image = int(common.masked_fill(~self.positive[:, question], -torch.inf).argmax())
        return image, self.survey.common_places[image, candidate]

    def detectors(self, question: int, count: int) -> dict[int | None, Detector]:
        """The purest candidates, by the fold left out; None: of all images."""
        lists = [self._shortlist(question, part) for part in range(len(self.parts))]
        union = torch.unique(torch.cat(lists))
        answers = self.responses(union)  # (candidates, n)
        ranking = self._ranking(union, answers)
        positive = self.positive[:, question]
        found = {}
        for fold, own in zip(self.parts, lists, strict=True):
            seen = self._seen(fold)
            rows = torch.isin(union, own).nonzero()[:, 0]
            nats = purity(ranking[rows][:, seen], positive[seen, None])[:, 0]
            best = nats.topk(min(count, len(nats)))
            good = best.values >= (_COMPARABLE * best.values[:1]).clamp(min=_LEAST)
            chosen = rows[best.indices[good]]
            against = answers[chosen][:, seen & ~positive]
            found[fold] = _detector(union[chosen], best.values[good], answers[chosen], against)
        return found

    def proof(
        self, question: int, detectors: dict[int | None, Detector]
    ) -> tuple[float, float, Float[Tensor, " n"]]:
        """AUC on images not used, its deviation by chance, and the heights of these images."""
        heights = self.nats.new_zeros(len(self.folds))
        for fold in self.parts[:-1]:
            inside = self.folds == fold
            heights[inside] = detectors[fold].heights[inside]
        strata = self.folds
        if self.within:
            strata = strata * (int(self.groups.max()) + 1) + self.groups
        area, deviation = auc(heights, self.positive[:, question], strata)
        return area, deviation, heights

    def _seen(self, left_out: int | None) -> Bool[Tensor, " n"]:
        return self.folds != (-1 if left_out is None else left_out)

    def _shortlist(self, question: int, part: int) -> Int[Tensor, " E"]:
        """The best candidates by the peaks alone: centres, and peaks of positive images."""
        usable = self.positive[:, question] & self._seen(self.parts[part])
        allowed = usable[self.image] | (self.image < 0)
        nats = self.nats[part, :, question].masked_fill(~allowed, -torch.inf)
        best = nats.topk(min(_SHORTLIST, len(nats)))
        return best.indices[best.values > 0]

    def _judge_all(self) -> Float[Tensor, "parts E q"]:
        n, count, _ = self.survey.peaks.shape
        chunk = max(_AT_ONCE // (n * count), 1)
        everyone = torch.arange(len(self.cells), device=self.image.device)
        judged = []
        for some in torch.split(everyone, chunk):
            ranking = self._ranking(some, self.responses(some, self.survey.peaks))
            seen = [self._seen(fold) for fold in self.parts]
            parts = [purity(ranking[:, each], self.positive[each]) for each in seen]
            judged.append(torch.stack(parts))
        return torch.cat(judged, dim=1)

    def _ranking(
        self, candidates: Int[Tensor, " E"], responses: Float[Tensor, "E n"]
    ) -> Float[Tensor, "E n"]:
        """Responses without those to a candidate's own group, and within groups where asked."""
        own = self.groups[self.image[candidates]][:, None] == self.groups  # (E, n)
        own &= self.image[candidates][:, None] >= 0
        if self.within:
            sizes = torch.bincount(self.groups).clamp(min=1)
            sums = responses.new_zeros(len(responses), len(sizes))
            sums.index_add_(1, self.groups, responses)
            responses = responses - (sums / sizes)[:, self.groups]
        return responses.masked_fill(own, -torch.inf)


def _detector(
    candidates: Int[Tensor, " E"],
    nats: Float[Tensor, " E"],
    answers: Float[Tensor, "E n"],
    against: Float[Tensor, "E m"],
) -> Detector:
    """Exemplars on the scale of their answers to images without the label."""
    if len(candidates) == 0:
        return Detector(candidates, nats, nats, nats, answers.new_zeros(answers.shape[1]))
    mean = against.mean(dim=1)
    deviation = against.std(dim=1, correction=0).clamp(min=1e-3)
    heights = ((answers - mean[:, None]) / deviation[:, None]).amax(dim=0)
    return Detector(candidates, nats, mean, deviation, heights)
