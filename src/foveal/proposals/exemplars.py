"""Which rare cells tell a label: each is tried as a detector, and judged by how it ranks images.

An exemplar answers to an image with its largest similarity to any of the image's rare cells. Those
whose first images bear one label are kept (`purity`). How far a question can be trusted is measured
on images not used: exemplars are chosen without one fold, and rank the images of that fold.

References:
    Singh, Gupta, Efros: Unsupervised discovery of mid-level discriminative patches, ECCV 2012.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveal.proposals.ranking import auc, purity
from foveal.proposals.survey import RareCells

_CANDIDATES = 40_000  # most cells that are tried as exemplars
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
    """Rare cells of n images as candidate exemplars, and how purely each ranks the images.

    Args:
        rare: the images' rare cells.
        questions: asked of all images.
        folds: fold number of each image.
        groups: group number of each image. A candidate does not rank its own group.
        within: compare the images of a group with each other only.

    Memory: at most 40 000 candidates, 2^24 similarities at a time.
    """

    def __init__(
        self,
        rare: RareCells,
        questions: list[Question],
        *,
        folds: Int[Tensor, "n"],
        groups: Int[Tensor, "n"],
        within: bool,
    ) -> None:
        n, count, _ = rare.cells.shape
        self.rare, self.questions, self.within = rare, questions, within
        self.folds, self.groups = folds, groups
        per_image = max(min(count, _CANDIDATES // n), 1)
        self.cells = rare.cells[:, :per_image].flatten(0, 1)  # (E, d)
        self.image = torch.arange(n).repeat_interleave(per_image).to(folds.device)  # (E,)
        self.rank = torch.arange(per_image).repeat(n).to(folds.device)  # among its image's cells
        self.positive = torch.stack([question.positive for question in questions], dim=1)
        self.parts = [*folds.unique().tolist(), None]  # the fold left out; None: none
        self.nats = self._judge()  # (parts, E, q)

    def responses(self, candidates: Int[Tensor, "E"]) -> Float[Tensor, "E n"]:
        """The largest similarity of each candidate to the rare cells of each image."""
        _, count, width = self.rare.cells.shape
        cells = self.cells[candidates]
        images = max(_AT_ONCE // (max(len(cells), 1) * count), 1)
        parts = [
            (cells @ part.reshape(-1, width).T).view(len(cells), len(part), count).amax(dim=2)
            for part in self.rare.cells.split(images)
        ]
        return torch.cat(parts, dim=1)

    def detector(self, question: int, left_out: int | None, count: int) -> Detector:
        """The purest candidates from positive images, without the images of a fold."""
        part = self.parts.index(left_out)
        seen = self.folds != (-1 if left_out is None else left_out)
        positive = self.positive[:, question]
        allowed = (positive & seen)[self.image]
        nats = self.nats[part, :, question].masked_fill(~allowed, -torch.inf)
        best = nats.topk(min(count, len(nats)))
        chosen = best.indices[best.values > 0]
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
        n, count, _ = self.rare.cells.shape
        chunk = max(_AT_ONCE // (n * count), 1)
        everyone = torch.arange(len(self.cells), device=self.image.device)
        judged = []
        for some in everyone.split(chunk):
            responses = self.responses(some)
            own = self.groups[self.image[some]][:, None] == self.groups  # (E, n)
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
