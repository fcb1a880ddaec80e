"""Where an image is: a file on this machine, or one that a URL names."""

import os
import re
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")  # of two letters: C:// is a drive


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file on a server or in an object store; as much of `Path` as reading an image needs.

    Attributes:
        url: as fsspec takes it, such as https://..., s3://... or zip://a.tif::https://...
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        """The URL, under which this machine has no file."""
        return self.url

    @property
    def suffix(self) -> str:
        """The ending of the last name, without what follows a question mark."""
        return PurePosixPath(re.split("::|[?#]", self.url)[0]).suffix

    def open(self, _mode: str = "rb") -> BufferedReader:
        """Open a copy of the whole file, which is downloaded if there is none."""
        from foveal.images.copies import downloaded  # which builds on this module

        return downloaded(self).open()


Location = Path | RemoteFile


def is_url(text: object) -> bool:
    """Whether a text is a URL rather than a path."""
    return isinstance(text, str) and _URL.match(text) is not None


def location(source: str | Location) -> Location:
    """The place that a text names."""
    if isinstance(source, str):
        return RemoteFile(source) if is_url(source) else Path(source)
    return source


def absolute(place: Location) -> str:
    """The place as a text that means the same in every folder."""
    return place.url if isinstance(place, RemoteFile) else os.path.abspath(place)


def is_there(place: Location) -> bool:
    """Whether there is a file; of a remote one that is not asked, a name too long has none."""
    if isinstance(place, RemoteFile):
        return True
    # of pathlib's, unlike these, some fail at names that no file can have
    return os.path.isdir(place) if is_zarr(place) else os.path.isfile(place)


def is_zarr(place: Location) -> bool:
    """Whether a name is that of a Zarr array or group, which is a folder, or of one in it."""
    return re.search(r"\.zarr([/\\]|$)", str(place), re.IGNORECASE) is not None
