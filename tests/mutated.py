"""Files with random damage, each a function of a number; and what a reader made of one."""

import os
import traceback
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from foveal.errors import UserError
from png_files import chunks_of, joined

FEW = 1000
"""How many files the fast tests damage in all."""
MANY = int(os.environ.get("FOVEAL_MUTATIONS", "100000"))
"""How many the slow tests do."""

NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
WORDS = (
    *(
        b"",
        b",",
        b";",
        b"\t",
        b'"',
        b"\n",
        b"\r",
        b"\0",
        b"'",
        b"|",
        b"\\",
        b"/",
        b"=",
        b":",
        b"- ",
    ),
    *(b"[", b"]", b"{", b"}", b"&a ", b"*a", b"!!", b"? ", b"# ", b"%", b"null", b"nan", b"inf"),
    *(b"1e999", b"-1", b"9" * 30, b"9" * 5000, b"[" * 3000, b"{a: " * 300, b"\xff", b"\xe2\x82"),
    *("ä".encode(), "²".encode(), b"\xef\xbb\xbf", b"../", b"a" * 300, b"\x1b[2J", b"true", b"~"),
)


def flip(content: bytearray, random: Random) -> None:
    """Another bit."""
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def set_byte(content: bytearray, random: Random) -> None:
    """Another byte."""
    content[random.randrange(len(content))] = random.choice((0, 1, 127, 128, 255))


def set_number(content: bytearray, random: Random) -> None:
    """A number at the edge of a range, in 1, 2, 4 or 8 bytes of either order."""
    length, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    number = random.choice(NUMBERS) % (1 << 8 * length)
    at = random.randrange(len(content))
    content[at : at + length] = number.to_bytes(length, order)  # type: ignore[arg-type]


def cut(content: bytearray, random: Random) -> None:
    """A piece less."""
    start, end = _piece(content, random)
    del content[start:end]


def repeat(content: bytearray, random: Random) -> None:
    """A piece again, anywhere."""
    start, end = _piece(content, random)
    at = random.randrange(len(content))
    content[at:at] = content[start:end]


def overwrite(content: bytearray, random: Random) -> None:
    """Noise over a piece."""
    start, end = _piece(content, random)
    content[start:end] = random.randbytes(end - start)


def end_early(content: bytearray, random: Random) -> None:
    """All that follows is missing."""
    del content[random.randrange(len(content)) :]


def add_word(content: bytearray, random: Random) -> None:
    """A word that texts are taken apart by, in the place of a piece or between."""
    at = random.randrange(len(content))
    content[at : at + random.choice((0, 0, 1, 3))] = random.choice(WORDS)


CHANGES = (flip, set_byte, set_number, cut, repeat, overwrite, end_early)
TEXT_CHANGES = (add_word, add_word, add_word, set_byte, cut, repeat, end_early)


def _piece(content: bytearray, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content))
    return start, start + random.choice((1, 2, 4, 16, 64, len(content)))


def mutated(
    content: bytes, random: Random, changes: Sequence[Callable[[bytearray, Random], None]] = CHANGES
) -> bytes:
    """The content with one to sixteen changes."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        if changed:
            random.choice(changes)(changed, random)
    return bytes(changed)


def mutated_png(content: bytes, random: Random) -> bytes:
    """A PNG with changes inside its chunks, or of their order, behind checksums that are right."""
    chunks = chunks_of(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(chunks))
        name, data = chunks[at]
        kind = random.randrange(8)
        if kind == 0:
            del chunks[at]
        elif kind == 1:
            chunks.insert(random.randrange(len(chunks) + 1), (name, data))
        elif kind == 2:
            chunks[at] = (mutated(name, random)[:4].ljust(4, b"a"), data)
        elif name == b"IDAT" and kind < 6:
            pixels = mutated(zlib.decompress(data), random)
            chunks[at] = (name, zlib.compress(pixels, 1))
        else:
            chunks[at] = (name, mutated(data, random))
        if not chunks or any(name == b"IDAT" and not _inflates(data) for name, data in chunks):
            break
    return joined(chunks)


def _inflates(data: bytes) -> bool:
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True


def fault_of(work: Callable[[], Any]) -> str | None:
    """What is raised that is no user error of one line, or what says nothing."""
    try:
        status = work()
    except UserError as error:
        return None if str(error) and "\n" not in str(error) else f"a message of lines: {error}"
    except Exception:
        return traceback.format_exc()
    return None if not isinstance(status, int) or status in (0, 2) else f"status {status}"
