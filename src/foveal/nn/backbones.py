"""timm networks up to one of their feature maps: images (B, C, h, w) -> maps (B, D, g, v)."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

import foveal._torchvision  # noqa: F401  # timm imports torchvision
from foveal.errors import DownloadFailed, UserError
from foveal.nn._hub import quick_hub

Statistic = tuple[float, ...]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def backbone(
    name: str,
    stage: int,
    *,
    channels: int = 3,
    weights: Path | str | None = None,
    pretrained: bool = False,
) -> Any:
    """Build a timm network up to one of its feature maps.

    Args:
        name: name of the network in timm.
        stage: number of the feature map, 0 the finest, -1 the last.
        channels: channels of the images.
        weights: file of a state dict (.pt or .safetensors) with the network's own key names.
        pretrained: download timm's weights.

    Raises:
        DownloadFailed: timm's weights cannot be had.
        UserError: there is no such network or stage, or the weights do not fit.
    """
    import timm

    if not timm.is_model(name.split(".")[0]):
        close = (
            ", ".join(timm.list_models(f"*{name[:6]}*")[:5]) or "timm.list_models() has them all"
        )
        raise UserError(f"timm has no network {name!r}; did you mean: {close}?")
    state = None if weights is None else read_weights(weights)
    try:
        if stage < 0:
            stage = _create(name).feature_info.out_indices[stage]
        with quick_hub() if pretrained else nullcontext():
            network = _create(name, out_indices=(stage,), in_chans=channels, pretrained=pretrained)
    except (AssertionError, IndexError) as error:
        raise UserError(f"the network {name!r} has no feature map {stage}: {error}") from error
    except Exception as error:
        if pretrained:
            raise DownloadFailed(
                f"cannot download weights for {name!r}: connect to the network, give a file with "
                "--weights, or choose a network that timm has weights for"
            ) from error
        raise UserError(f"the network {name!r} has no feature maps: {error}") from error
    if state is not None:
        _load(network, state, str(weights))
    return network


def _create(name: str, **options: Any) -> Any:
    """Create a network that takes images of any size, if timm offers that for it."""
    import timm

    try:
        return timm.create_model(name, features_only=True, dynamic_img_size=True, **options)
    except TypeError:  # only transformers have the option
        return timm.create_model(name, features_only=True, **options)


def stage_by_stride(name: str, stride: float, weights: Path | None = None) -> int:
    """Return the number of a network's deepest feature map with at most this stride, in pixels.

    The finest map where all have a larger one. Where a file of weights ends before that map, the
    deepest one that it has the weights of; where it has those of none, the map of the stride.

    Raises:
        UserError: there is no such network, it has no feature maps, or the file cannot be read.
    """
    layers = backbone(name, 0).feature_info.info
    deepest = max((i for i, layer in enumerate(layers) if layer["reduction"] <= stride), default=0)
    if weights is None:
        return deepest
    state = read_weights(weights)
    held = (i for i in range(deepest, -1, -1) if not _missing(backbone(name, i), state))
    return next(held, deepest)


def feature_map(
    network: nn.Module, images: Float[Tensor, "B C h w"], mean: Statistic, std: Statistic
) -> Float[Tensor, "B D g v"]:
    """Return the feature map of a network from `backbone`, channels first.

    Args:
        network: the network.
        images: pixels in [0, 1].
        mean: mean of each channel in the images that the network was trained on.
        std: standard deviation of each channel.
    """
    maps: Tensor = network(standardise(images, mean, std))[-1]
    return maps.permute(0, 3, 1, 2) if _channels_last(network) else maps


def _channels_last(network: nn.Module) -> bool:
    layout = getattr(network, "output_fmt", None)  # Swin's maps are (B, g, v, D)
    return getattr(layout, "value", layout) == "NHWC"


def standardise(
    images: Float[Tensor, "B C h w"], mean: Statistic, std: Statistic
) -> Float[Tensor, "B C h w"]:
    """Subtract the mean of each channel and divide by its standard deviation."""
    centre, scale = (
        torch.tensor(each, dtype=images.dtype, device=images.device)[:, None, None]
        for each in (mean, std)
    )
    return (images - centre) / scale


def data_config(network: nn.Module) -> dict[str, Any]:
    """Return timm's record of how the images for a network's weights were prepared."""
    from timm.data.config import resolve_model_data_config

    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    return config


def pixel_statistics(
    network: nn.Module, channels: int, mean: Statistic | None, std: Statistic | None
) -> tuple[Statistic, Statistic]:
    """Return mean and standard deviation of the pixels that a network was trained on.

    What is not given is that of timm's weights for the network. They are made for colour images:
    for another number of channels it is 0.45 and 0.225, ImageNet's averages.

    Raises:
        ValueError: the number of values is not the number of channels, or a deviation is not
            positive.
    """
    own = data_config(network)
    fits = len(own["mean"]) == channels
    defaults = (own["mean"], own["std"]) if fits else ((0.45,) * channels, (0.225,) * channels)
    chosen = [
        tuple(map(float, default if given is None else given))
        for given, default in zip((mean, std), defaults, strict=True)
    ]
    for word, values in zip(("mean", "std"), chosen, strict=True):
        if len(values) != channels:
            raise ValueError(
                f"{word} must have one value for each of {channels} channels: got {values}"
            )
    if not all(value > 0 for value in chosen[1]):
        raise ValueError(f"std must be positive: got {chosen[1]}")
    return chosen[0], chosen[1]


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict, also one under the key `state_dict` or with names that begin with
    `module.`, as training scripts write them.

    Raises:
        UserError: there is no such file, or it is not a state dict.
    """
    try:
        if Path(path).suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no weights at {path}: give the path of a .pt or .safetensors") from error
    except Exception as error:
        raise UserError(f"cannot read weights from {path}: {_first_line(error)}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict: it must map names to tensors")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _missing(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """The tensors of the network that a file of weights lacks."""
    own = network.state_dict()
    return [key for key in own if key not in state and "num_batches" not in key]


def _load(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load the weights that the network has; there may be more (later stages, a classifier)."""
    own, missing = network.state_dict(), _missing(network, state)
    if missing:
        raise UserError(
            f"the weights in {source} lack {len(missing)} of {len(own)} tensors of the network, "
            f"{missing[0]} for instance: choose an earlier stage or the network they were made for"
        )
    fitting = {key: value for key, value in state.items() if key in own}
    wrong = [key for key, value in fitting.items() if value.shape != own[key].shape]
    if wrong:
        raise UserError(
            f"the weights in {source} have another shape at {wrong[0]}: "
            f"{tuple(fitting[wrong[0]].shape)}, the network {tuple(own[wrong[0]].shape)}"
        )
    network.load_state_dict(fitting, strict=False)
