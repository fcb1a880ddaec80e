"""The models of the table of traffic signs: how each is wired, and trained as it was published.

settings of the recipe  ->  model, training
"""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from foveal.nn.protocols import Encoder
    from foveal.training import Settings

Model = Literal["patches", "attention_sampling", "iterative"]

PUBLISHED: dict[Model, dict[str, Any]] = {
    "patches": {
        "view": (320, 426),
        "k": 5,
        "encoder": "thin",
        "steps": 70_000,
        "batch": 32,
        "learning_rate": 1e-4,
        "weight_decay": 1.0,
        "clip": 0.1,
        "warm_up": 0.1,
        "entropy": 0.01,
        "class_weights": False,
    },
    "attention_sampling": {
        "view": (288, 384),
        "k": 5,
        "encoder": "thin",
        "steps": 11_700,  # 500 passes over 747 images
        "batch": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "clip": 1.0,
        "warm_up": 0.0,
        "entropy": 0.05,
        "class_weights": True,
    },
    "iterative": {
        "k": 10,
        "encoder": "resnet18",
        "steps": 7000,  # 150 passes, the learning rate rises in 10 of them
        "batch": 16,
        "learning_rate": 3e-4,
        "weight_decay": 0.1,
        "warm_up": 10 / 150,
        "entropy": 0.0,
        "class_weights": True,
    },
}
"""What each model is trained with where nothing else is asked for."""


def made(settings: dict[str, Any]) -> "nn.Module":
    """The model, from the settings of the recipe, complete."""
    wirings = {
        "patches": _patches,
        "attention_sampling": _attention_sampling,
        "iterative": _iterative,
    }
    return wirings[settings["model"]](settings)


def training(settings: dict[str, Any]) -> "Settings":
    """How the model is trained, from the settings of the recipe, complete."""
    from foveal.training import Settings

    steps, patches = settings["steps"], settings["model"] == "patches"
    same = (
        "batch",
        "learning_rate",
        "weight_decay",
        "warm_up",
        "entropy",
        "sigma",
        "sigma_schedule",
        "shift",
    )
    weights = settings["class_weights"]
    return Settings(
        **{name: settings[name] for name in (*same, "workers", "seed")},
        steps=steps,
        decay_all=settings["as_published"],
        schedule="multi_step" if settings["model"] == "attention_sampling" else "cosine",
        drops=(0.5,),
        clip_value=settings["clip"] if patches else None,
        clip_norm=None if patches else settings["clip"],
        class_weights=weights if isinstance(weights, tuple) else None,
        colour=True,
        validate_every=max(100, steps // 70),
    )


def _encoder(settings: dict[str, Any]) -> "Encoder":
    from foveal.nn.encoders import Backbone, ThinResNet

    name = settings["encoder"]
    return ThinResNet() if name == "thin" else Backbone(name, weights=settings["weights"])


def _patches(settings: dict[str, Any]) -> "nn.Module":
    from foveal.models import PatchClassifier
    from foveal.nn.aggregators import mean
    from foveal.nn.scorers import ConvScorer
    from foveal.paper.nn.normalisations import named_normalisation
    from foveal.paper.recipes.model_factory import selector
    from foveal.windows import cordonnier_grid

    return PatchClassifier(
        scorer=ConvScorer(),
        select=selector(settings),
        encoder=_encoder(settings),
        aggregate=mean,
        classes=len(settings["classes"]),
        view=settings["view"],
        patch=(settings["patch"],) * 2,
        normalise=named_normalisation(settings["normalise"]),
        place=cordonnier_grid if settings["as_published"] else None,
    )


def _attention_sampling(settings: dict[str, Any]) -> "nn.Module":
    from foveal.models import AttentionSampling
    from foveal.nn.scorers import ConvScorer
    from foveal.nn.selectors import Sampling

    return AttentionSampling(
        scorer=ConvScorer(),
        select=Sampling(settings["k"]),
        encoder=_encoder(settings),
        classes=len(settings["classes"]),
        view=settings["view"],
        patch=(settings["patch"],) * 2,
        smoothing=settings["smoothing"],
    )


def _iterative(settings: dict[str, Any]) -> "nn.Module":
    from foveal.models import IterativePatchSelection
    from foveal.nn.cross_attention import CrossAttention

    encoder = _encoder(settings)
    return IterativePatchSelection(
        encoder=encoder,
        aggregate=CrossAttention(encoder.features, heads=8),
        classes=len(settings["classes"]),
        grid=settings["grid"],
        patch=(settings["patch"],) * 2,
        k=settings["k"],
        at_once=settings["at_once"],
    )
