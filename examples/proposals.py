"""Where the evidence could be, before any training: mine a table of images, judge its test part.

    foveal data street-limit --source GTSDB --fold 0 --output folds/0
    python examples/proposals.py folds/0/labels.csv WEIGHTS.pt [NOTHING [COUNT]]

WEIGHTS.pt holds the early layers of a ResNet-18. NOTHING names the class that means "nothing here",
if it shall be told: then the other classes count as one. COUNT mines so many images only, drawn at
random. Prints how well the exemplars predict the label of images not used, and how often one of the
first windows of a test image covers half of a box in `boxes.csv`, beside random windows.
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from foveal.data.folder import ImageFiles, read_whole
from foveal.proposals import Proposals, mine
from foveal.windows import covers

PATCH, WINDOWS = 64, (1, 6, 20)


def main(table: str, weights: str, nothing: str = "", count: str = "") -> None:
    torch.manual_seed(0)
    whole = read_whole(table)
    parts = [image.split for image in whole.images]
    mined = whole.subset([i for i, part in enumerate(parts) if part != "test"])
    test = whole.subset([i for i, part in enumerate(parts) if part == "test"])
    if count:
        mined = mined.subset(torch.randperm(len(mined))[: int(count)].sort().values.tolist())
    labels = [mined.classes[label] for label in mined.labels.tolist()]
    if nothing:
        labels = [label if label == nothing else f"not {nothing}" for label in labels]
    start = time.time()
    found = mine(mined, labels, weights=Path(weights), patch=PATCH, progress=progress)
    print(f"\n{len(mined)} images mined in {time.time() - start:.0f} s", file=sys.stderr)
    print(found)
    report(found, test)


def progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} images", end="", file=sys.stderr)


def report(found: Proposals, test: ImageFiles) -> None:
    """Hit rates over the test images with boxes."""
    hits: dict[str, list[Tensor]] = {"evidence": [], "random": []}
    for number in range(len(test)):
        example = test[number]
        if example.boxes is None:
            continue
        height, width = example.image.size
        corner = torch.rand(max(WINDOWS), 2) * torch.tensor([height - PATCH, width - PATCH])
        chance = torch.cat((corner, corner + PATCH), dim=1).long()
        for name, windows in (
            ("evidence", found.windows(example.image, max(WINDOWS))),
            ("random", chance),
        ):
            hits[name].append(covers(windows.cpu(), example.boxes).any(dim=1))
    for name, each in hits.items():
        rates = [torch.stack(each)[:, :k].any(dim=1).float().mean() for k in WINDOWS]
        text = ", ".join(f"{r:.1%} in {k}" for k, r in zip(WINDOWS, rates, strict=True))
        print(f"{name} windows on a box, {len(each)} test images: {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
