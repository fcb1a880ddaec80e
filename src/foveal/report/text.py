"""A report as text for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from foveal.evaluation import Looks, Report

_HIT = "some window covers half of a box or more"
_LARGE = "no such window covers half of a box of the others"
_ALL_HIT = "every box is covered by half or more"


LOOKS = {
    "alone": "what the patches say, without the vote of the view as a whole",
    "blanked": "every patch in one colour: what is left without the looks",
    "soft": "mixed patches, as at the first step of training",
    "hard": "plain crops instead of mixed patches",
}
"""What is changed in each row, see `foveal.evaluation.evidence`."""


def format_report(report: Report, title: str) -> str:
    """A small table: accuracies, hit rates, the recall of every class, and those at thresholds."""
    failed = f" ({report.failed} more could not be predicted)" if report.failed else ""
    lines = [f"{title}: {report.n} images{failed}", *_table(report)]
    if report.thresholds is not None:
        at, chosen = report.at(report.thresholds), report.thresholds
        heading = f"at thresholds chosen on {chosen.images} validation images, {chosen}:"
        is_same = at.results == report.results
        lines += [f"{heading} the same"] if is_same else [heading, *_table(at, _AT_THRESHOLDS)]
    if report.looks is not None:
        lines += ["do the looks matter?", *_looks_table(report, report.looks)]
    return "\n".join(lines)


_AT_THRESHOLDS = ("accuracy", "balanced accuracy", "precision", "F1")


def _table(report: Report, only: Sequence[str] | None = None) -> list[str]:
    """Lines with the figures that are known, and the recall of every class."""
    kind = "class" if report.confusion else "set of classes"
    further = report.further()
    shares = (
        ("accuracy", report.accuracy, _interval(further, "accuracy")),
        ("balanced accuracy", report.balanced_accuracy, _interval(further, "balanced_accuracy")),
        ("precision", further["precision"], "mean over the classes"),
        ("F1", further["f1"], "mean over the classes"),
        ("calibration error", further["calibration_error"], "probabilities against shares"),
        ("constant predictor", report.majority, f"always predicts the most frequent {kind}"),
        ("area under the ROC curve", report.auroc, "mean over the classes, each against the rest"),
        ("hit rate", report.hit_rate, _interval(further, "hit_rate", _HIT)),
        ("hit rate by chance", report.chance_hit_rate, "as many windows at random places"),
        ("hit rate at best", _below_one(report.possible_hit_rate), _LARGE),
        ("hit rate, all boxes", report.hit_all_rate, _interval(further, "hit_all_rate", _ALL_HIT)),
    )
    known = [
        (name, share, note)
        for name, share, note in shares
        if share is not None and (only is None or name in only)
    ]
    classes = report.classes or tuple(report.per_class)
    width = max(map(len, (*(name for name, _, _ in known), *classes))) + 2
    lines = []
    for name, share, note in known:
        lines.append(f"  {name:<{width}}{share:7.1%}" + (f"   {note}" if note else ""))
    lines += ["recall per class:"]
    for name in classes:
        recall = report.per_class.get(name)
        lines.append(f"  {name:<{width}}" + ("no images" if recall is None else f"{recall:7.1%}"))
    return lines


def _below_one(share: float | None) -> float | None:
    return None if share == 1 else share


def _looks_table(report: Report, looks: Looks) -> list[str]:
    rows = {"as it is": (report.accuracy, report.balanced_accuracy), **looks.variants}
    width = max(map(len, (*LOOKS, *rows))) + 2
    lines = [f"  {'':<{width}}accuracy  balanced"]
    for name, (accuracy, balanced) in rows.items():
        note = f"   {LOOKS[name]}" if name in LOOKS else ""
        lines.append(f"  {name:<{width}}{accuracy:8.1%}  {balanced:8.1%}{note}")
    if looks.untrained_hit_rate is not None and report.hit_rate is not None:
        lines.append(
            f"  hit rate {report.hit_rate:.1%}, of untrained scorers {looks.untrained_hit_rate:.1%}"
        )
    return lines


def _interval(figures: Mapping[str, Any], name: str, meaning: str = "") -> str:
    ends = figures["intervals"].get(name)
    interval = f"95 % interval {ends[0]:.1%} to {ends[1]:.1%}" if ends else ""
    return ": ".join(filter(None, (interval, meaning)))
