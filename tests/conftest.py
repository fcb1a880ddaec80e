"""Shapes and types are checked at run time, in tests only."""

import signal
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config, install_import_hook

install_import_hook("foveal", "typechecking.check")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Types unchecked, as for users, so that the package's own messages are met."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True, scope="session")
def _float32_on_cpus() -> Iterator[None]:
    """Numbers are compared: CPUs that are fast in bfloat16 compute in float32 in tests, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield
