"""Laws of devices: what differs is moved or refused in words, and float64 may be missing."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import miniatures
from foveal import _float64, patches, topk, windows
from foveal._pointers import address
from foveal.data.augmentation import augmentations
from foveal.data.loader import batches
from foveal.errors import NotFiniteError
from foveal.images import FileImage, Images, TensorImage
from foveal.models import WholeImage, patch_classifier
from foveal.nn.encoders import Backbone
from foveal.nn.selectors import TopK
from foveal.objectives import classification
from foveal.patches import compiled
from foveal.patches.stored import Stored
from foveal.settings import Hardware
from foveal.topk import Selection
from foveal.topk import compiled as compiled_topk
from foveal.training import devices as training_devices
from foveal.training.step import LossModule, MicroBatch
from miniatures import settings
from miniatures_training import RANDOM, TRAIN, classifier
from pretend_device import DEVICE, Elsewhere, machine

CPU = torch.device("cpu")
SIZE = (6, 5)
WINDOWS = torch.cat(
    (windows.regular((23, 19), (4, 3), SIZE), windows.regular((23, 19), (4, 3), (9, 9)))
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pretended() -> Iterator[None]:
    with machine():
        yield


@pytest.fixture
def without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_float64, "_WITHOUT", (DEVICE.type,))
    with machine(float64=False):
        yield


def pixels(height: int = 23) -> Tensor:
    return miniatures.pixels(height, 19)


KINDS: dict[str, Callable[[torch.device, Path], Images]] = {
    "bytes": lambda device, _: torch.stack([pixels(), pixels()]).to(device),
    "floats": lambda device, _: torch.stack([pixels(), pixels()]).to(device) / 255,
    "tensors": lambda device, _: [pixels().to(device), pixels(40).to(device)],
    "images": lambda device, _: [TensorImage(pixels().to(device)), TensorImage(pixels(40))],
    "large": lambda device, _: [TensorImage(pixels(400).to(device)), TensorImage(pixels(400))],
    "files": lambda _, folder: [
        FileImage(miniatures.write(folder / f"{i}.png", pixels())) for i in range(2)
    ],
}


def selected(kind: str, device: torch.device) -> Selection:
    scores = torch.randn(2, len(WINDOWS), generator=seeded()).to(device)
    return topk.hard(scores, 3) if kind == "hard" else topk.perturbed(scores, 3, 0.3)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("selection", ["hard", "soft"])
@pytest.mark.parametrize("weights_on", [CPU, DEVICE], ids=["weights here", "weights elsewhere"])
@pytest.mark.parametrize("images_on", [CPU, DEVICE], ids=["images here", "images elsewhere"])
@pytest.mark.parametrize("windows_on", [CPU, DEVICE], ids=["windows here", "windows elsewhere"])
@pytest.mark.parametrize("kind", KINDS)
def test_patches_are_the_same_wherever_images_windows_and_weights_are(
    tmp_path: Path,
    kind: str,
    windows_on: torch.device,
    images_on: torch.device,
    weights_on: torch.device,
    selection: str,
) -> None:
    expected = patches.extract(KINDS[kind](CPU, tmp_path), WINDOWS, selected(selection, CPU), SIZE)
    found = patches.extract(
        KINDS[kind](images_on, tmp_path),
        WINDOWS.to(windows_on),
        selected(selection, weights_on),
        SIZE,
    )
    assert found.device == weights_on
    assert found.dtype == expected.dtype
    # hard and soft sums of crops resampled in bytes or floats: one level of rounding
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1.5 / 255)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("images_on", [CPU, DEVICE], ids=["images here", "images elsewhere"])
@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "listed"])
def test_gradients_of_images_and_weights_cross_devices(
    images_on: torch.device, stacked: bool
) -> None:
    selection = selected("soft", CPU)
    gradients = []
    for images_at, weights_at in ((CPU, CPU), (images_on, DEVICE)):
        images = (torch.stack([pixels(), pixels()]) / 255).to(images_at).requires_grad_()
        weights = selection.weights.to(weights_at).detach().requires_grad_()
        looks = Selection(selection.candidates, weights)
        given = images if stacked else list(images)
        patches.extract(given, WINDOWS, looks, SIZE).square().sum().backward()
        assert images.grad is not None
        assert weights.grad is not None
        assert (images.grad.device, weights.grad.device) == (images_at, weights_at)
        gradients.append((images.grad.cpu(), weights.grad.cpu()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("kind", KINDS)
def test_crops_are_on_the_device_of_the_windows(tmp_path: Path, kind: str) -> None:
    expected = patches.crop(KINDS[kind](CPU, tmp_path), WINDOWS, SIZE)
    found = patches.crop(KINDS[kind](CPU, tmp_path), WINDOWS.to(DEVICE), SIZE)
    assert found.device == DEVICE
    torch.testing.assert_close(found.cpu(), expected)


@pytest.mark.usefixtures("pretended")
def test_the_compiled_loops_refuse_memory_of_other_devices_in_words() -> None:
    for stranger in (torch.ones(2, device="meta"), torch.ones(2).to(DEVICE)):
        with pytest.raises(ValueError, match=r"CPU memory only: got a tensor on meta"):
            address(stranger)
    scores = torch.rand(2, 9).to(DEVICE)
    calls = [lambda: compiled_topk.weights(scores, 3, 0.1)]
    image, corners = torch.rand(3, 9, 9), torch.zeros(4, 2, dtype=torch.int64)
    weights, out = torch.rand(2, 4), torch.zeros(2, 3, 6, 5)
    calls += [
        lambda: compiled.weighted_sum([Stored(image.to(DEVICE))], [corners], [weights], [out]),
        lambda: compiled.weighted_sum([Stored(image)], [corners], [weights], [out.to(DEVICE)]),
        lambda: compiled.inner_products([Stored(image.to(DEVICE))], [corners], [out]),
        lambda: compiled.scatter_add([image.to(DEVICE)], [corners], [weights], [out]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="CPU memory only"):
            call()


def test_a_training_step_waits_for_nothing_but_the_size_of_its_selection() -> None:
    """One number to size it, one for each doubling of its nodes, and one in its gradient."""
    options = settings(RANDOM, shift=4, colour=True, flip=True, turn=True)
    data = batches(TRAIN, size=4, seed=0, steps=4, augment=augmentations(options.augmentation))
    for batch in data:
        steps = [LossModule(classifier(select=TopK(2)), options.optimisation, classification)]
        steps += [LossModule(classifier(select=TopK(2)), options.optimisation, classification)]
        torch.manual_seed(0)
        expected, _ = steps[0](MicroBatch(batch.images, batch.labels))
        expected.backward()
        with machine() as waits:
            there = steps[1].to(DEVICE)
            images = [image.to(DEVICE) for image in batch.images]
            given = MicroBatch(images, batch.labels.to(DEVICE))
            waits.clear()
            torch.manual_seed(0)
            loss, _ = there(given)
            forward, doublings = len(waits), sum("index" in each for each in waits)
            loss.backward()
            assert (forward - doublings, len(waits) - forward) == (1, 1), waits
            assert doublings <= 3
            torch.testing.assert_close(loss.detach().cpu(), expected.detach())
            for one, other in zip(there.parameters(), steps[0].parameters(), strict=True):
                torch.testing.assert_close(one.grad.cpu(), other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused_in_words_on_another_device(bad: float) -> None:
    scores = torch.rand(2, 9, generator=seeded())
    scores[1, 4] = bad
    with pytest.raises(NotFiniteError, match=f"got {bad} at image 1, candidate 4"):
        topk.perturbed(scores.to(DEVICE), 3, 0.1)


SELECT: dict[str, Callable[[Tensor], Selection]] = {
    "hard": lambda scores: topk.hard(scores, 3),
    "exact": lambda scores: topk.perturbed(scores, 3, 0.3),
    "exact, sigma a tensor": lambda scores: topk.perturbed(scores, 3, scores.new_tensor(0.3)),
    "conditional": lambda scores: topk.perturbed(
        scores, 3, 0.3, estimator="conditional", generator=seeded()
    ),
    "diagonal": lambda scores: topk.perturbed(
        scores, 3, 0.3, estimator="diagonal", generator=seeded()
    ),
    "sinkhorn": lambda scores: topk.sinkhorn(scores, 3, epsilon=0.1),
    "sampling": lambda scores: topk.sample(scores.softmax(1), 3, generator=seeded()),
    "sampling with replacement": lambda scores: topk.sample(
        scores.softmax(1), 3, replacement=True, generator=seeded()
    ),
}


@pytest.mark.usefixtures("without_float64")
@pytest.mark.parametrize("operator", SELECT)
def test_a_device_without_float64_selects_as_one_with_it_to_single_precision(operator: str) -> None:
    values = torch.randn(4, 12, generator=seeded(3), dtype=torch.float64)
    incoming = torch.randn(4, 3, 12, generator=seeded(4))
    results = []
    for device in (CPU, DEVICE):
        scores = values.float().to(device).requires_grad_()
        selection = SELECT[operator](scores)
        dense = selection.dense(12)
        assert (dense.device, dense.dtype) == (device, torch.float32)
        if dense.requires_grad:
            (dense * incoming.to(device)).sum().backward()
            assert scores.grad is not None
            results.append((dense.detach().cpu(), scores.grad.cpu()))
        else:
            results.append((dense.cpu(), torch.zeros(0)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("without_float64")
@pytest.mark.parametrize("selection", ["hard", "soft"])
@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "listed"])
def test_images_of_double_precision_give_single_precision_there(
    selection: str, stacked: bool
) -> None:
    images = torch.stack([pixels(), pixels()]).double() / 255
    expected = patches.extract(images, WINDOWS, selected(selection, CPU), SIZE)
    given = images if stacked else list(images)
    found = patches.extract(given, WINDOWS, selected(selection, DEVICE), SIZE)
    assert (found.device, found.dtype) == (DEVICE, torch.float32)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("without_float64")
def test_the_pretended_device_is_as_strict_as_a_real_one() -> None:
    here, there = torch.ones(2), torch.ones(2).to(DEVICE)
    assert isinstance(there, Elsewhere)
    with pytest.raises(RuntimeError, match="one device"):
        _ = here + there
    with pytest.raises(TypeError, match="float64"):
        there.double()


def test_apples_gpus_have_no_float64_and_all_others_do() -> None:
    kinds = ("cpu", "cuda", "xpu", "mps")
    assert [_float64.has_float64(torch.device(kind)) for kind in kinds] == [True, True, True, False]


@pytest.mark.parametrize(
    ("has_gpu", "fast", "hardware", "expected"),
    [
        (True, {"cuda"}, Hardware(), "bf16-mixed"),
        (True, {"cuda"}, Hardware(accelerator="cuda"), "bf16-mixed"),
        (True, {"cuda"}, Hardware(accelerator="cpu"), "32-true"),
        (True, {"cuda"}, Hardware(precision="32-true"), "32-true"),
        (True, {"cpu"}, Hardware(), "32-true"),
        (True, {"cpu"}, Hardware(accelerator="cpu"), "bf16-mixed"),
        (False, {"cpu"}, Hardware(), "bf16-mixed"),
        (False, {"cpu"}, Hardware(accelerator="mps"), "32-true"),
        (False, set(), Hardware(), "32-true"),
        (False, set(), Hardware(precision="16-mixed"), "16-mixed"),
    ],
)
def test_auto_rounds_on_devices_that_are_fast_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
    has_gpu: bool,
    fast: set[str],
    hardware: Hardware,
    expected: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda *, including_emulation: "cuda" in fast
    )
    capabilities = {"avx512_bf16": True, "amx_bf16": "cpu" in fast}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert training_devices._precision(hardware) == expected


@pytest.mark.parametrize(
    "model",
    [
        patch_classifier(
            "test_resnet", classes=2, view=(32, 48), patch=32, k=2, scorer="test_resnet", zoom=1.5
        ),
        WholeImage(encoder=Backbone("test_resnet"), classes=2),
    ],
    ids=["patches", "whole image"],
)
def test_networks_see_pixels_with_channels_last(model: nn.Module) -> None:
    """Which convolutions of GPUs and CPUs are fastest with."""
    seen = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    for part in model.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1):
            part.register_forward_pre_hook(look)
    model(torch.rand(2, 3, 64, 96))
    assert seen
    assert all(seen)
