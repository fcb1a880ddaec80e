"""Run all that needs a GPU, stage by stage within minutes, and write a report after each stage.

FOLDER/report.md    what came out
FOLDER/stages.json  the stages; one that is done is not run again
FOLDER/field.jsonl  finished cells of the comparison on field tasks
FOLDER/log.txt      what went to standard error
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from gpu_session import PYTHON, ROOT, Outcome, Session, fenced

METHODS = ("foveal", "whole-448", "dense", "ips", "whole-896", "random")
SEEDS = {"foveal": 3}  # one of the others
TASKS = ("street-limit", "boards", "screws", "street-prohibitory")
MACHINE = """
import platform, torch
from importlib.metadata import version
from foveal._devices import best_device
from foveal.paper.benchmark import clock
from foveal.topk import gpu
print(clock.machine(torch.get_num_threads(), best_device()))
print(f"Python {platform.python_version()}, Triton: {gpu.AVAILABLE}")
for name in ("torchvision", "timm", "lightning", "torchmetrics", "pillow", "numpy"):
    print(name, version(name))
"""
SELECTION = """
import torch
from foveal._devices import best_device
from foveal.topk import perturbed
scores = torch.rand(2, 50, device=best_device(), requires_grad=True)
perturbed(scores, 4, 0.1).weights.square().sum().backward()
print("the fused selection runs:", scores.grad.isfinite().all().item())
"""


def machine(session: Session) -> Outcome:
    """What is here; the compiled loops are built if there is a compiler."""
    if not session.rehearse:
        session.run(*PYTHON, "setup.py", "-q", "build_ext", "--inplace")
    found = session.run(*PYTHON, "-c", MACHINE)
    fused = session.run(*PYTHON, "-c", SELECTION)
    if fused.state != "done":  # all else can be measured without it
        os.environ["FOVEAL_TRITON"] = "0"
        fused = replace(fused, text=f"{fused.text}\nthe fused selection is switched off")
    return fenced(replace(found, text=f"{found.text}\n{fused.text}"))


def tests(session: Session) -> Outcome:
    """The tests that are marked for a GPU."""
    models = ("models", "whole_image", "attention_sampling", "iterative_patch_selection")
    files = [f"tests/test_{name}.py" for name in ("on_device", *models)]
    options = ("-p", "no:cacheprovider", "-o", "filterwarnings=", "-q", "-n", "0", "-m", "device")
    return fenced(session.run(*PYTHON, "-m", "pytest", *options, *files))


def shares(session: Session) -> Outcome:
    """The parts of a training step, in both precisions."""
    small = ("--batches", 2, "--image", 96, 128, "--view", 48, 64, "--patch", 32, "--k", 2)
    small += ("--encoder", "test_resnet", "--encoder-stage", 1, "--repeats", 1)
    sizes = small if session.rehearse else ("--batches", 32, 64, 128)
    return session.benchmarks(
        *(("shares", "--precision", each, *sizes) for each in ("bf16-mixed", "32-true"))
    )


def operators(session: Session) -> Outcome:
    """Selection and extraction beside their plain versions."""
    if session.rehearse:
        few = ("--batch", 2, "--candidates", 30, "--samples", 20, "--repeats", 1)
        small = ("--batch", 2, "--image", 64, 96, "--patch", 16, 16, "--k", 2, "--repeats", 1)
        return session.benchmarks(
            ("selection", *few, "--k", 2, "--estimators", "exact"), ("extraction", *small)
        )
    # windows of street scenes: 50 x 85 cells of the view
    return session.benchmarks(
        ("selection", "--batch", 16, "--candidates", 4250, "--k", 6),
        ("extraction", "--batch", 16, "--image", 800, 1360, "--patch", 64, 64, "--k", 6),
    )


def speed(session: Session) -> Outcome:
    """Images a second over the size of the image, beside encoders of the whole image."""
    sizes: tuple[object, ...] = (500, 1000, 2000, 4000, "--batch", 4, "--repeats", 5)
    if session.rehearse:
        sizes = (64, 96, "--batch", 1, "--repeats", 1, "--patch", 16, "--k", 2, "--downscale", 2)
        sizes += ("--encoders", "test_resnet")
    return session.benchmarks(("speed", "--output", session.folder, "--sizes", *sizes))


def field(session: Session) -> Outcome:
    """All methods on field tasks, several at once."""
    begin, results = time.monotonic(), session.folder / "field.jsonl"
    tasks, methods = (("squares",), METHODS[:2]) if session.rehearse else (TASKS, METHODS)
    cells = [(t, m, seed) for m in methods for seed in range(SEEDS.get(m, 1)) for t in tasks]
    if not all((session.pack / task / "labels.csv").is_file() for task in tasks):
        return Outcome("left out", 0.0, f"no data in {session.pack.name}: pack_for_gpu.sh first")
    minutes, known = 0.02 if session.rehearse else 1.75, finished(results)
    options: tuple[object, ...] = ("--weights", session.pack / "weights.pt", "--minutes", minutes)
    if session.rehearse:
        options += ("--encoder", "test_resnet", "--encoder-stage", 1)
        options += ("--batch", 4, "--patch", 32, "--k", 2, "--accelerator", "cpu")
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as work:

        def measure(cell: Cell) -> str:
            if cell in known:
                return "done"
            if session.left < 60 * minutes + 15:
                return "cut"
            task, method, seed = cell
            own = Path(work) / "-".join(map(str, cell))
            table = ("--tasks", session.pack / task / "labels.csv", "--methods", method)
            table += ("--seeds", seed, "--output", own)
            session.foveal("benchmark", "field", *table, *options)
            rows = own / "results.jsonl"
            with lock, results.open("a") as out:
                out.write(rows.read_text() if rows.is_file() else "")
            return "done" if rows.is_file() else "cut" if session.left <= 0 else "failed"

        with ThreadPoolExecutor(2 if session.rehearse else 16) as pool:
            states = list(pool.map(measure, cells))
    table = None
    if "done" in states:
        table = session.foveal("benchmark", "field", "--table", results, least=15.0)
    missing = [
        f"{' '.join(map(str, cell))}: {state}"
        for cell, state in zip(cells, states, strict=True)
        if state != "done"
    ]
    worst = next(state for state in ("failed", "cut", "done") if state in states)
    text = "\n\n".join(([] if table is None else [table.text]) + missing)
    return Outcome(worst, time.monotonic() - begin, text)


Cell = tuple[str, str, int]
"""Task, method and seed."""


def finished(results: Path) -> set[Cell]:
    """The cells in a file."""
    lines = results.read_text().splitlines() if results.is_file() else []
    return {(row["task"], row["method"], row["seed"]) for row in map(json.loads, lines)}


def billiards(session: Session) -> Outcome:
    """The paper's billiards at its size, for as long as there is time."""
    if session.left < 45 and not session.rehearse:
        return Outcome("left out", 0.0, "no time was left")
    counts: tuple[object, ...] = ("--train", 1000, "--validation", 200, "--test", 200)
    counts += ("--steps", 600, "--validate-every", 100)
    if session.rehearse:
        counts = ("--train", 8, "--validation", 4, "--test", 4, "--steps", 2, "--size", 96)
        counts += ("--view", 48, 48, "--patch", 32, "--k", 2, "--encoder", "test_resnet")
        counts += ("--batch", 4, "--accelerator", "cpu")
    with tempfile.TemporaryDirectory() as work:
        run = Path(work) / "run"
        # it saves its last step when it is asked to end
        found = session.foveal("train", "billiards", *counts, "--output", run)
        metrics = run / "metrics.csv"
        rows = metrics.read_text().splitlines() if metrics.is_file() else []
    shown = [rows[0], *(row for row in rows[-20:])] if rows else []
    return fenced(replace(found, text="\n".join([*shown, "", found.text])))


STAGES: dict[Callable[[Session], Outcome], float] = {
    machine: 60,
    tests: 90,
    shares: 90,
    operators: 75,
    speed: 75,
    field: 300,
    billiards: 300,
}
"""The most seconds of each."""


def report(session: Session, outcomes: dict[str, Outcome]) -> None:
    """Write what there is so far."""
    lines = ["# On a GPU", "", "| stage | | s |", "|---|---|---:|"]
    lines += [f"| {n} | {each.state} | {each.seconds:.0f} |" for n, each in outcomes.items()]
    for stage in STAGES:
        if stage.__name__ in outcomes:
            text = outcomes[stage.__name__].text
            lines += ["", f"## {stage.__name__.capitalize()}", "", str(stage.__doc__), "", text]
    (session.folder / "report.md").write_text("\n".join(lines) + "\n")
    stages = {name: asdict(outcome) for name, outcome in outcomes.items()}
    (session.folder / "stages.json").write_text(json.dumps(stages, indent=1))


def main() -> int:
    """Run the stages that are not done yet; 0 if none failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the report is written")
    parser.add_argument("--pack", type=Path, default=ROOT / ".gpu", help="what gpu_pack.py made")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything")
    parser.add_argument("--rehearse", action="store_true", help="all of it small, on the CPU")
    names = [stage.__name__ for stage in STAGES]
    parser.add_argument("--stages", nargs="+", choices=names, default=names)
    asked = parser.parse_args()
    folder, pack = asked.folder.resolve(), asked.pack.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    session = Session(folder, pack, asked.minutes, asked.rehearse)
    if not asked.rehearse:
        outcomes = run_stages(session, asked.stages, earlier(folder, pack))
    else:
        with tempfile.TemporaryDirectory() as work:
            session.pack = Path(work) / "pack"
            packer = str(ROOT / "scripts" / "gpu_pack.py")
            session.run(*PYTHON, packer, "--rehearse", "--output", str(session.pack))
            outcomes = run_stages(session, asked.stages, {})
    print((folder / "report.md").read_text())
    return int(any(outcome.state == "failed" for outcome in outcomes.values()))


def earlier(folder: Path, pack: Path) -> dict[str, Outcome]:
    """What was done before, in the folder or as it was carried here."""
    outcomes = dict[str, Outcome]()
    for place in (pack, folder):
        if (place / "stages.json").is_file():
            kept = json.loads((place / "stages.json").read_text())
            outcomes |= {n: Outcome(**o) for n, o in kept.items() if o["state"] == "done"}
    rows = folder / "field.jsonl"
    if not rows.is_file() and (pack / rows.name).is_file():
        rows.write_text((pack / rows.name).read_text())
    return outcomes


def run_stages(
    session: Session, wanted: list[str], outcomes: dict[str, Outcome]
) -> dict[str, Outcome]:
    """Run the stages that are wanted and not done; write the report after each."""
    for stage, seconds in STAGES.items():
        name = stage.__name__
        session.begin(1e9 if session.rehearse else seconds)
        if name not in wanted or name in outcomes:
            continue
        outcomes[name] = Outcome("left out", 0.0, "no time was left")
        if session.left > 5:
            outcomes[name] = stage(session)
        report(session, outcomes)
        print(f"{name}: {outcomes[name].state}, {outcomes[name].seconds:.0f} s", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
