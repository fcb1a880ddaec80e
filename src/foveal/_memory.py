"""Amounts of memory: as people write them, and how much this process may use."""

import os
import re
from functools import cache
from pathlib import Path

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_MEMINFO = Path("/proc/meminfo")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_DIGITS = 30  # of an amount, which a float holds by far
_UNKNOWN = 8 * 2**30


def parse_bytes(text: str) -> int:
    """The bytes of an amount such as 2GB, 500 MB or 1.5GiB.

    Raises:
        ValueError: it is none.

    >>> parse_bytes("2GB"), parse_bytes("1.5 kiB")
    (2000000000, 1536)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?I?)B?", text.strip().upper())
    if found is None or found[2] not in _UNITS or len(found[1]) > _DIGITS:
        raise ValueError(f"memory must be an amount like 2GB or 500MB: got {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


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


def free_memory() -> int:
    """Bytes that this process could take without others having to give any up; half if unknown."""
    try:
        lines = _MEMINFO.read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration):
        free = memory() // 2
    return min(free, memory())


def spare_memory() -> int:
    """Bytes that data may take: a quarter of the memory, at most 8 GiB."""
    return min(memory() // 4, 8 * 2**30)
