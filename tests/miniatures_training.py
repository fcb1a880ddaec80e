"""A tiny task, model and settings to train with, for the laws of training."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from foveal import training
from foveal._seeding import derived_generator
from foveal.data import Example, Splits
from foveal.images import TensorImage
from foveal.models import PatchClassifier
from foveal.nn.aggregators import Transformer, mean
from foveal.nn.selectors import TopK
from foveal.runs.folder import Row
from foveal.settings import Hardware, Training
from miniatures import settings


@dataclass(frozen=True)
class Squares:
    """A bright square, red or green, at a random place among gray distractors."""

    images: Tensor
    labels: Tensor
    boxes: Tensor
    classes: tuple[str, ...] = ("red", "green")
    meanwhile: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        self.meanwhile()
        image = TensorImage(self.images[index])
        boxes = self.boxes[index : index + 1]
        label = self.labels[index]
        return Example(image, int(label) if label.ndim == 0 else label, f"{index}.png", boxes)


def squares(n: int, seed: int) -> Squares:
    random = derived_generator(seed)
    images = torch.randint(0, 40, (n, 3, 48, 48), generator=random, dtype=torch.uint8)
    labels = torch.randint(2, (n,), generator=random)
    boxes = torch.zeros(n, 4, dtype=torch.int64)
    for i in range(n):
        for channels in (slice(None), slice(None), slice(int(labels[i]), int(labels[i]) + 1)):
            y, x = torch.randint(0, 40, (2,), generator=random).tolist()
            images[i, channels, y : y + 8, x : x + 8] = 120
        images[i, int(labels[i]), y : y + 8, x : x + 8] = 255
        boxes[i] = torch.tensor((y, x, y + 8, x + 8))
    return Squares(images, labels, boxes)


class Scorer(nn.Module):
    """A 3x3 convolution and a maximum: a map of 6x6 scores for 48x48 pixels."""

    stride, offset = 8, 4.0

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.MaxPool2d(8)
        )

    def forward(self, view: Tensor) -> Tensor:
        return self.layers(view)[:, 0]


class Encoder(nn.Module):
    """A convolution, with batch norm and dropout or without."""

    features = 16

    def __init__(self, plain: bool) -> None:
        super().__init__()
        middle = [] if plain else [nn.BatchNorm2d(16)]
        end = [] if plain else [nn.Dropout(0.1)]
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2),
            *middle,
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            *end,
        )

    def forward(self, patches: Tensor) -> Tensor:
        return self.layers(patches)


def classifier(*, plain: bool = False, select: Any = None, scorer: Any = None) -> PatchClassifier:
    """Everything that draws random numbers or keeps statistics; plain: nothing of it."""
    sigma = 0.0 if plain else 0.05
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PatchClassifier(
            scorer=scorer or Scorer(),
            select=select or TopK(2, sigma=sigma, estimator="diagonal_centred", samples=50),
            encoder=Encoder(plain),
            aggregate=mean if plain else Transformer(16, width=16, num_layers=1, heads=2),
            classes=2,
            view=(48, 48),
            patch=(16, 16),
        )


TRAIN, VALIDATION = squares(24, 1), squares(9, 2)
SPLITS = Splits(TRAIN, VALIDATION)
CPU = Hardware(accelerator="cpu")
RANDOM = settings(
    steps=12,
    batch=5,
    learning_rate=0.01,
    shift=4,
    colour=True,
    flip=True,
    validate_every=4,
    log_every=3,
)
TIMES = ("seconds", "images_per_second")


def fit(*given: Any, hardware: Hardware = CPU, **options: Any) -> list[Row]:
    """`foveal.training.fit` on the CPU."""
    return training.fit(*given, hardware=hardware, **options)


def still(**changes: Any) -> Training:
    """Settings of steps that are a function of their images alone; for a plain classifier."""
    plain = {"shift": 0, "colour": False, "flip": False, "steps": 4, "batch": 6}
    return settings(RANDOM, **(plain | changes))


def floats(images: Tensor) -> Squares:
    return replace(squares(8, 1), images=images)
