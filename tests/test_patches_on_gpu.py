"""The GPU's kernels in Triton's interpreter, beside plain PyTorch."""

import os
import subprocess
import sys

import pytest

INTERPRETED = """
import itertools
import torch
from foveal.images import TensorImage
from foveal.images.augmented import AugmentedImage
from foveal.patches import eager, gpu
from foveal.patches.soft import weighted_crops

random = torch.Generator().manual_seed(0)

def compare(images, k, m, size, dtype=torch.float32):
    corners = torch.randint(-6, 24, (len(images), m, 2), generator=random)
    windows = torch.cat((corners, corners + torch.tensor(size)), dim=2)
    weights = torch.rand(len(images), k, m, generator=random).to(dtype)
    incoming = torch.rand(len(images), k, 3, *size, generator=random)
    found = []
    for backend in (eager, gpu):
        leaf = weights.clone().requires_grad_()
        patches = weighted_crops(images, windows, leaf, size, backend)
        (patches * incoming).sum().backward()
        found.append((patches.detach(), leaf.grad))
    assert gpu.place(images, [size] * len(images), found[0][0]) is not None
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)

stored = torch.randint(256, (2, 3, 20, 26), dtype=torch.uint8, generator=random)
compare(stored, 3, 5, (5, 7))
compare(stored.double() / 255, 20, 9, (3, 9), torch.float64)
compare([TensorImage(stored[0]), TensorImage(stored[1, :, :12].flip(1))], 1, 6, (4, 6))
shifts, colours = ((0, 0), (3, -4), (-7, 5)), ((1.0, 0.0), (1.2, -0.1), (0.8, 0.1))
flips = ((), (-2,), (-1,), (-2, -1))
for pixels in (stored, stored / 255):
    for transpose, flip, shift, colour in itertools.product((False, True), flips, shifts, colours):
        images = [
            AugmentedImage(TensorImage(pixels[0]), shift, colour, transpose, flip),
            AugmentedImage(TensorImage(pixels[1]), (1, 2), (0.9, 0.05), not transpose),
        ]
        compare(images, 3, 4, (5, 7))

images = [AugmentedImage(TensorImage(each), (2, -3), (0.9, 0.05), True) for each in stored]
gpu.suits, gpu._COPIED = lambda device: True, 3 * 20 * 26
assert list(gpu.copies([images[0], TensorImage(stored[0])], torch.device("cpu"))) == []
copies = torch.cat(list(gpu.copies(images, torch.device("cpu"))))
whole = torch.stack([each.view(each.size) for each in images])
torch.testing.assert_close(copies, whole, rtol=0, atol=1e-6)
"""


def test_the_kernels_agree_with_plain_pytorch() -> None:
    pytest.importorskip("triton", reason="Triton, which comes with torch's CUDA builds, is absent")
    # Triton reads a kernel's source, which the checks of types in tests would stand before.
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", INTERPRETED], check=True, env=environment)
