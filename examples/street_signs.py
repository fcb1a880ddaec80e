"""Street scenes with traffic signs as a table foveal can train on, in five folds.

The German Traffic Sign Detection Benchmark (Houben et al., IJCNN 2013) has 600 scenes of 1360 x 800
px in its training part. Consecutive scenes may show one road, so a fold is a block of 120 of them.

    python examples/street_signs.py GTSDB --question prohibitory --fold 0 --output folds/0
    foveal train folder --data folds/0/labels.csv --weights resnet18.pt ...

GTSDB holds `images/`, `labels.csv` (file, speed_limit, ...) and `boxes.csv` (file, x0, y0, x1, y1,
class_id). The boxes are used for the question's answer and to report hits, never for training.
"""

import argparse
import csv
import os
from pathlib import Path

PROHIBITORY = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16}
LIMITS = {0: "20", 1: "30", 2: "50", 3: "60", 4: "70", 5: "80", 7: "100", 8: "120"}
NAMED = ("30", "50", "70", "80")


def answer(question: str, limit: str, signs: list[int]) -> str:
    if question == "prohibitory":
        return "yes" if PROHIBITORY & set(signs) else "no"
    return "none" if limit == "0" else limit if limit in NAMED else "other"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("gtsdb", type=Path)
    options.add_argument("--question", choices=("prohibitory", "limit"), default="prohibitory")
    options.add_argument("--fold", type=int, choices=range(5), required=True)
    options.add_argument("--output", type=Path, required=True)
    asked = options.parse_args()

    boxes = list(csv.DictReader((asked.gtsdb / "boxes.csv").open()))
    evidence = PROHIBITORY if asked.question == "prohibitory" else set(LIMITS)
    asked.output.mkdir(parents=True, exist_ok=True)
    to_images = os.path.relpath(asked.gtsdb / "images", asked.output)
    with (asked.output / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "split"])
        for number, row in enumerate(csv.DictReader((asked.gtsdb / "labels.csv").open())):
            signs = [int(box["class_id"]) for box in boxes if box["file"] == row["file"]]
            label = answer(asked.question, row["speed_limit"], signs)
            # the block after the tested one chooses the best model, half of it
            block = (number // 60 - 2 * asked.fold) % 10
            split = "test" if block < 2 else "val" if block == 2 else "train"
            table.writerow([f"{to_images}/{row['file']}", label, split])
    with (asked.output / "boxes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "x0", "y0", "x1", "y1"])
        for box in boxes:
            if int(box["class_id"]) in evidence:
                corners = [box[side] for side in ("x0", "y0", "x1", "y1")]
                table.writerow([f"{to_images}/{box['file']}", *corners])


if __name__ == "__main__":
    main()
