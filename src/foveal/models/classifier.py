"""The model of the paper (Fig. 2): score a small view, encode K patches, classify once."""

from collections.abc import Mapping

from torch import Tensor, nn

from foveal._precision import full_precision
from foveal.images import Images, sources
from foveal.models.part_shapes import aggregate_width, check_encoder
from foveal.models.view_geometry import ViewGeometry, local_maxima, mask_padding
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import encode
from foveal.nn.global_head import GlobalHead
from foveal.nn.normalisations import Normalisation, min_max
from foveal.nn.protocols import Aggregate, Encoder, Place, Scorer, Selector, parts_of
from foveal.nn.scorers import BackboneScorer, score
from foveal.patches import extract
from foveal.prediction import Prediction
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
        place: where the windows lie, from image size, grid size and patch size. Default: around the
            scorer's cells.
        global_head: adds to the logits what the view as a whole says; takes a `BackboneScorer`.

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
        place: Place | None = None,
        global_head: GlobalHead | None = None,
    ) -> None:
        super().__init__()
        if global_head is not None and not isinstance(scorer, BackboneScorer):
            raise ValueError("a global head needs the features of a BackboneScorer")
        self.scorer, self.select, self.encoder = scorer, select, encoder
        self.aggregate, self.normalise, self.place = aggregate, normalise, place
        self.classes, self.view, self.patch, self.channels = classes, view, patch, channels
        self.apart, self.global_head = apart, global_head
        self.geometry = ViewGeometry(
            scorer, view=view, patch=patch, channels=channels, k=select.k, place=place
        )
        self.grid = self.geometry.grid
        check_encoder(encoder, channels, patch)
        n = self.grid[0] * self.grid[1]
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
        device = next(self.parameters()).device
        whole = sources(images, self.channels)
        windows, inside = self.geometry.windows(whole, device)
        scores, of_view = self._scored(self.geometry.views(whole, device))  # (B, N), (B, classes)
        scores = mask_padding(scores, inside)

        peaks = local_maxima(scores, self.grid, self.apart)
        selection = self.select(self.normalise(peaks))  # (B, M), (B, K, M)
        sides = self.geometry.sides(whole, device)
        patches = extract(whole, windows, selection, self.patch, sides=sides)  # (B, K, C, h, w)
        features = encode(self.encoder, patches)  # (B, K, D)
        centres = relative_centres(windows, [image.size for image in whole])
        with full_precision(device):
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
