"""Circuit boards with one defect: which kind is it, or is the board clean?

DeepPCB (Tang et al., 2019) has pairs of a defective and a clean image, 640 x 640 px, black and
white. A defective image as it is gives itself away by the edges of its copper, which jitter. So one
boxed defect is pasted into the clean image of its pair. Larger boards are tiles of clean images.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.field.groups import split_groups
from foveal.field.pictures import Box, Picture

DEFECTS = {1: "open", 2: "short", 3: "mousebite", 4: "spur", 5: "copper", 6: "pin-hole"}
SIDE = 640  # pixels of an image of DeepPCB
GROWN = 4  # pixels around a box that are pasted with it
CLEAN = 0.25  # chance that a board has no defect


@dataclass(frozen=True)
class Pair:
    """A defective image and the clean one of the same part of a board.

    Attributes:
        group: name of its folder, images of one kind of board.
        template: file of the clean image.
        test: file of the defective image.
        defects: kind and box of each defect.
    """

    group: str
    template: Path
    test: Path
    defects: tuple[tuple[str, Box], ...]


def boards(*, source: Path, size: int = SIDE, fold: int = 0, seed: int = 0) -> Iterator[Picture]:
    """Circuit boards with one small defect of six kinds, or clean (DeepPCB).

    Args:
        source: folder of DeepPCB, with a folder for each group of boards.
        size: height and width in pixels: 640, 1280 or 2560.
        fold: which groups of boards are tested, 0 to 4.
        seed: seed of the choice of defects and tiles.

    Raises:
        UserError: an option is out of range, or the source is not DeepPCB.
    """
    import numpy as np

    if size not in (SIDE, 2 * SIDE, 4 * SIDE):
        raise UserError(f"--size {size}: choose 640, 1280 or 2560")
    pairs = read_pairs(source)
    splits = split_groups(Counter(pair.group for pair in pairs), fold)
    by_group: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_group[pair.group].append(pair)
    for index, pair in enumerate(pairs):
        rng = np.random.default_rng((seed, index))
        others = rng.choice(len(by_group[pair.group]), (size // SIDE) ** 2)
        tiles = [by_group[pair.group][other].template for other in others]
        place = int(rng.integers(len(tiles)))
        tiles[place] = pair.template
        name = pair.template.stem.removesuffix("_temp")
        is_clean = rng.random() < CLEAN
        kind, box = _choose(pair, is_clean, rng.integers)
        top, left = (SIDE * step for step in divmod(place, size // SIDE))
        yield Picture(
            Path("images") / f"{name}.png",
            kind,
            splits[pair.group],
            pair.group,
            () if box is None else (_moved(box, top, left),),
            partial(_board, tiles, pair.test, None if box is None else grown(box), (top, left)),
        )


def read_pairs(source: Path) -> list[Pair]:
    """List the pairs of DeepPCB, with their defects.

    Raises:
        UserError: there are none, or a file of a pair is missing or wrong.
    """
    templates = sorted(source.glob("group*/**/*_temp.*")) if source.is_dir() else []
    if not templates:
        raise UserError(f"{source}: not DeepPCB: no clean images group*/**/*_temp.*")
    return [_read_pair(source, template) for template in templates]


def _read_pair(source: Path, template: Path) -> Pair:
    group = template.relative_to(source).parts[0]
    name = template.stem.removesuffix("_temp")
    test = template.with_name(f"{name}_test{template.suffix}")
    # as published, the lists of defects have a folder of their own
    beside = template.with_name(f"{name}.txt")
    apart = template.parent.with_name(f"{template.parent.name}_not") / f"{name}.txt"
    defects = beside if beside.is_file() else apart
    for file in (test, defects):
        if not file.is_file():
            raise UserError(f"{file}: missing beside {template}: copy DeepPCB again")
    try:
        return Pair(group, template, test, tuple(map(_defect, defects.read_text().splitlines())))
    except (ValueError, KeyError) as error:
        raise UserError(f"{defects}: no list of defects ({error}): copy DeepPCB again") from None


def _defect(line: str) -> tuple[str, Box]:
    left, top, right, bottom, kind = map(int, line.split())
    if not (0 <= left < right <= SIDE and 0 <= top < bottom <= SIDE):
        raise ValueError(f"{line!r} is no box in {SIDE} x {SIDE} px")
    return DEFECTS[kind], (top, left, bottom, right)


def _choose(pair: Pair, is_clean: bool, draw: Callable[[int], Any]) -> tuple[str, Box | None]:
    """A defect that no other defect touches, each kind equally likely; or none."""
    boxes = [box for _, box in pair.defects]
    alone = [
        (kind, box)
        for kind, box in pair.defects
        if sum(_overlap(grown(box), other) for other in boxes) == 1
    ]
    if is_clean or not alone:
        return "clean", None
    kinds = sorted({kind for kind, _ in alone})
    kind = kinds[draw(len(kinds))]
    possible = [box for each, box in alone if each == kind]
    return kind, possible[draw(len(possible))]


def grown(box: Box) -> Box:
    """A box with a margin, clipped to the image.

    >>> grown((2, 100, 30, 120))
    (0, 96, 34, 124)
    """
    top, left, bottom, right = box
    return (
        max(top - GROWN, 0),
        max(left - GROWN, 0),
        min(bottom + GROWN, SIDE),
        min(right + GROWN, SIDE),
    )


def _board(tiles: list[Path], test: Path, region: Box | None, place: tuple[int, int]) -> bytes:
    from foveal.field.pixels import board, png

    return png(board(tiles, test, region, place, side=SIDE))


def _overlap(first: Box, second: Box) -> bool:
    return max(first[0], second[0]) < min(first[2], second[2]) and max(first[1], second[1]) < min(
        first[3], second[3]
    )


def _moved(box: Box, down: int, right: int) -> Box:
    return (box[0] + down, box[1] + right, box[2] + down, box[3] + right)
