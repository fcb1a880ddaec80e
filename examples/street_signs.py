"""Write street scenes with traffic signs as a CSV that foveal can train on, in five folds.

The training part of the German Traffic Sign Detection Benchmark (Houben et al., IJCNN 2013) has 600
scenes of 1360 x 800 px. Consecutive scenes may show the same road, so a fold is a block of 120.

    python examples/street_signs.py GTSDB --question prohibitory --fold 0 --output folds/0
    foveal train folds/0/labels.csv --output runs/0

GTSDB is a folder with `images/`, `labels.csv` (file, speed_limit, ...) and `boxes.csv` (file, x0,
y0, x1, y1, class_id). Boxes decide the label and serve to report hits, never to train. The options
of the published result are in docs/results.md.
"""

import argparse
import csv
import os
from pathlib import Path

PROHIBITORY = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16}
LIMITS = {0: "20", 1: "30", 2: "50", 3: "60", 4: "70", 5: "80", 7: "100", 8: "120"}
FREQUENT_LIMITS = ("30", "50", "70", "80")


def label_scene(question: str, limit: str, signs: list[int]) -> str:
    """The label of a scene from its speed limit ("0": none) and the classes of its signs."""
    if question == "prohibitory":
        return "yes" if PROHIBITORY & set(signs) else "no"
    return "none" if limit == "0" else limit if limit in FREQUENT_LIMITS else "other"


def split_of(scene: int, fold: int) -> str:
    """The part a scene belongs to: half of the block after the tested one validates."""
    half_block = (scene // 60 - 2 * fold) % 10
    return "test" if half_block < 2 else "val" if half_block == 2 else "train"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("gtsdb", type=Path, help="folder of the benchmark")
    parser.add_argument("--question", choices=("prohibitory", "limit"), default="prohibitory")
    parser.add_argument("--fold", type=int, choices=range(5), required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for the two CSV files")
    options = parser.parse_args()

    boxes = read(options.gtsdb / "boxes.csv")
    evidence = PROHIBITORY if options.question == "prohibitory" else set(LIMITS)
    options.output.mkdir(parents=True, exist_ok=True)
    images = os.path.relpath(options.gtsdb / "images", options.output)
    with (options.output / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "split"])
        for scene, row in enumerate(read(options.gtsdb / "labels.csv")):
            signs = [int(box["class_id"]) for box in boxes if box["file"] == row["file"]]
            label = label_scene(options.question, row["speed_limit"], signs)
            table.writerow([f"{images}/{row['file']}", label, split_of(scene, options.fold)])
    with (options.output / "boxes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "x0", "y0", "x1", "y1"])
        for box in boxes:
            if int(box["class_id"]) in evidence:
                corners = [box[side] for side in ("x0", "y0", "x1", "y1")]
                table.writerow([f"{images}/{box['file']}", *corners])


if __name__ == "__main__":
    main()
