"""The model of the paper (Fig. 2): score a small view, encode K patches, classify once."""

from collections.abc import Callable, Mapping, Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from foveal._precision import full_precision
from foveal.images import Image, Images, sources
from foveal.models.empty_windows import candidates_of, mask_empty
from foveal.models.part_shapes import aggregate_width, check_encoder
from foveal.models.second_glance import SecondGlance
from foveal.models.view_geometry import ViewGeometry, local_maxima, mask_padding
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import encode
from foveal.nn.global_head import GlobalHead
from foveal.nn.normalisations import Normalisation, min_max
from foveal.nn.protocols import Aggregate, Encoder, Place, Scorer, Selector, parts_of
from foveal.nn.scorers import BackboneScorer, score
from foveal.patches import extract
from foveal.prediction import Prediction
from foveal.settings import Mask
from foveal.topk import Selection
from foveal.windows import relative_centres


class PatchClassifier(nn.Module):
    """Classify images by a few patches that the model selects itself.

    An image is fitted into the view with its aspect kept, whatever its size: the rest of the view
    is black and is never selected. Patches are cut at full resolution, around the very pixels that
    made their score.

    Args:
        scorer: view (B, C, h, w) -> map (B, rows, columns), with `stride` and `offset`.
        select: normalised scores (B, N) -> Selection, with `k`; see `foveal.nn.selectors.TopK`.
        encoder: patches (B, C, h, w) -> features (B, D), with `features` = D.
        aggregate: (features (B, K, D), selection, centres) -> (B, E); see `foveal.nn.aggregators`.
        classes: number of classes.
        view: (h, w) of the small view, in pixels.
        patch: (h, w) of a patch, in pixels of the full-resolution image.
        channels: channels of the images.
        normalise: raw scores -> scores in units that sigma is given in; see
            `foveal.nn.normalisations`.
        apart: rows and columns of cells around a cell that are not selected beside it, unless they
            score as high; 0: neighbours may be selected.
        mask: windows that are not selected, as long as there are others: "nodata", those that hold
            only pixels without data, where an image states their colour; "background", also those
            that hold only very light or very dark ones; "none".
        place: where the windows lie, from image size, grid size and patch size. Default: around the
            scorer's cells.
        global_head: adds to the logits what the view as a whole says; takes a `BackboneScorer`.
        glances: 1, or 2: windows are selected in the best regions of the view alone, which the
            scorer scores again at a higher resolution, see `foveal.models.second_glance`.
        closer: resolution of the second glance in that of the view.
        regions: the most regions that are looked at again.

    Raises:
        ValueError: scorer, encoder or aggregator cannot take what they are given, or the view has
            fewer windows than k.

    References:
        Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021.
    """

    def __init__(
        self,
        *,
        scorer: Scorer,
        select: Selector,
        encoder: Encoder,
        aggregate: Aggregate,
        classes: int,
        view: tuple[int, int],
        patch: tuple[int, int],
        channels: int = 3,
        normalise: Normalisation = min_max,
        apart: int = 0,
        mask: Mask = "none",
        place: Place | None = None,
        global_head: GlobalHead | None = None,
        glances: int = 1,
        closer: int = 4,
        regions: int = 8,
    ) -> None:
        super().__init__()
        if glances not in (1, 2):
            raise ValueError(f"glances must be 1 or 2: got {glances}")
        if global_head is not None and not isinstance(scorer, BackboneScorer):
            raise ValueError("a global head needs the features of a BackboneScorer")
        self.scorer, self.select, self.encoder = scorer, select, encoder
        self.aggregate, self.normalise, self.place = aggregate, normalise, place
        self.classes, self.view, self.patch, self.channels = classes, view, patch, channels
        self.apart, self.mask, self.global_head = apart, mask, global_head
        self.geometry = ViewGeometry(
            scorer, view=view, patch=patch, channels=channels, k=select.k, place=place
        )
        self.grid = self.geometry.grid
        self.glances, self.closer, self.regions = glances, closer, regions
        self.second = (
            SecondGlance(scorer, self.geometry, closer=closer, regions=regions)
            if glances == 2
            else None
        )
        check_encoder(encoder, channels, patch)
        n = self.grid[0] * self.grid[1]  # candidates, of one glance
        width = aggregate_width(aggregate, select.k, n, encoder.features)
        self.head = (
            nn.Identity()  # its votes are the logits
            if isinstance(aggregate, Vote)
            else nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, classes))
        )

    def roles(self) -> Mapping[str, nn.Module]:
        """Return the parts that can have learning rates of their own."""
        return parts_of(scorer=self.scorer, encoder=self.encoder)

    def forward(self, images: Images) -> Prediction:
        """Classify images (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any
        sizes."""
        whole = sources(images, self.channels)
        device = next(self.parameters()).device
        windows, inside = self.geometry.windows(whole, device)
        views = self.geometry.views(whole, device)
        empty = self.geometry.empty(whole, views, windows, self.mask)
        if self.second is not None:
            return self._look_closer(self.second, whole, views, inside, empty)
        sides = self.geometry.sides(whole, device)
        return self.look(
            views,
            windows,
            inside,
            [image.size for image in whole],
            lambda selection: extract(whole, windows, selection, self.patch, sides=sides),
            empty=empty,
        )

    def look(
        self,
        views: Float[Tensor, "B C h w"],
        windows: Int[Tensor, "*B N 4"],
        inside: Bool[Tensor, "*B N"],
        sizes: Sequence[tuple[int, int]],
        cut: Callable[[Selection], Tensor],
        *,
        empty: Bool[Tensor, "B N"] | None = None,
    ) -> Prediction:
        """Classify images by one glance and what is cut out of them; all is on one device.

        Args:
            views: the whole images, small.
            windows: where the windows lie, (N, 4) where all images have one size.
            inside: which of them are centred inside the image.
            sizes: (H, W) of the images; one suffices where all have the same.
            cut: from a selection to its patches (B, K, C, h, w).
            empty: which windows hold nothing; None: not asked.
        """
        scores, of_view = self._scored(views)  # (B, N), (B, classes)
        candidates = inside if empty is None else candidates_of(inside, empty)
        scores = mask_padding(scores, candidates)

        peaks = local_maxima(scores, self.grid, self.apart)
        if empty is not None:
            peaks = mask_empty(peaks, candidates)
        return self._classify(scores, peaks, windows, sizes, cut, of_view)

    def _look_closer(
        self,
        second: SecondGlance,
        images: Sequence[Image],
        views: Float[Tensor, "B C h w"],
        inside: Bool[Tensor, "*B n"],
        empty: Bool[Tensor, "B n"] | None,
    ) -> Prediction:
        """Classify images by what is selected in the best regions of their views."""
        first, of_view = self._scored(views)  # (B, n), (B, classes)
        candidates = inside if empty is None else candidates_of(inside, empty)
        regions = second.choose(images, first, candidates)
        scores = second.scores(self.scorer, second.boxes(images, regions), regions)  # (B, N)
        empty = self.geometry.empty(images, views, regions.windows, self.mask)
        candidates = regions.inside if empty is None else candidates_of(regions.inside, empty)
        scores = mask_padding(scores, candidates)
        peaks = mask_empty(second.local_maxima(scores, regions, self.apart), candidates)
        sizes, sides = [image.size for image in images], [self.patch] * len(images)
        windows = regions.windows
        return self._classify(
            scores,
            peaks,
            windows,
            sizes,
            lambda selection: extract(images, windows, selection, self.patch, sides=sides),
            of_view,
        )

    def _classify(
        self,
        scores: Float[Tensor, "B N"],
        peaks: Float[Tensor, "B N"],
        windows: Int[Tensor, "*B N 4"],
        sizes: Sequence[tuple[int, int]],
        cut: Callable[[Selection], Tensor],
        of_view: Float[Tensor, "B classes"] | None,
    ) -> Prediction:
        """Select by the peaks of the scores, and classify what is cut out."""
        selection = self.select(self.normalise(peaks))  # (B, M), (B, K, M)
        patches = cut(selection)  # (B, K, C, h, w)
        features = encode(self.encoder, patches)  # (B, K, D)
        centres = relative_centres(windows, sizes)
        with full_precision(scores.device):
            logits = self.head(self.aggregate(features, selection, centres))
        return Prediction(
            logits=logits if of_view is None else logits + of_view,
            scores=scores,
            windows=windows,
            selection=selection,
            patches=patches,
        )

    def _scored(self, views: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores of the cells, and logits of the global head, from one pass of the network."""
        if self.global_head is None:
            return score(self.scorer, views), None
        assert isinstance(self.scorer, BackboneScorer)
        maps = self.scorer.features(views)
        with full_precision(maps.device):
            return self.scorer.score_features(maps).flatten(1), self.global_head(maps)
