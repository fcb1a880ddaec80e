"""What a training came to, in sentences: is it better than less, does it look at the right places,
which labels to check, what to try next."""

from collections.abc import Mapping

from foveal.evaluation import Report, Result

_CERTAIN = 0.8  # least probability of a mistake that may be the label's
_SHOWN = 5
_MARGIN = 0.02  # of an accuracy, below which two models are as good
_ENOUGH = 0.95  # balanced accuracy
_OFTEN, _WEAK = 0.9, 0.7  # a hit rate; a recall
_FEW = 30  # images below which percentages say little
_COUNTS = 0.1  # the least factor of the view that is worth a sentence


def verdict(
    report: Report,
    baseline: Mapping[str, float] | None,
    mixture: Mapping[str, float] | None = None,
) -> list[str]:
    """Sentences for people who do not train models every day.

    Args:
        report: of the test images.
        baseline: accuracy and balanced accuracy of a model that sees the shrunk image alone.
        mixture: how much the windows, and the view as a whole, count in the answer.
    """
    lines = [_compared(report.accuracy, report.majority, "always answering the commonest class")]
    if baseline is not None:
        lines.append(
            _compared(
                report.balanced_accuracy,
                baseline["balanced_accuracy"],
                "a linear classifier that sees the shrunk image",
                "balanced accuracy",
            )
        )
    if report.hit_rate is not None and report.chance_hit_rate is not None:
        lines.append(
            f"It looks at a box in {report.hit_rate:.0%} of the images that have one "
            f"({report.chance_hit_rate:.0%} by chance)."
        )
        if (possible := report.possible_hit_rate) is not None and possible < 1:
            lines.append(
                f"More than {possible:.0%} is impossible: no window of this size covers half of a "
                "box of the other images (--patch: larger windows)."
            )
    if mixture is not None and mixture["view"] >= _COUNTS:
        lines.append(
            f"The answer adds what the windows say (weight {mixture['windows']:.2f}) and what the "
            f"small view says as a whole (weight {mixture['view']:.2f})."
        )
    if report.n < _FEW:
        lines.append(f"There are only {report.n} test images: all of this is uncertain.")
    lines += _doubtful(report.results)
    lines += _advice(report, baseline)
    return lines


def _compared(own: float, other: float, what: str, measure: str = "accuracy") -> str:
    word = "Better than" if own > other + _MARGIN else "No better than"
    return f"{word} {what}: {measure} {own:.1%} against {other:.1%}."


def _doubtful(results: list[Result]) -> list[str]:
    """Confident mistakes, the surest first: often it is the label that is wrong."""
    wrong = [
        result
        for result in results
        if result.error is None and result.probability >= _CERTAIN and result.label != result.truth
    ]
    wrong.sort(key=lambda result: -result.probability)
    if not wrong:
        return []
    shown = [
        f"  {each.file}: labelled {_said(each.truth)}, predicted {_said(each.label)} "
        f"({each.probability:.0%})"
        for each in wrong[:_SHOWN]
    ]
    return ["Sure and wrong; check these labels first:", *shown]


def _said(label: object) -> str:
    if isinstance(label, tuple | list | frozenset | set):
        return " and ".join(map(str, label)) or "nothing"
    return str(label)


def _advice(report: Report, baseline: Mapping[str, float] | None) -> list[str]:
    weakest = min(report.per_class, key=lambda name: report.per_class[name], default=None)
    advice = []
    if baseline is not None and report.balanced_accuracy <= baseline["balanced_accuracy"] + _MARGIN:
        advice.append(
            "an ordinary classifier of shrunk images, which show the answer as well"
            if baseline["balanced_accuracy"] > _ENOUGH
            else "another --patch, a larger --view, more --minutes"
        )
    if report.hit_rate is not None and report.hit_rate < _OFTEN:
        advice.append("a larger --view or --k, for the images where it looks at wrong places")
    if weakest is not None and report.per_class[weakest] < _WEAK:
        advice.append(f"more images of class {weakest}, the one it recognises least")
    return [f"To try next: {'; '.join(advice)}."] if advice else []
