"""Images of stained tissue and the centres of their nuclei, in the layout of CRCHistoPhenotypes."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from miniatures import pixels, write

KINDS = ("epithelial", "fibroblast", "inflammatory", "others")
SIZE = 120
DARK = 9  # side of a nucleus in pixels


def centres(number: int) -> dict[str, np.ndarray]:
    """Of every nucleus of an image, x and y from 1: even images have two that are epithelial."""
    random = np.random.default_rng(number)
    counts = {"epithelial": 2 * (number % 2 == 0), "fibroblast": 1, "inflammatory": 0, "others": 2}
    return {kind: random.uniform(10, SIZE - 10, (count, 2)) for kind, count in counts.items()}


def written(root: Path, count: int = 20) -> Path:
    """Write the images; epithelial nuclei are dark in red, all others in green."""
    for number in range(1, count + 1):
        name = f"img{number}"
        image = 100 + pixels(SIZE, SIZE, seed=number) // 2
        for kind, found in centres(number).items():
            channel = 0 if kind == "epithelial" else 1
            for x, y in np.rint(found).astype(int) - 1:
                side = slice(-(DARK // 2), DARK // 2 + 1)
                rows, columns = (slice(c + side.start, c + side.stop) for c in (y, x))
                image[channel, rows, columns] = 0
            # where there is none, the published files hold nothing at all
            detection = found if len(found) > 0 else np.empty((0, 0))
            file = root / name / f"{name}_{kind}.mat"
            file.parent.mkdir(parents=True, exist_ok=True)
            savemat(file, {"detection": detection})
        write(root / name / f"{name}.bmp", image)
    return root
