"""The hub that timm downloads weights from: whether it can be reached, found out once and fast."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from urllib.parse import urlparse
from urllib.request import getproxies

_PATIENCE = 5.0  # seconds


@contextmanager
def quick_hub() -> Iterator[None]:
    """Inside, downloads fail at once where there is no network; weights in the cache are found.

    The hub's own client would try ten times, for most of a minute.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@cache
def _reachable(address: str) -> bool:
    """Whether a connection can be made; behind a proxy, that is left to the client."""
    if getproxies():
        return True
    place = urlparse(address)
    port = place.port or (80 if place.scheme == "http" else 443)
    with suppress(OSError), socket.create_connection((place.hostname or "", port), _PATIENCE):
        return True
    return False
