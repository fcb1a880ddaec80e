"""How far very large images are shrunk before they are searched for proposals, to bound the time.

All images of a data set are shrunk by the same factor, a power of two: things keep their relative
sizes, and the levels of a pyramid can be read instead of the full size.
"""

from collections.abc import Sequence

from foveal.proposals.trunk import Trunk

MEGAPIXELS = 32.0  # of an image on average: about 10 s on a processor core for a ResNet-18
_IN_ONE_PIECE = 2**23  # pixels; what is not read in pieces is held as a whole


def halvings_for(sizes: Sequence[tuple[int, int]], trunk: Trunk, megapixels: float) -> int:
    """Halvings of the sides after which images have at most so many megapixels on average.

    Args:
        sizes: heights and widths of images, or of some.
        trunk: that sees them. If it takes an image in one piece, the largest has at most 8
            megapixels, too.
        megapixels: that an image may have on average.
    """
    areas = [height * width for height, width in sizes]
    mean, largest = sum(areas) / len(areas), max(areas)
    count = 0
    while mean > 1e6 * megapixels * 4**count or (
        trunk.reach is None and largest > _IN_ONE_PIECE * 4**count
    ):
        count += 1
    return count


def describe(halvings: int) -> str:
    """At what size images are searched, in words."""
    return f"1/{1 << halvings} of their size" if halvings else "full size"
