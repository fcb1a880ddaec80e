"""How much memory this machine has, or what of it this process may use."""

import os
from functools import cache
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNKNOWN = 8 * 2**30


@cache
def memory() -> int:
    """Bytes; a container has less than its machine. 8 GiB if that is unknown."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        whole = _UNKNOWN
    for file in _LIMITS:
        try:
            whole = min(whole, int(Path(file).read_text()))
        except (OSError, ValueError):  # no such file, or no limit
            continue
    return whole
