"""Amounts of memory: as people write them, and as this machine has them."""

import os
import re
from pathlib import Path

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # what a container may use
_UNKNOWN = 2**32


def parse_bytes(text: str) -> int:
    """The bytes of an amount such as 2GB, 500 MB or 1.5GiB.

    Raises:
        ValueError: it is none.

    >>> parse_bytes("2GB"), parse_bytes("1.5 kiB")
    (2000000000, 1536)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?I?)B?", text.strip().upper())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"memory must be an amount like 2GB or 500MB: got {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def free_memory() -> int:
    """Bytes that this process could take without others having to give any up."""
    amounts = [_free_in_machine(), _free_in_group()]
    return min((each for each in amounts if each is not None), default=_UNKNOWN)


def _free_in_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _free_in_group() -> int | None:
    try:
        limit, used = ((_GROUP / f"memory.{n}").read_text() for n in ("max", "current"))
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):  # there is none, or its limit is "max"
        return None
