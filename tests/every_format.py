"""Small files of every format that is read."""

import io
from typing import Any

import numpy as np
import PIL.Image

import miniatures
from png_files import GRAY_ALPHA, PALETTE, RGB, png
from tiff_files import DEFLATE, LZMA, LZW, PACKBITS, ZSTD, jpeg, layout, random, tiff
from tiff_files import GRAY as TIFF_GRAY
from tiff_files import PALETTE as TIFF_PALETTE
from tiff_files import RGB as TIFF_RGB
from tiff_files import YCBCR as TIFF_YCBCR


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def images() -> dict[str, bytes]:
    """By name, all but PNG."""
    pixels = miniatures.smooth(20, 28).permute(1, 2, 0).contiguous().numpy()
    colour = PIL.Image.fromarray(pixels)
    alpha = PIL.Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    exif = PIL.Image.Exif()
    exif[274], exif[271] = 6, "maker"
    found = {
        "a.jpg": saved(colour, "JPEG", exif=exif),
        "progressive.jpg": saved(colour, "JPEG", progressive=True),
        "cmyk.jpg": saved(colour.convert("CMYK"), "JPEG"),
        "gray.jpg": saved(colour.convert("L"), "JPEG"),
        "mpo.jpg": saved(colour, "MPO", save_all=True, append_images=[colour]),
        "a.webp": saved(colour, "WEBP", exif=exif),
        "lossless.webp": saved(alpha, "WEBP", lossless=True),
        "a.gif": saved(colour.quantize(16), "GIF"),
        "a.bmp": saved(colour, "BMP"),
        "palette.bmp": saved(colour.quantize(16), "BMP"),
        "a.ppm": saved(colour, "PPM"),
        "a.pgm": saved(colour.convert("L"), "PPM"),
        "a.jp2": saved(colour, "JPEG2000"),
    }
    kinds = {
        "strips": layout(TIFF_RGB, 8, ()),
        "planes": layout(TIFF_RGB, 8, (), planes=True),
        "gray16": layout(TIFF_GRAY, 16, (), big_endian=True),
        "palette": layout(TIFF_PALETTE, 4, (), compression=PACKBITS),
        "lzw": layout(TIFF_RGB, 8, (), compression=LZW, predictor=2),
        "alpha": layout(TIFF_RGB, 8, (2,), compression=DEFLATE, tile=16),
        "bigtiff": layout(TIFF_RGB, 8, (), bigtiff=True, tile=16),
        "lzma": layout(TIFF_GRAY, 8, (), compression=LZMA),
        "zstd": layout(TIFF_GRAY, 8, (), compression=ZSTD, tile=16),
        "jpeg": layout(TIFF_YCBCR, 8, (), compression=7, tile=16, encode=jpeg("YCbCr")),
    }
    found |= {f"{name}.tif": tiff(random(kind, 20, 28), kind) for name, kind in kinds.items()}
    pages = [(random(kinds["alpha"], 20 >> n, 28 >> n), kinds["alpha"]) for n in (0, 1)]
    return found | {"pyramid.tif": tiff(pages)}


def pngs() -> dict[str, bytes]:
    """PNGs of several kinds, with what stands before the pixels."""
    values = np.random.default_rng(0).integers(0, 16, (9, 13, 3))
    table = bytes(range(48))
    text = {b"tEXt": b"Comment\0text", b"gAMA": b"\0\0\xb1\x8f", b"pHYs": bytes(9)}
    exif = PIL.Image.Exif()
    exif[274] = 3
    rotated = {b"eXIf": exif.tobytes()[6:]}
    found = {
        "rgb": png(values, RGB, 8, chunks=text | rotated),
        "rgb16": png(values, RGB, 16, interlaced=True),
        "palette": png(values[..., :1], PALETTE, 4, chunks={b"PLTE": table, b"tRNS": table[:5]}),
        "gray": png(values[..., :2], GRAY_ALPHA, 8),
    }
    return {f"{name}.png": content for name, content in found.items()}
