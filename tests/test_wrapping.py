"""Laws of foreign images and data sets: the same pixels and labels, whatever form they come in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

import foveal._torchvision  # noqa: F401  # before torchvision
import miniatures
from foveal.data import Dataset, wrap
from foveal.data.cache import Cache
from foveal.data.loader import batches
from foveal.errors import UserError
from foveal.images import FileImage, TensorImage
from foveal.images.conversion import as_image

CLASSES = ("cat", "dog", "owl")


def all_pixels(source: Any) -> Tensor:
    """All pixels of any source, in [0, 1]."""
    image = as_image(source)
    return image.view(image.size)


# single images

FORMS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "uint8 array": lambda array: array,
    "reversed twice": lambda array: array[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "read-only array": lambda array: np.frombuffer(array.tobytes(), np.uint8).reshape(array.shape),
    "float32 array": lambda array: (array / 255).astype(np.float32),
    "float64 array": lambda array: array / 255,
    "big-endian array": lambda array: (array / 255).astype(">f4"),
    "tensor": lambda array: torch.from_numpy(array).permute(2, 0, 1),
    "float tensor": lambda array: torch.from_numpy(array / 255).permute(2, 0, 1),
    "PIL image": PIL.Image.fromarray,
    "image": lambda array: TensorImage(torch.from_numpy(array).permute(2, 0, 1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_image_has_the_same_pixels(form: str) -> None:
    array = miniatures.pixels(20, 30).permute(1, 2, 0).contiguous().numpy()
    expected = torch.from_numpy(array).permute(2, 0, 1) / 255
    torch.testing.assert_close(all_pixels(FORMS[form](array)), expected, atol=1e-7, rtol=0)


def test_a_gray_array_has_its_values_in_all_three_channels() -> None:
    gray = miniatures.pixels(20, 30)[0]
    for source in (gray.numpy(), PIL.Image.fromarray(gray.numpy())):
        assert torch.equal(all_pixels(source), (gray / 255).expand(3, -1, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_pil_image_and_its_file_have_the_same_upright_pixels(
    tmp_path: Path, mode: str, orientation: int, suffix: str
) -> None:
    if (mode, suffix) in [("CMYK", "png"), ("LA", "tif")]:
        pytest.skip("the format has no such pixels")
    image = PIL.Image.fromarray(miniatures.pixels(20, 30).permute(1, 2, 0).contiguous().numpy())
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    exif = PIL.Image.Exif()
    exif[274] = orientation
    file = miniatures.write(tmp_path / f"image.{suffix}", image, exif=exif)
    upright = image if orientation == 1 else image.transpose(PIL.Image.Transpose.ROTATE_270)
    assert torch.equal(all_pixels(upright), all_pixels(file))
    with file.open("rb") as stream, PIL.Image.open(stream) as opened:
        assert torch.equal(all_pixels(opened), all_pixels(file))


def test_a_path_is_read_when_it_is_needed(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", str(tmp_path / "none.png")):
        assert isinstance(as_image(path), FileImage)


@pytest.mark.parametrize("bad", [255.0, -0.6, float("nan"), float("inf")])
def test_floats_outside_0_to_1_are_refused(bad: float) -> None:
    array = np.zeros((4, 5, 3), np.float32)
    array[2, 3, 1] = bad
    for source in (array, torch.from_numpy(array)):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]: got .*uint8"):
            as_image(source)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        (np.zeros((4, 5), np.int64), TypeError, "got int64"),
        (np.zeros((2, 3, 4, 5), np.uint8), ValueError, r"\(2, 3, 4, 5\)"),
        (np.zeros((0, 5), np.uint8), ValueError, "not empty"),
        (torch.zeros(4, 5), ValueError, r"\(4, 5\)"),
        (torch.zeros(3, 4, 5, dtype=torch.int32), TypeError, "got torch.int32"),
        (PIL.Image.new("F", (4, 5)), ValueError, "mode F"),
        (7, TypeError, "not an image: int; give a path"),
    ],
)
def test_what_is_no_image_is_refused_in_words(source: Any, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        as_image(source)


# data sets


class Unreadable:
    """Lists its labels, and fails if an image is read."""

    def __init__(self, name: str, labels: Any, target_transform: Any = None) -> None:
        setattr(self, name, labels)
        self.target_transform, self.count = target_transform, len(labels)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("an image was read")


@pytest.mark.parametrize("name", ["targets", "labels"])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_listed_labels_are_read_without_an_image(name: str, kind: Callable[..., Any]) -> None:
    data = Unreadable(name, kind([2, 0, 1]))
    assert wrap(data, CLASSES).labels.tolist() == [2, 0, 1]
    assert wrap(Subset(data, [2, 0]), CLASSES).labels.tolist() == [1, 2]


def test_listed_labels_are_transformed_as_those_of_the_items_are() -> None:
    data = Unreadable("targets", torch.tensor([2, 0, 1]), target_transform=lambda label: 2 - label)
    assert wrap(data, CLASSES).labels.tolist() == [0, 2, 1]


def test_a_folder_of_torchvision_has_the_labels_and_pixels_of_its_files(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    foreign = ImageFolder(str(miniatures.class_folders(tmp_path)))
    data = wrap(foreign)
    assert isinstance(data, Dataset)
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == foreign.targets
    for index, (file, label) in enumerate(foreign.samples):
        example = data[index]
        assert example.label == label
        assert torch.equal(all_pixels(example.image), all_pixels(file))


def test_items_give_the_labels_where_none_are_listed() -> None:
    from torchvision.datasets import FakeData

    random = FakeData(5, (3, 8, 9), 3, transform=np.array)
    assert wrap(random, CLASSES).labels.tolist() == [int(random[i][1]) for i in range(5)]
    stacked = TensorDataset(torch.rand(4, 3, 8, 9), torch.tensor([0, 1, 1, 2]))
    assert wrap(stacked, CLASSES).labels.tolist() == [0, 1, 1, 2]
    assert wrap(stacked, CLASSES)[3].image.size == (8, 9)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_vectors_of_labels_are_sets_of_classes(dtype: torch.dtype) -> None:
    rows = torch.tensor([[1, 0, 1], [0, 0, 0]]).to(dtype)
    data = wrap(TensorDataset(torch.rand(2, 3, 8, 9), rows), CLASSES)
    assert data.labels.dtype == torch.bool
    assert torch.equal(data.labels, rows.bool())
    assert torch.equal(torch.as_tensor(data[0].label), rows[0].bool())


def test_a_label_that_changes_between_readings_is_refused() -> None:
    images = [(np.zeros((4, 5), np.uint8), 0), (np.zeros((4, 5), np.uint8), 1)]
    data = wrap(images, CLASSES)
    images.reverse()
    with pytest.raises(ValueError, match="item 0 has the label 1, but the data set lists 0"):
        _ = data[0]


def test_iterating_ends_with_the_last_image() -> None:
    data = wrap([(np.zeros((4, 5), np.uint8), 1)] * 3, CLASSES)
    assert [example.label for example in data] == [1, 1, 1]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 3], r"0\.\.2 for 3 classes: got 0 to 3"),
        ([-1, 0], "got -1 to 0"),
        ([0.5, 1.0], "class number or a vector of 0 and 1: got 0.5"),
        ([True, False], "class number"),
        ([[0, 2, 1]], "vector of 0 and 1"),
        ([[0, 1]], "2 classes: got 3 names"),
        ([0, [0, 1, 1]], "all class numbers, or all vectors"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: list[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wrap(Unreadable("targets", labels), CLASSES)


def test_classes_without_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"give classes=\[...\]"):
        wrap([(np.zeros((4, 5), np.uint8), 1)])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.full((3, 4, 5), torch.nan), "got nan to nan"),
        (torch.full((3, 4, 5), torch.inf), "got inf to inf"),
        (torch.full((3, 4, 5), 200.0), "divide values of 0..255 by 255"),
        (torch.zeros(3, 4, 5, dtype=torch.int32), "got torch.int32"),
        (torch.zeros(4, 5), r"must be \(C, H, W\)"),
    ],
)
def test_training_names_the_image_that_cannot_be_used(
    bad: torch.Tensor, words: str, workers: int
) -> None:
    images = [(torch.rand(3, 4, 5), 0), (torch.rand(3, 4, 5), 1), (bad, 0)]
    dataset = wrap(images, classes=["cat", "dog"])
    with pytest.raises(UserError, match=f"image 2 of the data set: .*{words}") as caught:
        list(batches(dataset, size=3, seed=0, steps=1, cache=Cache(workers=workers)))
    assert "\n" not in str(caught.value)
