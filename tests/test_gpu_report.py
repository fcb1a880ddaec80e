"""The report of a GPU: rehearsed on the CPU, cut at its deadline, and continued."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def test_all_methods_are_compared_in_a_rehearsal(tmp_path: Path) -> None:
    command = [
        "bash",
        SCRIPTS / "on_gpu.sh",
        tmp_path,
        "--rehearse",
        "--stages",
        "machine",
        "field",
    ]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (tmp_path / "log.txt").read_text()
    stages = json.loads((tmp_path / "stages.json").read_text())
    assert {name: stage["state"] for name, stage in stages.items()} == {
        "machine": "done",
        "field": "done",
    }
    report = (tmp_path / "report.md").read_text()
    for method in ("foveal", "whole-448"):
        assert f"| squares | 0.02 | {method} |" in report
    cells = map(json.loads, (tmp_path / "field.jsonl").read_text().splitlines())
    found = sorted((cell["method"], cell["seed"]) for cell in cells)
    assert found == [*(("foveal", seed) for seed in range(3)), ("whole-448", 0)]


@pytest.mark.usefixtures("scripts")
def test_a_command_is_cut_with_its_stage_and_what_it_printed_is_kept(tmp_path: Path) -> None:
    from gpu_session import Session

    session, begin = Session(tmp_path, tmp_path, minutes=9, rehearse=True), time.monotonic()
    session.begin(2)
    script = "import signal, time; print('first', flush=True); time.sleep(600)"
    found = session.run(sys.executable, "-c", script, least=2)
    assert (found.state, found.text) == ("cut", "first")
    assert time.monotonic() - begin < 60
    session.begin(60)
    found = session.run(sys.executable, "-c", "raise SystemExit('no memory')")
    assert (found.state, found.text) == ("failed", "no memory")


@pytest.mark.usefixtures("scripts")
def test_what_was_done_elsewhere_is_not_done_again(tmp_path: Path) -> None:
    from gpu_report import earlier, finished

    pack, folder = tmp_path / "pack", tmp_path / "folder"
    for place in (pack, folder):
        place.mkdir()
    stage = {"seconds": 1.0, "text": "here"}
    states = {name: stage | {"state": name} for name in ("done", "cut", "failed")}
    (pack / "stages.json").write_text(json.dumps(states))
    (pack / "field.jsonl").write_text('{"task": "boards", "method": "ips", "seed": 1}\n')
    assert list(earlier(folder, pack)) == ["done"]
    assert finished(folder / "field.jsonl") == {("boards", "ips", 1)}
