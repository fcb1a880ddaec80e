"""The Swedish Traffic Signs set in miniature, in its real layout, and a server that has it."""

import io
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from miniatures import pixels, write

SIZE = (96, 128)


def sign(name: str, visibility: str = "VISIBLE", at: tuple[int, int] = (30, 50)) -> str:
    """A sign of 12 x 12 px whose upper left corner is at (y, x), as an annotation has it."""
    y, x = at
    corners = f"{x + 11.5:.6f}, {y + 11.5:.6f}, {x + 0.25:.6f}, {y + 0.25:.6f}"
    return f"{visibility}, {corners}, PROHIBITORY, {name};"


def annotations(count: int = 16) -> dict[str, str]:
    """By file name; a quarter of the images each without a sign, with 50, with 70 and with 80."""
    shown = ("", sign("50_SIGN"), sign("70_SIGN"), sign("80_SIGN"))
    return {f"Image{number:06d}.jpg": shown[number % 4] for number in range(count)}


def written(root: Path, sets: dict[str, dict[str, str]] | None = None, inner: str = "") -> Path:
    """Write annotations and images of both sets; `inner` is a folder between, formatted by set.

    The images of the regular sets are noise, brighter in the sign's place the higher the limit.
    """
    for name, lines in (sets or {"Set1": annotations(), "Set2": annotations(8)}).items():
        folder = root / name
        folder.mkdir(parents=True)
        text = "".join(f"{file}:{signs}\n" for file, signs in lines.items())
        (folder / "annotations.txt").write_text(text)
        for number, (file, signs) in enumerate(lines.items()):
            image = pixels(*SIZE, seed=number) // 4
            limit = re.search(r"(\d+)_SIGN", signs)
            image[:, 30:42, 50:62] += 0 if limit is None else 2 * int(limit[1])
            write(folder / inner.format(name) / file, image)
    return root


def published(root: Path) -> dict[str, bytes]:
    """What the set's server has, by path, from what `written` wrote."""
    files = {}
    for folder in sorted(root.iterdir()):
        files[f"/{folder.name}/annotations.txt"] = (folder / "annotations.txt").read_bytes()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            for image in sorted(folder.glob("*.jpg")):
                zipped.write(image, image.name)
        files[f"/{folder.name}/{folder.name}Part0.zip"] = archive.getvalue()
    return files


@dataclass
class Server:
    """A server on this machine.

    Attributes:
        files: by path.
        cut: bytes of a file after which the connection breaks, once each in this order; None: no.
        ranges: whether it can send a part of a file.
        sized: whether it says how large a file is; if not, it sends it in chunks.
        asked: path and Range of every request.
        address: without a final slash.
    """

    files: dict[str, bytes]
    cut: list[int | None] = field(default_factory=list)
    ranges: bool = True
    sized: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve on 127.0.0.1, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            wanted = self.headers.get("Range") if server.ranges else None
            server.asked.append((self.path, self.headers.get("Range")))
            path = self.path[max(0, self.path.find("/Set")) :]  # a proxy is asked for addresses
            content = server.files.get(path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            if start >= len(content) and wanted:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
            self.send_body(content[start:], server.cut.pop(0) if server.cut else None)

        def send_body(self, content: bytes, cut: int | None) -> None:
            if server.sized:
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:cut])
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(content) + content[:cut])
            if cut is None:
                self.wfile.write(b"\r\n0\r\n\r\n")

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
