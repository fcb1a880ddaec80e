"""Laws of several processes: they make the steps of one, and one of them writes and reports."""

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from foveal._processes import is_rank_zero
from foveal.runs.folder import RunFolder
from foveal.settings import Hardware
from miniatures_training import SPLITS, TIMES, classifier, fit, still

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "SLURM_LOCALID")
RANKS += (
    "SLURM_NODEID",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "JSM_NAMESPACE_RANK",
)
PLACES = [(0, 0), (0, 1), (1, 0), (1, 1)]  # node, process of the node
LAUNCHERS = {
    "none": [{}],
    "torchrun": [{"RANK": 2 * node + i, "LOCAL_RANK": i, "GROUP_RANK": node} for node, i in PLACES],
    "torchrun, one for each node by SLURM": [
        {"RANK": 2 * node + i, "LOCAL_RANK": i, "GROUP_RANK": node, "SLURM_PROCID": node}
        for node, i in PLACES
    ],
    "SLURM": [
        {"SLURM_PROCID": 2 * node + i, "SLURM_LOCALID": i, "SLURM_NODEID": node}
        for node, i in PLACES
    ],
    "Lightning": [{"NODE_RANK": node, "LOCAL_RANK": i} for node, i in PLACES],
    "Lightning, before it starts the other processes": [{"NODE_RANK": 0}, {"NODE_RANK": 1}],
    "Lightning in a SLURM shell": [{"SLURM_PROCID": 0, "LOCAL_RANK": i} for i in range(2)],
    "MPI": [
        {"OMPI_COMM_WORLD_RANK": 2 * node + i, "OMPI_COMM_WORLD_LOCAL_RANK": i}
        for node, i in PLACES
    ],
    "LSF": [{"JSM_NAMESPACE_RANK": rank} for rank in range(4)],
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_exactly_one_process_of_all_nodes_is_rank_zero(
    launcher: str, monkeypatch: pytest.MonkeyPatch
):
    leads = []
    for environment in LAUNCHERS[launcher]:
        for name in RANKS:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        leads.append(is_rank_zero())
    assert leads == [True] + [False] * (len(leads) - 1)


def torchrun(rank: int) -> dict[str, object]:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2}
    return ranks | {"LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "tests"}


def slurm(rank: int) -> dict[str, object]:
    job = {"SLURM_JOB_ID": 1, "SLURM_JOB_NAME": "tests", "SLURM_NTASKS": 2, "SLURM_NNODES": 2}
    return (
        job
        | {"SLURM_NTASKS_PER_NODE": 1, "SLURM_PROCID": rank, "SLURM_NODEID": rank}
        | {"SLURM_LOCALID": 0}
    )


OPTIONS = still(optimiser="sgd", clip_norm=None, log_every=1, ema_decay=0.5)
ONE_NODE: dict[str, Any] = {"devices": 2, "nodes": 1}
TWO_NODES: dict[str, Any] = {"devices": 1, "nodes": 2}


def train_as(environment: dict[str, object], hardware: dict[str, Any], folder: Path) -> None:
    os.environ.update({name: str(value) for name, value in environment.items()})
    with folder.with_suffix(".txt").open("w") as sys.stderr:
        run = RunFolder.create(folder)
        fit(classifier(plain=True), SPLITS, OPTIONS, hardware=Hardware(**hardware), run=run)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize(
    ("environment", "hardware"),
    [
        (torchrun, ONE_NODE),
        (torchrun, ONE_NODE | {"cache": "device"}),
        (slurm, TWO_NODES),
        (lambda rank: {"NODE_RANK": rank}, TWO_NODES),
    ],
    ids=["torchrun", "torchrun, images kept on the device", "SLURM", "Lightning"],
)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads
def test_two_processes_make_the_steps_of_one_and_one_of_them_writes(
    tmp_path: Path, environment: Any, hardware: dict[str, Any]
):
    """Every process has a folder of its own, as on nodes that share no disk."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    folders = [tmp_path / f"rank{rank}" for rank in range(2)]
    fork = multiprocessing.get_context("fork")
    processes = []
    for rank, folder in enumerate(folders):
        given = (environment(rank) | address, {"accelerator": "cpu"} | hardware, folder)
        processes.append(fork.Process(target=train_as, args=given))
        processes[-1].start()
    for process in processes:
        process.join(100)
    told = [folder.with_suffix(".txt").read_text() for folder in folders]
    assert [process.exitcode for process in processes] == [0, 0], told
    assert told[0].count("step 4 of 4") == 1
    assert told[1] == ""
    assert not folders[1].exists()

    alone, together = RunFolder.create(tmp_path / "alone"), RunFolder(folders[0])
    fit(classifier(plain=True), SPLITS, OPTIONS, run=alone, progress=False)
    assert_same(alone, together)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def assert_same(alone: RunFolder, together: RunFolder) -> None:
    for name, weight in alone.weights("last").items():
        torch.testing.assert_close(together.weights("last")[name], weight, rtol=1e-4, atol=1e-6)
    for a, b in zip(alone.rows(), together.rows(), strict=True):
        known = {key: value for key, value in a.items() if value is not None and key not in TIMES}
        assert {key: b[key] for key in known} == pytest.approx(known, rel=1e-4)


SCRIPT = """
import sys
from pathlib import Path
from test_distributed import ONE_NODE, train_as

train_as({}, {"accelerator": "cpu"} | ONE_NODE, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_one_command_starts_the_processes_of_its_devices_itself(tmp_path: Path):
    script, folder = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, folder],
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(RunFolder(folder).rows()) == OPTIONS.optimisation.steps
