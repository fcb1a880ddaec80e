"""Laws of a GPU: it gives what the CPU gives; `pytest -m device tests/test_on_device.py`.

Without a GPU they compare the CPU with itself, which shows no more than that they run; so the fast
suite leaves them out.
"""

import math
from pathlib import Path

import pytest
import torch

import foveal
import miniatures_field
from foveal._devices import best_device
from foveal.evaluation import evaluate
from foveal.export import export
from foveal.images import TensorImage
from foveal.images.augmented import AugmentedImage
from foveal.nn.encoders import Backbone
from foveal.patches import extract
from foveal.runs.folder import RunFolder
from foveal.settings import Hardware
from foveal.topk import gpu, perturbed
from miniatures_training import RANDOM, SPLITS, TRAIN, classifier, fit, still
from pretend_device import exact
from test_devices import KINDS, SELECT, SIZE, WINDOWS, seeded, selected

pytestmark = pytest.mark.device
CPU, DEVICE = torch.device("cpu"), torch.device(best_device())
AUTO = Hardware(accelerator="auto")


@pytest.mark.parametrize(
    ("shape", "k", "sigma"),
    [((3, 50), 4, 0.1), ((2, 9), 9, 0.3), ((1, 17), 1, 0.05), ((4, 4250), 6, 0.02)],
)
def test_the_exact_selection_and_its_gradient_are_those_of_the_cpu(
    shape: tuple[int, int], k: int, sigma: float
) -> None:
    scores = torch.rand(shape, generator=seeded(), dtype=torch.float64)
    incoming = torch.randn(shape[0], k, shape[1], generator=seeded(1), dtype=torch.float64)
    found = []
    for device in (CPU, DEVICE):
        leaf = scores.clone().to(device).detach().requires_grad_()
        dense = perturbed(leaf, k, sigma).dense(shape[1])
        (dense * incoming.to(device)).sum().backward()
        assert leaf.grad is not None
        found.append((dense.detach().cpu(), leaf.grad.cpu()))
    # a GPU begins with more nodes than the CPU, which ends once its rows sum to one within 1e-8
    for (one, other), atol in zip(zip(*found, strict=True), (1e-8, 1e-8 / sigma), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=atol)


def test_a_gpu_with_triton_uses_the_fused_kernel() -> None:
    backend = exact._backend(torch.rand(1, 4, device=DEVICE))
    assert (backend is gpu) == (DEVICE.type == "cuda" and gpu.AVAILABLE)


@pytest.mark.parametrize("operator", SELECT)
def test_every_selection_is_that_of_the_cpu(operator: str) -> None:
    if DEVICE.type != "cpu" and operator in ("conditional", "diagonal"):
        pytest.skip("a generator belongs to one device, and draws other numbers there")
    scores = torch.randn(4, 12, generator=seeded(3))
    one, other = (SELECT[operator](scores.to(device)).dense(12).cpu() for device in (CPU, DEVICE))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("selection", ["hard", "soft"])
@pytest.mark.parametrize("kind", KINDS)
def test_patches_are_those_of_the_cpu(tmp_path: Path, kind: str, selection: str) -> None:
    found = []
    for device in (CPU, DEVICE):
        weights = selected(selection, device)
        found.append(extract(KINDS[kind](device, tmp_path), WINDOWS, weights, SIZE))
    assert found[1].device.type == DEVICE.type
    # windows of bytes that are resampled are rounded to bytes on the CPU only
    torch.testing.assert_close(found[0], found[1].cpu(), rtol=0, atol=1.5 / 255)


@pytest.mark.parametrize("selection", ["hard", "soft"])
def test_patches_and_views_of_augmented_images_are_those_of_the_cpu(selection: str) -> None:
    found, shifts = [], ((0, 0), (3, -4))
    for device in (CPU, DEVICE):
        images = [
            AugmentedImage(TensorImage(image.to(device)), shift, (0.9, 0.05), False, flips)
            for image, shift, flips in zip(
                [TRAIN.images[0], TRAIN.images[1]], shifts, ((-1,), (-2,)), strict=True
            )
        ]
        looks = extract(images, WINDOWS, selected(selection, device), SIZE)
        views = classifier(plain=True).geometry.views(images, device)
        found.append((looks.cpu(), views.cpu()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1.5 / 255)


def test_a_gradient_of_patches_is_that_of_the_cpu() -> None:
    found = []
    for device in (CPU, DEVICE):
        scores = torch.rand(2, len(WINDOWS), generator=seeded()).to(device).requires_grad_()
        images = [TensorImage(image) for image in torch.stack([TRAIN.images[0]] * 2).to(device)]
        patches = extract(images, WINDOWS, perturbed(scores, 3, 0.3), SIZE)
        patches.square().sum().backward()
        assert scores.grad is not None
        found.append(scores.grad.cpu())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_follows_that_of_the_cpu(precision: str) -> None:
    """Without noise; the loss of bfloat16 within its eight bits."""
    options, losses = still(log_every=1, optimiser="sgd", clip_norm=None), []
    for hardware in (
        Hardware(accelerator="cpu"),
        Hardware(accelerator="auto", precision=precision),  # type: ignore[arg-type]
    ):
        model = classifier(plain=True)
        rows = fit(model, SPLITS, options, hardware=hardware, progress=False)
        losses.append([float(row["loss"] or 0) for row in rows])
        assert all(weight.isfinite().all() for weight in model.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if precision == "32-true" else 3e-2)


def test_a_run_that_was_resumed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    model, whole = classifier(), RunFolder.create(tmp_path / "whole")
    fit(model, SPLITS, RANDOM, hardware=AUTO, run=whole, progress=False)
    again = classifier()
    fit(again, SPLITS, RANDOM, hardware=AUTO, run=whole, resume=True, progress=False)
    assert next(again.parameters()).device.type == DEVICE.type
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    assert math.isfinite(evaluate(again, TRAIN).loss)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> foveal.runs.Run:
    """Trained as by `foveal train DATA`, with all its phases."""
    root = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    torch.save(Backbone("test_resnet").network.state_dict(), root / "weights.pt")
    return foveal.train(
        miniatures_field.coloured(root / "squares"),
        output=root / "run",
        encoder="test_resnet",
        weights=root / "weights.pt",
        patch=32,
        k=2,
        batch=4,
        steps=4,
        read_steps=8,
        proposals=4,
    )


def test_the_default_training_goes_through_all_phases(run: foveal.runs.Run) -> None:
    folder = RunFolder(run.path)
    assert folder.kept("taught") is not None
    assert math.isfinite(float(folder.rows()[-1]["validation_loss"] or math.nan))


def test_predictions_are_those_of_the_cpu(run: foveal.runs.Run, tmp_path: Path) -> None:
    images = sorted((run.path.parent / "squares").glob("*.png"))
    here, there = (run.to(device).predict(images) for device in (CPU, DEVICE))
    assert run.evaluate().n == 6
    for one, other in zip(here, there, strict=True):
        assert other.error is None
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-2)


def test_an_exported_file_answers_as_the_run_on_its_device(tmp_path: Path) -> None:
    model = foveal.models.patch_classifier("thin", classes=3, view=(48, 64), patch=24, k=3)
    held = model.eval().to(DEVICE)
    export(held, tmp_path / "a.pt2", size=(60, 90), classes=("a", "b", "c"))
    images = torch.randint(0, 256, (3, 3, 60, 90), generator=seeded(), dtype=torch.uint8)
    with torch.no_grad():
        expected = held(images.to(DEVICE)).logits.softmax(dim=1)
    found, windows = torch.export.load(tmp_path / "a.pt2").module()(images.to(DEVICE))
    assert windows.device.type == DEVICE.type
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
