"""foveal reproduce: the runs of a table that are not made yet, and the table."""

from pathlib import Path
from typing import Any

import torch

from foveal._processes import cores
from foveal.cli.common import SUCCESS, say
from foveal.errors import UserError
from foveal.paper.tables.definitions import Scale
from foveal.paper.tables.run_table import reproduce as made


def reproduce(
    name: str,
    *,
    scale: Scale,
    seeds: int,
    rows: list[str],
    data: str | None,
    settings: dict[str, Any],
    output: str | None,
    jobs: int | None,
    precision: str,
) -> int:
    """Make a table; what is there already is kept, and runs that were stopped go on."""
    for option, value in (("seeds", seeds), ("jobs", jobs)):
        if value is not None and value < 1:
            raise UserError(f"--{option} must be 1 or more: got {value}")
    folder = Path(output or f"reproductions/{scale}")
    try:
        page = made(
            name,
            scale=scale,
            seeds=range(seeds),
            rows=rows,
            settings=settings if data is None else {**settings, "data": data},
            output=folder,
            jobs=jobs or torch.cuda.device_count() or cores(),
            precision=precision,
            say=say,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was made is kept; the same command goes on") from None
    print(page, end="")
    say(f"the runs and this table lie in {folder}")
    return SUCCESS
