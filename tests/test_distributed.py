"""Laws of several processes: they make the steps of one, and one of them writes and reports."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foveal._processes import is_rank_zero
from foveal.runs.folder import RunFolder
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


SCRIPT = """
import sys
from foveal.runs.folder import RunFolder
from foveal.settings import Hardware
from miniatures_training import SPLITS, classifier, fit, still

folder, devices, nodes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hardware = Hardware(accelerator="cpu", devices=devices, nodes=nodes)
options = still(optimiser="sgd", clip_norm=None, log_every=1)
fit(classifier(plain=True), SPLITS, options, hardware=hardware, run=RunFolder.create(folder))
"""


def start(script: Path, folder: Path, devices: int, nodes: int, **extra: str) -> subprocess.Popen:
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.Popen(
        [sys.executable, script, folder, str(devices), str(nodes)],
        env=environment | extra,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_processes_make_the_steps_of_one_and_one_of_them_writes(tmp_path: Path, nodes: int):
    alone = RunFolder.create(tmp_path / "alone")
    options = still(optimiser="sgd", clip_norm=None, log_every=1)
    fit(classifier(plain=True), SPLITS, options, run=alone, progress=False)

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    folders = [tmp_path / f"node{node}" for node in range(nodes)]
    processes = [
        start(script, folder, 2 // nodes, nodes, NODE_RANK=str(node), **address)
        for node, folder in enumerate(folders)
    ]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * nodes, told
    assert told[0][1].count("step 4 of 4") == 1
    assert "lightning" not in told[0][1].lower()
    if nodes == 2:
        assert told[1] == ("", "")
        assert not folders[1].exists()

    together = RunFolder(folders[0])
    for name, weight in alone.weights("last").items():
        torch.testing.assert_close(together.weights("last")[name], weight, rtol=1e-4, atol=1e-6)
    for a, b in zip(alone.rows(), together.rows(), strict=True):
        known = {key: value for key, value in a.items() if value is not None and key not in TIMES}
        assert {key: b[key] for key in known} == pytest.approx(known, rel=1e-4)
