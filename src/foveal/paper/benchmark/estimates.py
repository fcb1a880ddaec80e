"""The figures on the estimators of the gradient, for people and for programs.

Lengths are in those of the true gradient, which is the exact one.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from foveal._csv import csv_text
from foveal._files import write

if TYPE_CHECKING:
    from foveal.paper.benchmark.plots import Panel

T = TypeVar("T")
Swept = Literal["constant", "brightness"]
Curves = dict[str, list[tuple[float, float]]]
TABLE, TURNING, FIGURE = "estimators.csv", "turning.csv", "estimators.svg"


@dataclass(frozen=True)
class Quality:
    """One estimator in one case, over several problems; root mean squares, and a mean cosine.

    Attributes:
        case: what scores and G are like.
        estimator: see `foveal.topk.perturbed`.
        samples: of the noise, in each draw.
        draws: of the gradient, for each problem.
        distance: between the mean of the draws and the truth.
        error: what the mean of the draws errs by for lack of draws.
        noise: a distance that lack of draws explains, by three standard deviations.
        deviation: of a draw from the mean of the draws.
        cosine: of a draw to the truth.
    """

    case: str
    estimator: str
    samples: int
    draws: int
    distance: float
    error: float
    noise: float
    deviation: float
    cosine: float

    @property
    def bias(self) -> float | None:
        """The distance less its share that comes from lack of draws; None if that may be all."""
        if self.distance <= self.noise:
            return None
        return math.sqrt(self.distance**2 - self.error**2)

    @property
    def least(self) -> float:
        """The smallest bias that would have been told from none."""
        return math.sqrt(self.noise**2 - self.error**2)


@dataclass(frozen=True)
class Turn:
    """The mean cosine of a few draws to the truth, where G has a certain constant.

    Attributes:
        swept: the constant added to all values of G, or the mean brightness of a picture.
        at: its value.
        problem: number of the problem, or of the picture.
        estimator: see `foveal.topk.perturbed`.
        cosine: to the truth there.
    """

    swept: Swept
    at: float
    problem: int
    estimator: str
    cosine: float


@dataclass(frozen=True)
class Estimates:
    """What was asked, and all figures; prints as Markdown."""

    settings: dict[str, Any]
    rows: tuple[Quality, ...]
    turns: tuple[Turn, ...]

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        rows = [asdict(row) | {"bias": row.bias} for row in self.rows]
        return {"task": "estimators"} | asdict(self) | {"rows": rows}

    def turning(self, swept: Swept) -> Curves:
        """(value, cosine), mean over the problems, by estimator."""
        found: dict[str, dict[float, list[float]]] = {}
        for turn in self.turns:
            if turn.swept == swept:
                found.setdefault(turn.estimator, {}).setdefault(turn.at, []).append(turn.cosine)
        return {
            name: [(at, sum(each) / len(each)) for at, each in points.items()]
            for name, points in found.items()
        }

    def write(self, folder: Path) -> None:
        """The figure, and two tables as CSV.

        Raises:
            UserError: they cannot be written.
        """
        import matplotlib

        from foveal._files import explained
        from foveal.paper.benchmark.plots import cosines

        same = matplotlib.rc_context({"svg.hashsalt": "foveal"})  # the same file, run after run
        with explained(folder), same:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / TABLE, self.summary()["rows"])
            _write(folder / TURNING, map(asdict, self.turns))
            cosines(self._panels()).savefig(folder / FIGURE, metadata={"Date": None})

    def _panels(self) -> "tuple[Panel, ...]":
        from foveal.paper.benchmark.plots import Panel

        most, pictures = self.settings["samples"][-1], self.settings["pictures"]
        even, _, sure = dict.fromkeys(row.case for row in self.rows)
        single = [
            [(t.at, t.cosine) for t in self.turns if (t.swept, t.estimator, t.problem) == one]
            for one in dict.fromkeys((t.swept, t.estimator, t.problem) for t in self.turns)
            if one[:2] == ("brightness", "diagonal")
        ]
        return (
            Panel(f"{even}, G of mean 0", "samples", _read(self._by_samples(even)), ticks=True),
            Panel(f"{sure}, G of mean 0", "samples", _read(self._by_samples(sure)), ticks=True),
            Panel(
                f"{even}, {most} samples",
                "constant added to G, in its deviations",
                _read(self.turning("constant")),
            ),
            Panel(
                f"{pictures} pictures (thin: each), {most} samples",
                "mean brightness the picture is given",
                _read(self.turning("brightness")),
                _read({"diagonal": single}),
            ),
        )

    def _by_samples(self, case: str) -> Curves:
        curves: Curves = {}
        for row in self.rows:
            if row.case == case:
                curves.setdefault(row.estimator, []).append((float(row.samples), row.cosine))
        return curves

    def __str__(self) -> str:
        """Bias, deviation and cosine; how the truth was checked; how the cosine turns."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [f"estimators: {asked}", "", *self._quality(), "", *self._checked()]
        told: dict[Swept, str] = {
            "constant": "a constant added to G",
            "brightness": "the mean brightness of painted pictures",
        }
        for swept, what in told.items():
            lines += ["", f"Cosine to the true gradient against {what}:", "", *self._turned(swept)]
        return "\n".join(lines)

    def _quality(self) -> Iterator[str]:
        counts = self.settings["samples"]
        titles = ["case", "estimator", "bias"]
        titles += [f"{what}, {n}" for what in ("deviation", "cosine") for n in counts]
        yield from _heading(titles, 2)
        for case, name in dict.fromkeys((row.case, row.estimator) for row in self.rows):
            found = [row for row in self.rows if (row.case, row.estimator) == (case, name)]
            bias, least = found[-1].bias, found[-1].least
            cells = [f"< {_length(least)}" if bias is None else _length(bias)]
            cells += [_length(row.deviation) for row in found]
            cells += [f"{row.cosine:.3f}" for row in found]
            yield _line([case, *_read({name: cells}), *cells])

    def _checked(self) -> Iterator[str]:
        for row in self.rows:
            if row.estimator == "conditional" and row.samples == max(self.settings["samples"]):
                yield (
                    f"{row.case}: in each problem, the mean of {row.draws * row.samples} "
                    f"conditional samples lies {row.distance:.1%} off the exact gradient (root "
                    f"mean square); its own error is {row.error:.1%}."
                )

    def _turned(self, swept: Swept) -> Iterator[str]:
        turning = _read(self.turning(swept))
        yield from _heading(["estimator", *(f"{at:g}" for at, _ in turning["exact"])], 1)
        for name, points in turning.items():
            yield _line([name, *(f"{cosine:.3f}" for _, cosine in points)])


def _read(curves: Mapping[str, T]) -> dict[str, T]:
    """The estimators' names as they are read, the paper's marked."""
    words = {"diagonal": "diagonal (paper)", "diagonal_centred": "diagonal, centred"}
    return {words.get(name, name.replace("_", " ")): each for name, each in curves.items()}


def _length(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _heading(titles: Sequence[str], words: int) -> Iterator[str]:
    yield _line(titles)
    yield f"|{'---|' * words}{'--:|' * (len(titles) - words)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    write(path, csv_text([listed[0], *(row.values() for row in listed)]).encode())
