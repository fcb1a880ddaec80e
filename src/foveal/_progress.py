"""Progress bars on standard error, shown where that is a terminal."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")


def progress_bar(*columns: "ProgressColumn | str") -> "Progress":
    """Return a bar, shown from `with` on and removed at its end.

    Args:
        columns: what it shows; none: rich's own, a text, a bar, and the time that is left.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Iterate with a bar.

    Args:
        items: what is iterated over.
        what: text beside the bar.
        total: number of items.
    """
    with progress_bar() as bar:
        yield from bar.track(items, total, description=what)
