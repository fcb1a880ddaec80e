"""Shapes and types are checked at run time, in tests only."""

from collections.abc import Iterator

import pytest
from jaxtyping import config, install_import_hook

install_import_hook("foveal", "typechecking.check")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Types unchecked, as for users, so that the package's own messages are met."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
