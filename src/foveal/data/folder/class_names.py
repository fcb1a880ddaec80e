"""Names of classes that are probably not meant as they are written."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from foveal.data.folder.table import shorten

_MISSING = frozenset(("", "nan", "none", "null", "na", "n/a", "-", "?"))
_NOTHING = frozenset(
    ("nothing", "none", "no", "empty", "clean", "normal", "negative", "background", "ok", "good")
)
_NOTHING |= {"sound", "healthy", "intact", "no defect", "no fault", "no finding", "no object"}
_WITHOUT = ("no ", "not ", "non ", "without ")  # what another class has
_SEPARATORS = r"[,;/+&]"


def doubts(names: Sequence[str]) -> list[str]:
    """A remark for each doubt about the names of the classes.

    >>> doubts(["cat", "Cat ", "dog"])
    ["warning: nearly the same name for several classes: 'cat' and 'Cat '"]
    >>> doubts(["1", "1.0", "2"])
    ["warning: nearly the same name for several classes: '1' and '1.0'"]
    >>> doubts(["cat", "dog", "nan"])
    ["warning: a class is called 'nan': if these images have no label, remove them"]
    >>> doubts(["cat", "cat;dog", "dog"])
    ["warning: 'cat;dog' is a class of its own: if it means several classes, write cat|dog"]
    """
    return list(_doubts(names))


def nothing_here(names: Sequence[str]) -> str | None:
    """The class whose name says that there is nothing to find in its images, if there is one.

    >>> nothing_here(["crack", "Clean", "dent"])
    'Clean'
    >>> nothing_here(["crack", "no_crack"])
    'no_crack'
    >>> nothing_here(["stop", "yield", "no entry"])
    """
    plain = {name: re.sub(r"[\s_-]+", " ", name).strip().casefold() for name in names}
    lacking = {start + other for start in _WITHOUT for other in plain.values()}
    found = [name for name in names if plain[name] in _NOTHING | lacking]
    return found[0] if len(found) == 1 else None


def _doubts(names: Sequence[str]) -> Iterator[str]:
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(_plain(name), []).append(repr(name))
    pairs = [" and ".join(names) for names in spellings.values() if len(names) > 1]
    if pairs:
        yield f"warning: nearly the same name for several classes: {shorten(pairs)}"
    for name in names:
        pieces = [piece.strip() for piece in re.split(_SEPARATORS, name)]
        if _plain(name) in _MISSING:
            yield (
                f"warning: a class is called {name!r}: if these images have no label, remove them"
            )
        elif len(pieces) > 1 and set(pieces) <= set(names):
            yield (
                f"warning: {name!r} is a class of its own: if it means several classes, write "
                f"{'|'.join(pieces)}"
            )


def _plain(name: str) -> str:
    """The name without case, space and the encoding of accents; numbers by their value."""
    try:
        return str(float(name))
    except ValueError:
        return "".join(unicodedata.normalize("NFKC", name).casefold().split())
