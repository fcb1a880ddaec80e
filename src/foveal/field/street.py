"""Street scenes with traffic signs: is there a prohibitory sign, and which speed limit holds?

The training part of the German Traffic Sign Detection Benchmark (Houben et al., IJCNN 2013) has 600
scenes of 1360 x 800 px. Consecutive scenes may show the same road: a fold is a block of 120 of
them, and half of the next block validates.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from pathlib import Path

from foveal.errors import UserError
from foveal.field.groups import FOLDS, check_fold
from foveal.field.pictures import Box, Picture, Split

PROHIBITORY = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16}
LIMITS = {0: "20", 1: "30", 2: "50", 3: "60", 4: "70", 5: "80", 7: "100", 8: "120"}
FREQUENT_LIMITS = ("30", "50", "70", "80")
BLOCK = 60  # scenes that are never separated


def street_prohibitory(*, source: Path, fold: int = 0) -> Iterator[Picture]:
    """Street scenes: is there a prohibitory sign? (GTSDB).

    Args:
        source: folder of GTSDB: images/, labels.csv (file, speed_limit) and boxes.csv (file, x0,
            y0, x1, y1, class_id).
        fold: which block of 120 scenes is tested, 0 to 4.

    Raises:
        UserError: there is no such fold, or the source is not GTSDB.
    """

    def label(limit: str, signs: Set[int]) -> str:
        return "yes" if PROHIBITORY & signs else "no"

    return _scenes(source, fold, PROHIBITORY, label)


def street_limit(*, source: Path, fold: int = 0) -> Iterator[Picture]:
    """Street scenes: 30, 50, 70, 80, another speed limit, or none? (GTSDB).

    Args:
        source: folder of GTSDB: images/, labels.csv (file, speed_limit) and boxes.csv (file, x0,
            y0, x1, y1, class_id).
        fold: which block of 120 scenes is tested, 0 to 4.

    Raises:
        UserError: there is no such fold, or the source is not GTSDB.
    """

    def label(limit: str, signs: Set[int]) -> str:
        return "none" if limit == "0" else limit if limit in FREQUENT_LIMITS else "other"

    return _scenes(source, fold, LIMITS.keys(), label)


def split_of(block: int, fold: int) -> Split:
    """The split of a block of scenes: two are tested, the next one validates."""
    place = (block - 2 * fold) % (2 * FOLDS)
    return "test" if place < 2 else "val" if place == 2 else "train"


def _scenes(
    source: Path, fold: int, evidence: Set[int], label: Callable[[str, Set[int]], str]
) -> Iterator[Picture]:
    """The scenes with the boxes of some classes of signs.

    Args:
        source: folder of the benchmark.
        fold: which scenes are tested.
        evidence: numbers of these classes.
        label: from the speed limit ("0": none) and the classes of the signs.
    """
    from foveal.data.folder import table

    check_fold(fold)
    signs: dict[str, list[tuple[int, Box]]] = defaultdict(list)
    path = source / "boxes.csv"
    for line, cells in table.read(path, ("file", "x0", "y0", "x1", "y1", "class_id")):
        try:
            kind, x0, y0, x1, y1 = (
                int(cells[name]) for name in ("class_id", "x0", "y0", "x1", "y1")
            )
        except ValueError:
            raise UserError(f"{path} line {line}: not a box: give whole numbers") from None
        signs[cells["file"]].append((kind, (y0, x0, y1, x1)))
    rows = table.read(source / "labels.csv", ("file", "speed_limit"))
    for scene, (_, cells) in enumerate(rows):
        found = signs[cells["file"]]
        yield Picture(
            source / "images" / cells["file"],
            label(cells["speed_limit"], {kind for kind, _ in found}),
            split_of(scene // BLOCK, fold),
            f"scenes {scene // BLOCK * BLOCK} to {scene // BLOCK * BLOCK + BLOCK - 1}",
            tuple(box for kind, box in found if kind in evidence),
        )
