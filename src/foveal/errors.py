"""Errors that the user can mend, and the name that a misspelt one was meant to be.

Library functions raise `ValueError` and `TypeError` for arguments. What concerns a user's files or
command line raises `UserError`: the command line prints its message as one line and exits with 2.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input: one line that says what is wrong, where, and the remedy."""


class Failure(RuntimeError):
    """What went wrong around the program, as a process that was killed: one line, exit status 1."""


class NotFiniteError(ValueError):
    """Scores that are NaN or infinite: the model diverged, or an image holds such pixels."""


class DownloadFailed(UserError):
    """Pretrained weights that cannot be had from their hub."""


class NotWritten(UserError):
    """A file that cannot be written: the disk is full, or the place does not allow it."""


class ImageRefused(UserError):
    """An image that a model cannot take, because of its size or its channels.

    Where many images are predicted, it costs the result of this image alone.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a name that does not exist: the most similar name, or all names.

    >>> nearest("trian", ("train", "explain"))
    'did you mean train?'
    >>> nearest("x", ("train", "explain"))
    'choose train or explain'
    """
    names = tuple(names)
    similar = difflib.get_close_matches(name, names, n=1)
    if similar:
        return f"did you mean {similar[0]}?"
    return f"choose {' or '.join(filter(None, (', '.join(names[:-1]), *names[-1:])))}"
