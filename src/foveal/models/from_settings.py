"""The classifier that settings describe."""

from foveal import settings
from foveal.models.classifier import PatchClassifier
from foveal.models.factory import patch_classifier
from foveal.settings import CLOSER


def from_settings(
    model: settings.Model, selection: settings.Selection, *, classes: int, global_head: bool = False
) -> PatchClassifier:
    """Build the classifier of complete settings.

    Args:
        model: what it sees and what it is made of.
        selection: how patches are selected in training.
        classes: number of classes.
        global_head: let the view as a whole add to the answer, once that is fitted.

    Raises:
        ValueError: something is not given.
    """
    if model.view is None or model.patch is None or model.k is None:
        raise ValueError(
            f"view, patch and k must be given: got {model.view}, {model.patch}, {model.k}"
        )
    if isinstance(model.patch, str):
        raise ValueError(f"patch must be given in pixels: got {model.patch}")
    if model.aggregator is None or model.encoder_stage is None or model.zoom is None:
        raise ValueError(
            "aggregator, encoder_stage and zoom must be given: got "
            f"{model.aggregator}, {model.encoder_stage}, {model.zoom}"
        )
    if model.apart is None:
        raise ValueError("apart must be given")
    return patch_classifier(
        model.encoder,
        classes=classes,
        view=model.view,
        patch=model.patch,
        k=model.k,
        pretrained=model.pretrained and model.encoder != "thin",
        weights=model.weights,
        encoder_stage=model.encoder_stage,
        zoom=model.zoom,
        encoder_pool=model.encoder_pool or "mean",  # of runs from before there was a choice
        apart=model.apart,
        mask=model.mask,
        scorer=model.scorer or "conv",
        scorer_stage=model.scorer_stage,
        freeze_scorer=model.freeze_scorer,
        scorer_width=model.scorer_width,
        aggregator=model.aggregator,
        global_head=global_head,
        glances=model.glances,
        closer=model.closer or CLOSER,
        sigma=selection.sigma,
        estimator=selection.estimator,
    )
