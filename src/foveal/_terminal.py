"""Lines for a terminal: names from files and folders are shown, and never act on it."""

import re
import sys
from contextlib import suppress

# control characters but for line feed and tab, and what changes the direction of writing
_ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The same text, with escapes for characters that act on a terminal.

    >>> print(printable("cat\x1b[2J"))
    cat\x1b[2J
    """
    return _ACTS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(*lines: object) -> None:
    """Write lines to standard output."""
    for line in lines:
        print(printable(str(line)), flush=True)


def note(*lines: object) -> None:
    """Write lines to standard error; nobody may be there to read them."""
    with suppress(OSError):
        for line in lines:
            print(printable(str(line)), file=sys.stderr, flush=True)
