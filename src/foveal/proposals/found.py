"""What mining found: evidence maps and windows of any image, and how far they can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foveal.images import Image
from foveal.proposals.background import Background
from foveal.proposals.findings import Exemplar, Finding
from foveal.proposals.places import single, windows_about
from foveal.proposals.repeats import RARE_CELLS, apart_of, rank_in_image, reach_of
from foveal.proposals.survey import OF_EMPTY, places_of, rarest_of
from foveal.proposals.trunk import Trunk
from foveal.windows import nms

_LARGEST_OVERLAP = 0.25  # intersection over union of two windows of an image
_CHUNK = 2**24  # similarities at a time


class Proposals(nn.Module):
    """Where the evidence could be, in any image, before anything is trained.

        evidence of a cell = max over exemplars of  gain x similarity + bias

    or, where exemplars prove nothing on images not used, its rarity, among all images and in its
    own: see `foveal.proposals.repeats`.

    Args:
        trunk: gives the features.
        background: whitens them and knows what is common.
        patch: (h, w) of the windows, in pixels.
        cells: (E, d) whitened features of the exemplars; none: evidence is rarity.
        gain: (E,) per unit of similarity.
        bias: (E,).
        findings: what each question was worth, the surest first.
        exemplars: some to look at.
        complete: whether the exemplars are about all labels but one; where they are not, windows
            are ranked by evidence and by rarity in turn.

    Attributes:
        mined: windows of each image that was mined, as `windows` returns them, but from its rarest
            cells alone and without another pass over it. Not part of `state`.
        rest: numbers of the mined images that no exemplar is about. Not part of `state`.
    """

    cells: Tensor
    gain: Tensor
    bias: Tensor

    def __init__(
        self,
        trunk: Trunk,
        background: Background,
        *,
        patch: tuple[int, int],
        cells: Float[Tensor, "E d"],
        gain: Float[Tensor, " E"],
        bias: Float[Tensor, " E"],
        findings: Sequence[Finding] = (),
        exemplars: Sequence[Exemplar] = (),
        complete: bool = True,
    ) -> None:
        super().__init__()
        self.complete = complete
        self.trunk, self.background, self.patch = trunk, background, patch
        for name, tensor in (("cells", cells), ("gain", gain), ("bias", bias)):
            self.register_buffer(name, tensor)
        self.findings, self.exemplars = tuple(findings), tuple(exemplars)
        self.mined: tuple[Int[Tensor, "Q 4"], ...] = ()
        self.rest: tuple[int, ...] = ()

    @property
    def auc(self) -> float:
        """AUC of the surest question on images not used; 0.5 where exemplars know nothing."""
        return self.findings[0].auc if self.findings else 0.5

    @property
    def halvings(self) -> int:
        """Of the sides of an image before it is searched: 0, unless images are very large."""
        return self.trunk.halvings

    @property
    def trusted(self) -> bool:
        """Whether the evidence is similarity to exemplars; otherwise it is rarity."""
        return len(self.cells) > 0

    @property
    def _ranks_rarity(self) -> bool:
        """Whether windows are ranked by rarity, alone or in turn with evidence."""
        return not (self.trusted and self.complete)

    def evidence(self, image: Image | Tensor) -> Float[Tensor, "h w"]:
        """The evidence in every cell of an image, `trunk.stride` pixels apart.

        Args:
            image: of any size; a tensor (C, H, W) is uint8 or in [0, 1].
        """
        evidence, rarity = self._maps(single(image, self.trunk.channels))
        return evidence if self.trusted else rarity

    def windows(self, image: Image | Tensor, k: int) -> Int[Tensor, "k 4"]:
        """The k windows of most evidence, best first.

        Returns:
            Top, left, bottom, right in pixels of the image, inside it, of the patch size or of
            the image's where that is smaller. Two share at most a quarter of their union, as long
            as the image has room.

        Raises:
            ValueError: k lies outside 1..number of cells.
        """
        source = single(image, self.trunk.channels)
        evidence, rarity = self._maps(source)
        if not 1 <= k <= evidence.numel():
            raise ValueError(f"k must lie in 1..{evidence.numel()} cells: got k={k}")
        places = torch.cartesian_prod(
            *(torch.arange(n, device=rarity.device) for n in rarity.shape)
        )
        return self.choose(places, evidence.flatten(), rarity.flatten(), source.size, k)

    def choose(
        self,
        places: Int[Tensor, "n 2"],
        evidence: Float[Tensor, " n"],
        rarity: Float[Tensor, " n"],
        size: tuple[int, int],
        k: int,
    ) -> Int[Tensor, "k 4"]:
        """Of windows about these cells of an image, the k that `windows` would return.

        Args:
            places: row and column of each cell.
            evidence: of each.
            rarity: of each.
            size: of the image.
            k: 1..n.
        """
        # a window passes over fewer cells than lie in twice its side
        passed_over = 4 * self.patch[0] * self.patch[1] // self.trunk.stride**2 + 1
        count = min(k * passed_over, len(places))
        ranked = [evidence] * self.trusted + [rarity] * self._ranks_rarity
        orders = [each.topk(count).indices for each in ranked]
        cells = places[torch.stack(orders, dim=1).flatten()]  # by each ranking in turn
        windows = self.window_of(cells, size)
        rank = -torch.arange(len(windows), device=windows.device, dtype=evidence.dtype)
        return windows[nms(windows, rank[None], k, _LARGEST_OVERLAP)[0]]

    def window_of(self, cells: Int[Tensor, "n 2"], size: tuple[int, int]) -> Int[Tensor, "n 4"]:
        """Windows about cells (row, column), moved into an image of this size."""
        return windows_about(cells, self.trunk, self.patch, size)

    def state(self) -> dict[str, Any]:
        """Everything but the trunk, as tensors, numbers and strings.

        `torch.save` writes it, `torch.load(..., weights_only=True)` reads it.
        """
        return {
            "patch": list(self.patch),
            "complete": self.complete,
            "halvings": self.halvings,
            "tensors": {
                name: tensor.cpu()
                for name, tensor in self.state_dict().items()
                if not name.startswith("trunk.")
            },
            "findings": [asdict(finding) for finding in self.findings],
            "exemplars": [
                {**vars(exemplar), "window": list(exemplar.window)} for exemplar in self.exemplars
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trunk: Trunk) -> "Proposals":
        """The proposals that gave this state, with the trunk they were made with."""
        trunk = trunk.reduced(state.get("halvings", 0))
        tensors = {name: each.to(trunk.device) for name, each in state["tensors"].items()}
        background = Background(
            *(tensors[f"background.{name}"] for name in ("mean", "axes", "centres"))
        )
        return cls(
            trunk,
            background,
            patch=(state["patch"][0], state["patch"][1]),
            cells=tensors["cells"],
            gain=tensors["gain"],
            bias=tensors["bias"],
            complete=state["complete"],
            findings=[Finding(**finding) for finding in state["findings"]],
            exemplars=[
                Exemplar(**{**each, "window": tuple(each["window"])}) for each in state["exemplars"]
            ],
        )

    def __str__(self) -> str:
        if not self.findings:
            return "no label has enough images for exemplars; windows are ranked by rarity"
        best = self.findings[0]
        if not self.trusted:
            return (
                "exemplars do not prove themselves on images not used (best AUC "
                f"{best.auc:.2f}, by chance 0.50 +- {best.deviation:.2f}); windows are ranked by "
                "rarity"
            )
        used = [
            f"{each.question} {each.auc:.2f} ({each.images} images)"
            for each in self.findings
            if each.weight > 0
        ]
        return (
            f"exemplars predict the label of images not used with AUC {best.auc:.2f}; "
            f"{len(self.cells)} exemplars of: {', '.join(used)}"
        )

    @torch.no_grad()
    def _maps(self, image: Image) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        """Evidence, 0 without exemplars, and rarity of every cell.

        Where rarity ranks, that in the image itself is added at the rarest cells: it changes the
        order there alone. Cells that show nothing have less of both than any other.
        """
        evidence = torch.zeros(self.trunk.grid(image.size), device=self.trunk.device)
        empty = torch.zeros_like(evidence, dtype=torch.bool)
        rarity, rare = torch.empty_like(evidence), list[tuple[Tensor, Tensor, Tensor]]()
        for piece in self.trunk.pieces(image):
            cells = self.background.cells(piece.features[(slice(None), *piece.core)])
            flat = cells.flatten(0, 1)
            rarity[piece.place] = self.background.rarity(cells)
            if piece.empty is not None:
                empty[piece.place] = piece.empty[piece.core]
                rarity[piece.place].masked_fill_(empty[piece.place], OF_EMPTY)
            if self.trusted:
                evidence[piece.place] = self.similarity(flat).view(cells.shape[:2])
            if self._ranks_rarity:
                found = (flat, places_of(piece), rarity[piece.place].flatten())
                rare = [rarest_of([*rare, found], RARE_CELLS)]
        for cells, places, rarest in rare:
            apart = apart_of(reach_of(self.patch, self.trunk.stride))
            rank = rank_in_image(cells, places, rarest, cells, places, apart=apart)
            rarity[places[:, 0], places[:, 1]] = rank
        for each in (evidence, rarity):
            each.masked_fill_(empty, float(each.amin()) - 1)
        return evidence, rarity

    def similarity(self, cells: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The evidence of whitened cells by exemplars, of which there must be some."""
        parts = [
            (part @ self.cells.T * self.gain + self.bias).amax(dim=1)
            for part in torch.split(cells, max(_CHUNK // len(self.cells), 1))
        ]
        return torch.cat(parts)
