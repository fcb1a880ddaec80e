"""Differentiable Top-K operators side by side: cost, gap, training. Does not import torch."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from foveal._files import explained, write
from foveal._terminal import note
from foveal.errors import UserError
from foveal.paper.benchmark import clock
from foveal.paper.benchmark.comparison import compare
from foveal.paper.benchmark.operator_figures import OperatorCost, OperatorFigures, OperatorRow
from foveal.paper.operators import OPERATORS, OperatorName, why_absent

_FEW = 100  # candidates, that sharpness is measured with


def operators(
    *,
    output: Path = Path("operators"),
    operators: tuple[OperatorName, ...] = get_args(OperatorName),
    candidates: tuple[int, ...] = (100, 1600, 10_000, 100_000),
    batch: int = 4,
    k: int = 10,
    sigma: float = 0.05,
    mixtures: tuple[float, ...] = (1.5, 2.0, 4.0, 8.0),
    gigabytes: float = 8.0,
    seconds: float = 10.0,
    repeats: int = 3,
    threads: int = 1,
    seeds: int = 5,
    softness: tuple[float, ...] = (0.3, 1.0, 3.0),
    steps: int | None = None,
    jobs: int = 1,
) -> OperatorFigures:
    """Compare differentiable Top-K operators: time and memory by N, gap to the hard one, training.

    All are as sharp as the exact one with noise sigma on uniform scores, 100 candidates: slots mix
    as many candidates, by their entropy. The gap is the part of a slot that is not its hard choice,
    on uniform scores, at softnesses where slots mix so many candidates. Seconds are those of the
    processor, forward and backward, so that other work does not count.

    Training is foveal reproduce estimators --scale mini with 3 patches: of three softnesses, the
    one that validates best with the first seed is trained with the other seeds, too.

    Every figure and every run is kept in the folder: the same command goes on after a stop.

    Args:
        output: folder of the figures and the runs.
        operators: names of operators; one whose package is missing is a row that says so.
        candidates: numbers N of windows to select from.
        batch: number of images at once.
        k: number of windows selected per image, in the cost and the gap.
        sigma: standard deviation of the noise of the exact operator, in the cost.
        mixtures: numbers of candidates that slots mix, in the gap.
        gigabytes: memory that a pass may take, in 10^9 bytes; kept on Linux alone.
        seconds: an operator is left out at an N that will take it more.
        repeats: number of timed runs of each.
        threads: number of processor threads.
        seeds: number of runs per operator; 0: no training.
        softness: what is tried in training, relative to the softness that is as sharp as the
            exact operator with noise 0.01, on 64 candidates.
        steps: training steps per run (default: those of the table).
        jobs: number of runs at a time.

    Raises:
        UserError: a value out of its range.
    """
    settings: dict[str, Any] = {"candidates": tuple(candidates), "batch": batch, "k": k}
    settings |= {"sigma": sigma, "mixtures": tuple(mixtures), "gigabytes": gigabytes}
    settings |= {"seconds": seconds, "repeats": repeats, "threads": threads}
    _check(operators, settings, seeds, softness)
    rows = []
    for name in operators:
        if (why := why_absent(name)) is not None:
            rows.append(OperatorRow(name, absent=why))
            continue
        note(f"{name}: {OPERATORS[name].title}")
        soft, gaps = _sharpness(output, name, settings)
        rows.append(OperatorRow(name, None, soft, gaps, _costs(output, name, soft, settings)))
    training = ""
    if seeds:
        from foveal.paper.benchmark.operator_training import train_operators

        names = [row.operator for row in rows if row.absent is None]
        training = train_operators(names, softness, seeds, output, steps=steps, jobs=jobs, say=note)
    return OperatorFigures(settings, clock.machine(threads, "cpu"), tuple(rows), training)


def _check(
    names: tuple[OperatorName, ...], settings: dict[str, Any], seeds: int, softness: Any
) -> None:
    unknown = [name for name in names if name not in OPERATORS]
    if unknown or not names:
        raise UserError(f"operators must be some of {', '.join(OPERATORS)}: got {list(names)}")
    least = min(settings["candidates"], default=0)
    if not 1 <= settings["k"] < min(least, _FEW):
        raise UserError(
            f"k must be 1 or more, below all candidates and below {_FEW}: got k {settings['k']}, "
            f"candidates {list(settings['candidates'])}"
        )
    positive = [settings[each] for each in ("batch", "sigma", "gigabytes", "repeats", "threads")]
    if min(*positive, *softness, *(mixture - 1 for mixture in settings["mixtures"])) <= 0:
        raise UserError(
            "batch, sigma, gigabytes, repeats, threads and softness must be above 0, mixtures "
            f"above 1: got {settings}, softness {list(softness)}"
        )
    if seeds < 0 or (seeds and not softness):
        raise UserError(f"--seeds must be 0 or more, with a softness to try: got {seeds}")


def _sharpness(
    output: Path, name: OperatorName, settings: dict[str, Any]
) -> tuple[float, dict[float, float | None]]:
    """The softness of the costs, and the gaps by mixture, None where it comes to no such one."""

    def measure() -> Any:
        from foveal.paper.operators import sharpness

        soft = sharpness.softness_as(name, settings["sigma"], _FEW, settings["k"])
        at = [sharpness.gap_at(name, m, _FEW, settings["k"]) for m in settings["mixtures"]]
        return [soft, at]

    asked = {each: settings[each] for each in ("k", "sigma", "mixtures")}
    soft, gaps = _kept(output, {"sharpness": name} | asked, measure)
    return soft, dict(zip(settings["mixtures"], gaps, strict=True))


def _costs(
    output: Path, name: OperatorName, softness: float, settings: dict[str, Any]
) -> dict[int, OperatorCost]:
    """Time and memory by N; what would take too long, by growth in proportion, is left out."""
    costs: dict[int, OperatorCost] = {}
    before: tuple[int, OperatorCost] | None = None
    for n in sorted(settings["candidates"]):
        costs[n] = _too_slow(n, before, settings["seconds"]) or _cost(
            output, name, softness, n, settings
        )
        before = n, costs[n]
    return costs


def _too_slow(
    n: int, before: tuple[int, OperatorCost] | None, seconds: float
) -> OperatorCost | None:
    if before is None:
        return None
    fewer, cost = before
    if cost.left_out:  # nor does more fit
        return OperatorCost(left_out=cost.left_out)
    slow = cost.seconds is not None and cost.seconds * n / fewer > seconds
    return OperatorCost(left_out="time") if slow else None


def _cost(
    output: Path, name: OperatorName, softness: float, n: int, settings: dict[str, Any]
) -> OperatorCost:
    def measure() -> Any:
        asked = {"batch": settings["batch"], "candidates": n, "k": settings["k"]}
        table = compare(
            "operators",
            asked | {"softness": {name: softness}},
            settings["repeats"],
            settings["threads"],
            "cpu",
            limit=int(settings["gigabytes"] * 1e9),
            timer=time.process_time,
        )
        (row,) = table.rows
        if row.megabytes is None:
            return asdict(OperatorCost(left_out="memory"))
        return asdict(OperatorCost(row.seconds, row.megabytes))

    kept = ("batch", "k", "sigma", "gigabytes", "repeats", "threads")
    asked = {each: settings[each] for each in kept}
    return OperatorCost(**_kept(output, {"cost": name, "candidates": n} | asked, measure))


def _kept(output: Path, asked: dict[str, Any], measure: Callable[[], Any]) -> Any:
    """A figure of the folder, measured if it is not there yet."""
    from foveal.paper.tables.run_table import folder_name

    file = output / "figures" / f"{folder_name(asked)}.json"
    if file.is_file():
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(f"{file} is damaged: delete it to measure again") from None
    found = measure()
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write(file, json.dumps(found).encode())
    return found
