"""Every kind of TIFF is read as what it shows, or refused in words: what docs/formats.md says."""

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from foveal.images import ImageError, read
from tiff_files import (
    CMYK,
    DEFLATE,
    FLOAT,
    GRAY,
    HEIGHT,
    JPEG,
    LAB,
    LZMA,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    PALETTE,
    READ,
    READABLE,
    RGB,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    WIDTH,
    YCBCR,
    ZSTD,
    Layout,
    Values,
    jpeg,
    layout,
    random,
    tiff,
)

COLOURS = (GRAY, WHITE_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB)
TYPES = (
    *((UNSIGNED, bits) for bits in (1, 2, 4, 8, 12, 16, 32, 64)),
    *((SIGNED, bits) for bits in (8, 16, 32, 64)),
    *((FLOAT, bits) for bits in (16, 32, 64)),
)
EXTRAS = ((), (0,), (1,), (2,), (0, 0), (1, 0), (2, 0), (0, 2), (0, 0, 0))
COMPRESSIONS = (NONE, LZW, DEFLATE, PACKBITS, LZMA, ZSTD)
# big-endian, BigTIFF, predictor
VARIANTS = ((False, False, 1), (True, False, 1), (False, True, 1), (True, False, 2))


def shown(values: Values, kind: Layout) -> NDArray[np.float64]:
    """The picture (H, W, 3) in 0..255, by the meaning of the tags; transparent is white."""
    share = values / (2.0**kind.bits - 1)
    first = kind.samples - len(kind.extra)
    colour, alpha = share[..., :first], share[..., first : first + 1]
    if kind.photometric == WHITE_IS_ZERO:
        colour = 1 - colour
    if kind.photometric == PALETTE:
        colour = np.array(kind.colormap).reshape(3, -1).T[values[..., 0]] / 65535
    if kind.photometric == CMYK:
        colour = (1 - colour[..., :3]) * (1 - colour[..., 3:])
    colour = np.broadcast_to(colour, (*colour.shape[:2], 3))
    if kind.extra[:1] == (1,):
        colour = colour + 1 - alpha
    if kind.extra[:1] == (2,):
        colour = colour * alpha + 1 - alpha
    return 255 * colour


def differs(path: Path, values: Values, kind: Layout, picture: NDArray[np.float64]) -> str:
    """Write and read a TIFF: how it differs from the picture, the refusal, or nothing."""
    path.unlink(missing_ok=True)  # some file systems wait for the disk where a file is truncated
    path.write_bytes(tiff(values, kind))
    try:
        pixels = read(path).permute(1, 2, 0).numpy()
    except ImageError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        assert text.count(";") == 1
        assert "\n" not in text
        assert "damaged" not in text
        return f"refused: {text}"
    assert pixels.shape == picture.shape
    # Pillow takes the upper byte of 16 bits, and rounds again where it blends
    coarse = kind.bits == 16 or kind.photometric == PALETTE
    allowed = 2 if coarse and any(kind.extra) else 1
    furthest = np.abs(pixels - picture).max()
    return "" if furthest <= allowed + 0.01 else f"differs by {furthest}"


@pytest.mark.parametrize("colour", COLOURS)
def test_each_meaning_of_samples_is_read_exactly_or_refused_in_words(
    tmp_path: Path, colour: int
) -> None:
    path = tmp_path / "a.tif"
    for (sample_format, bits), extra, compression, big_endian in itertools.product(
        TYPES, EXTRAS, (NONE, OLD_DEFLATE), (False, True)
    ):
        if sample_format != UNSIGNED and (colour == PALETTE or compression != NONE or extra):
            continue
        if colour == PALETTE and bits > 8:
            continue
        kind = layout(
            colour,
            bits,
            extra,
            sample_format=sample_format,
            compression=compression,
            big_endian=big_endian,
        )
        values = random(kind)
        is_read = sample_format == UNSIGNED and extra in READ.get((colour, bits), ())
        is_read &= (colour, bits, big_endian) != (WHITE_IS_ZERO, 16, True)
        picture = shown(values, kind) if is_read else np.zeros((HEIGHT, WIDTH, 3))
        outcome = differs(path, values, kind, picture)
        assert outcome == "" if is_read else outcome.startswith("refused"), (kind, outcome)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_read_is_read_however_it_is_stored(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "a.tif"
    for (colour, bits, extra), planes, tile, (big_endian, bigtiff, predictor) in itertools.product(
        READABLE, (False, True), (0, 16), VARIANTS
    ):
        kind = layout(
            colour,
            bits,
            extra,
            compression=compression,
            planes=planes,
            tile=tile,
            big_endian=big_endian,
            bigtiff=bigtiff,
            predictor=predictor,
        )
        values = random(kind)
        outcome = differs(path, values, kind, shown(values, kind))
        may_refuse = (
            (planes and any(extra) and (colour, len(extra)) != (RGB, 1))
            or (predictor == 2 and (bits < 8 or compression in (NONE, PACKBITS)))
            or (colour == WHITE_IS_ZERO and bits == 16 and big_endian)
        )
        assert outcome.startswith("refused") if may_refuse else outcome == "", (kind, outcome)


def test_a_big_endian_bigtiff_is_refused_in_words(tmp_path: Path) -> None:
    kind = Layout(big_endian=True, bigtiff=True)
    values = random(kind)
    assert "big-endian BigTIFF" in differs(tmp_path / "a.tif", values, kind, shown(values, kind))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_upright_however_it_is_stored(tmp_path: Path, orientation: int) -> None:
    for compression, planes, tile in itertools.product((NONE, LZW), (False, True), (0, 16)):
        kind = Layout(compression=compression, planes=planes, tile=tile, tags={274: (orientation,)})
        values = random(kind)
        flipped = values[:, ::-1] if orientation in (2, 3, 7, 8) else values
        flipped = flipped[::-1] if orientation in (3, 4, 6, 7) else flipped
        upright = {
            5: values.transpose(1, 0, 2),
            6: np.rot90(values, -1),
            7: values[::-1, ::-1].transpose(1, 0, 2),
            8: np.rot90(values),
        }.get(orientation, flipped)
        assert differs(tmp_path / "a.tif", values, kind, upright.astype(float)) == "", kind


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("tile", [0, 16])
def test_jpeg_in_a_tiff_is_read_within_its_loss(tmp_path: Path, tile: int) -> None:
    y, x, phase = np.mgrid[:32, :48, :3]
    picture = (127 + 100 * np.sin(y / 17 + x / 23 + phase)).astype(np.uint8)
    kinds = [
        (Layout(RGB, encode=jpeg("RGB", keep_rgb=True)), picture, picture),
        (Layout(YCBCR, encode=jpeg("RGB", subsampling=0), tags={530: (1, 1)}), picture, picture),
        (Layout(YCBCR, encode=jpeg("RGB", subsampling=2), tags={530: (2, 2)}), picture, picture),
        (Layout(GRAY, encode=jpeg("L")), picture[..., :1], picture[..., [0, 0, 0]]),
        (Layout(WHITE_IS_ZERO, encode=jpeg("L")), picture[..., :1], 255 - picture[..., [0, 0, 0]]),
    ]
    for kind, values, expected in kinds:
        kind = replace(kind, compression=JPEG, tile=tile)
        (tmp_path / "a.tif").write_bytes(tiff(values, kind))
        pixels = read(tmp_path / "a.tif").permute(1, 2, 0).numpy().astype(int)
        assert np.abs(pixels - expected).max() <= 8
    for kind in (Layout(CMYK), Layout(planes=True), Layout(extra=(2,)), Layout(bits=16)):
        kind = replace(kind, compression=JPEG, encode=lambda piece: b"")
        assert differs(tmp_path / "a.tif", random(kind), kind, picture).startswith("refused")


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("tags", [{}, {266: 2}, {262: 0}])
def test_a_fax_is_read_to_the_bit(tmp_path: Path, compression: str, tags: dict[int, int]) -> None:
    bits = np.random.default_rng(0).random((20, 30)) < 0.5
    Image.fromarray(bits).save(tmp_path / "a.tif", compression=compression, tiffinfo=tags)
    assert np.array_equal(read(tmp_path / "a.tif")[0].numpy(), 255 * bits)


@pytest.mark.parametrize("number", [6, 9, 32809, 33003, 34712, 34887, 50002, 65000])
def test_a_compression_that_is_not_read_is_refused_in_words(tmp_path: Path, number: int) -> None:
    kind = Layout(compression=number, encode=lambda piece: piece.tobytes())
    values = random(kind)
    assert "compressed with" in differs(tmp_path / "a.tif", values, kind, np.zeros(values.shape))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({262: None}, "without a photometric interpretation"),
        ({277: None}, "1 samples per pixel"),
        ({277: (4,)}, "4 samples per pixel"),
        ({258: (5, 6, 5)}, r"5\+6-bit"),
        ({339: (4, 4, 4)}, "undefined samples"),
        ({266: (2,)}, "fill order 2"),
        ({254: (1,)}, "reduced copy"),
        ({262: (32803,)}, "colour filter array"),
        ({262: (77,)}, "photometric interpretation 77"),
        ({317: (3,)}, "predictor 3"),
    ],
)
def test_unusual_tags_are_refused_in_words(
    tmp_path: Path, tags: dict[int, tuple[int, ...] | None], words: str
) -> None:
    kind = Layout(tags=tags)
    (tmp_path / "a.tif").write_bytes(tiff(random(kind), kind))
    with pytest.raises(ImageError, match=words):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("number", [258, 259, 274, 284, 338, 339])
def test_tags_with_a_default_may_be_left_out(tmp_path: Path, number: int) -> None:
    kind = Layout(GRAY, 1, tags={number: None})
    values = random(kind)
    assert differs(tmp_path / "a.tif", values, kind, shown(values, kind)) == ""


def test_a_page_of_a_kind_that_is_not_read_does_not_matter_in_a_pyramid(tmp_path: Path) -> None:
    first, level = Layout(), Layout(compression=34712, encode=lambda piece: b"", tags={254: (1,)})
    values = random(first)
    content = tiff([(values, first), (random(level, 6, 10), level)])
    (tmp_path / "a.tif").write_bytes(content)
    assert np.array_equal(read(tmp_path / "a.tif").permute(1, 2, 0), values)


def test_damage_is_reported_to_foveal_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, faults = tmp_path / "a.tif", 0
    for compression in COMPRESSIONS:
        kind = Layout(compression=compression)
        content = tiff(random(kind, 60, 60), kind)
        for share in (0.3, 0.6, 0.9):
            middle = int(share * len(content))
            for damaged in (
                content[:middle],
                content[:middle] + bytes(40) + content[middle + 40 :],
            ):
                path.write_bytes(damaged)
                try:
                    read(path)
                except ImageError:
                    faults += 1
    assert faults >= 3 * len(COMPRESSIONS)  # at least those that are cut
    assert capfd.readouterr() == ("", "")


def test_these_files_hold_what_an_independent_reader_finds() -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile, to compare with, is not installed")
    for bits, colour, compression, planes, tile, big_endian, bigtiff in itertools.product(
        (8, 16), (RGB, GRAY), (NONE, DEFLATE), *[(False, True)] * 4
    ):
        kind = Layout(
            colour,
            bits,
            compression=compression,
            planes=planes,
            tile=16 * tile,
            big_endian=big_endian,
            bigtiff=bigtiff,
        )
        values = random(kind)
        found = tifffile.imread(io.BytesIO(tiff(values, kind)))
        found = np.moveaxis(found, 0, -1) if planes and colour == RGB else found
        assert np.array_equal(found.reshape(values.shape), values), kind
