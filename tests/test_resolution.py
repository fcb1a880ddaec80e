"""What a pixel of a file shows, and patches given in micrometres or metres."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import miniatures
from foveal._lengths import MICROMETRES, parse_length
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.images.file_resolution import resolution
from foveal.paper import recipes
from foveal.planning.folder import folder
from test_lazy_files import written
from tiff_files import Layout, random, tiff

OME = '<?xml version="1.0"?><OME xmlns="http://x"><Image ID="Image:0"><Pixels ID="p" SizeX="9" '
KEYS = (1, 1, 0)  # version and revision
PROJECTED, GEOGRAPHIC = (1024, 0, 1, 1), (1024, 0, 1, 2)
FEET = (3076, 0, 1, 9002)
OPTIONS = {"encoder": "thin", "view": (64, 64), "k": 2}


def ome(**attributes: object) -> str:
    listed = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"{OME}{listed}/></Image></OME>"


def keys(*each: tuple[int, ...]) -> tuple[int, ...]:
    return (*KEYS, len(each), *(number for key in each for number in key))


def file(path: Path, tags: dict[int, Any], **options: Any) -> Path:
    kind = Layout(tile=16, tags=tags, **options)
    return written(path, tiff(random(kind), kind))


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("tags", "down", "across"),
    [
        ({270: ome(PhysicalSizeX=0.25, PhysicalSizeY=0.5)}, 0.5, 0.25),
        ({270: ome(PhysicalSizeX=250, PhysicalSizeXUnit="nm", PhysicalSizeY=0.25)}, 0.25, 0.25),
        ({270: ome(PhysicalSizeX=1, PhysicalSizeXUnit="mm", PhysicalSizeY=1)}, 1, 1000),
        ({270: ome(PhysicalSizeX=2, PhysicalSizeXUnit="&#181;m", PhysicalSizeY=2)}, 2, 2),
        (
            {270: "Aperio Image Library v1\r\n9x9 |AppMag = 40|MPP = 0.2498|Left = 2"},
            0.2498,
            0.2498,
        ),
        ({33550: (0.3, 0.6, 0.0), 34735: keys(PROJECTED)}, 6e5, 3e5),
        ({33550: (10.0, 10.0, 0.0)}, 1e7, 1e7),
        ({33550: (1.0, 2.0, 0.0), 34735: keys(PROJECTED, FEET)}, 609600, 304800),
        ({282: (100.0,), 283: (200.0,), 296: (3,)}, 50, 100),
        ({282: (300.0,), 283: (300.0,), 296: (2,)}, 25400 / 300, 25400 / 300),
        ({270: "Aperio |MPP = 0.5", 282: (300.0,), 283: (300.0,), 296: (2,)}, 0.5, 0.5),
        ({282: (100.0,), 283: (200.0,), 296: (3,), 274: (6,)}, 100, 50),  # a quarter turned
    ],
)
def test_what_a_pixel_shows_is_read(
    tmp_path: Path,
    tags: dict[int, Any],
    down: float,
    across: float,
    big_endian: bool,
    bigtiff: bool,
) -> None:
    if big_endian and bigtiff:
        pytest.skip("such files are not read")
    path = file(tmp_path / "a.tif", tags, big_endian=big_endian, bigtiff=bigtiff)
    found = resolution(path)
    assert found is not None
    assert (found.down, found.across) == pytest.approx((down, across))


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {270: "a picture, MPP = 0.25"},
        {270: "Aperio |MPP = much"},
        {270: ome(PhysicalSizeX=0.25)},
        {270: ome(PhysicalSizeX="x", PhysicalSizeY=1)},
        {270: ome(PhysicalSizeX=1, PhysicalSizeXUnit="pixel", PhysicalSizeY=1)},
        {270: ome(PhysicalSizeX=0, PhysicalSizeY=0)},
        {33550: (0.1, 0.1, 0.0), 34735: keys(GEOGRAPHIC)},  # degrees
        {33550: (0.0, 0.0, 0.0)},
        {282: (72.0,), 283: (72.0,)},
        {282: (72.0,), 283: (72.0,), 296: (1,)},  # no unit
        {282: (0.0,), 283: (0.0,), 296: (2,)},
    ],
)
def test_what_is_not_said_is_not_guessed(tmp_path: Path, tags: dict[int, Any]) -> None:
    assert resolution(file(tmp_path / "a.tif", tags)) is None


def test_other_files_say_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        path = miniatures.write(tmp_path / name, miniatures.pixels(9, 9), dpi=(300, 300))
        assert resolution(path) is None


@given(
    st.decimals(min_value="0.001", max_value=9999, places=3), st.sampled_from(sorted(MICROMETRES))
)
def test_a_length_is_a_number_and_a_unit(number: Any, unit: str) -> None:
    expected = float(number) * MICROMETRES[unit]
    assert parse_length(f"{number}{unit}") == parse_length(f" {number} {unit} ") == expected


@pytest.mark.parametrize("text", ["", "um", "64", "0um", "-3um", "64 inch", "1e3um", "64um um"])
def test_other_texts_are_no_lengths(text: str) -> None:
    with pytest.raises(ValueError, match="a length must be"):
        parse_length(text)


# patches in units


def slides(root: Path, sizes: tuple[float, ...] = (0.5,), suffix: str = "tif") -> Path:
    """Two classes of four slides, whose pixels show what `sizes` repeats, in micrometres."""
    for number, name in enumerate(("benign", "tumour")):
        (root / name).mkdir(parents=True)
        for index in range(4):
            picture = miniatures.pixels(96, 128, seed=10 * number + index)
            side = sizes[index % len(sizes)]
            tags = {270: ome(PhysicalSizeX=side, PhysicalSizeY=side)}
            content = tiff(picture.permute(1, 2, 0).numpy(), Layout(tile=16, tags=tags))
            path = root / name / f"{index}.{suffix}"
            path.write_bytes(content) if suffix == "tif" else miniatures.write(path, picture)
    return root


@pytest.mark.parametrize(
    ("length", "sizes", "expected"),
    [
        ("16um", (0.5,), 32),
        ("0.02mm", (0.5,), 40),
        ("8 um", (0.25, 0.26), 31),
        ("16um", (1.0,), 16),
    ],
)
def test_a_patch_in_micrometres_is_one_in_pixels(
    tmp_path: Path, length: str, sizes: tuple[float, ...], expected: int
) -> None:
    data = slides(tmp_path / "slides", sizes)
    experiment = recipes.build("folder", {"data": data, "patch": length, **OPTIONS})
    assert experiment.options["model"].patch == expected
    assert experiment.model.patch == (expected, expected)
    (note,) = [each for each in experiment.notes if each.startswith(f"--patch {length}")]
    assert f"patch {expected} px" in note
    assert "OME-XML" in note


@pytest.mark.parametrize(
    ("sizes", "suffix", "said"),
    [
        ((0.5,), "png", r"--patch 16um: \d of \d images do not say what a pixel shows .*\.png"),
        ((0.25, 0.5), "tif", r"differ .* from 0.25 um per pixel .* to 0.5 um per pixel"),
    ],
)
def test_a_unit_is_refused_where_images_do_not_say_or_do_not_agree(
    tmp_path: Path, sizes: tuple[float, ...], suffix: str, said: str, capsys: Any
) -> None:
    data = slides(tmp_path / "slides", sizes, suffix)
    with pytest.raises(UserError, match=said) as caught:
        recipes.build("folder", {"data": data, "patch": "16um", **OPTIONS})
    assert "give it in pixels" in str(caught.value)
    assert main(["train", str(data), "--patch", "16um", "--output", str(tmp_path / "run")]) == 2
    assert str(caught.value) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_on_the_command_line_a_number_is_pixels_and_a_wrong_unit_one_line(
    tmp_path: Path, capsys: Any
) -> None:
    data = slides(tmp_path / "slides")
    arguments = ["plan", str(data), "--encoder", "thin", "--view", "64", "64", "--k", "2"]
    assert main([*arguments, "--patch", "16um"]) == 0
    assert "2 patches of 32 px" in (in_units := capsys.readouterr().out)
    assert main([*arguments, "--patch", "32"]) == 0
    assert "2 patches of 32 px" in (in_pixels := capsys.readouterr().out)
    assert "--patch 16um" in in_units
    assert "--patch" not in in_pixels
    assert main([*arguments, "--patch", "16inch"]) == 2
    error = capsys.readouterr().err
    assert "patch must be a number of pixels, or a length like 64um" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("length", "view"), [("1um", (48, 64)), ("0.75 um", (64, 88)), ("500nm", (96, 128))]
)
def test_the_view_can_be_given_by_what_its_pixels_show(
    tmp_path: Path, length: str, view: tuple[int, int]
) -> None:
    given = {"data": slides(tmp_path / "slides"), "encoder": "thin", "k": 2, "patch": "16um"}
    experiment = recipes.build("folder", {**given, "view_resolution": length})
    assert experiment.model.view == view
    assert experiment.model.patch == (32, 32)
    again = folder(**experiment.options)  # which are complete: nothing is left to translate
    assert again.options == experiment.options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"view_resolution": "0.25um"}, "must not show less than one of the images, 0.5 um"),
        ({"view_resolution": "1um", "view": (64, 64)}, "give view or view_resolution, not both"),
        ({"view_resolution": "64"}, "view_resolution must be a number of pixels, or a length"),
    ],
)
def test_a_view_that_cannot_be_is_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    data = slides(tmp_path / "slides")
    with pytest.raises(UserError, match=said):
        recipes.build("folder", {"data": data, "encoder": "thin", "k": 2, **options})
