"""The one kind of error that is the user's to mend: a file, a folder, an option.

Library functions raise `ValueError` and `TypeError` for arguments. What concerns a user's files or
command line raises `UserError`: the command line prints its message as one line and exits with 2.
"""


class UserError(ValueError):
    """A mistake in the user's input: one line that says what is wrong, where, and the remedy."""


class NotFiniteError(ValueError):
    """Scores that are NaN or infinite: the model diverged, or an image holds such pixels."""
