"""JSON that every parser takes, where a number that is not finite is null; and JSON of anyone."""

import json
import math
from typing import Any


def dumps(value: Any) -> str:
    """JSON on one line.

    >>> dumps({"loss": float("nan"), "curve": [(1, 0.5), (2, float("inf"))], "hits": None})
    '{"loss": null, "curve": [[1, 0.5], [2, null]], "hits": null}'
    """
    return json.dumps(_finite(value), allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Parse JSON from anywhere.

    Raises:
        ValueError: it is no JSON, or nested more deeply than Python can follow.

    >>> loads('{"hits": [1, null]}')
    {'hits': [1, None]}
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
