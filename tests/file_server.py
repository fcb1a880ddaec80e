"""A web server of files on this machine, whose faults are chosen."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What a server holds, how it answers, and what was asked.

    Attributes:
        files: content by path.
        ranges: whether parts are served: "yes"; "no", as it says; "silent", as it does not say.
        tags: whether it says the ETag.
        failures: how many answers of a body yet to come break off half-way.
        status: of every answer instead; 0: as is right.
        sent: bytes of bodies that were sent.
        asked: method and path of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: str = "yes"
    tags: bool = True
    failures: int = 0
    status: int = 0
    sent: int = 0
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def put(self, name: str, content: bytes) -> str:
        """Serve a file; returns its URL."""
        self.files[f"/{name}"] = content
        return f"{self.url}/{name}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer HEAD and GET."""
        self.asked.append(f"{request.command} {request.path}")
        content = self.files.get(request.path)
        if self.status or content is None:
            request.send_error(self.status or 404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        body = content
        if asked and self.ranges == "yes":
            start, end = int(asked[1]), int(asked[2] or len(content) - 1)
            body = content[start : end + 1]
            request.send_response(206)
            place = f"bytes {start}-{start + len(body) - 1}/{len(content)}"
            request.send_header("Content-Range", place)
        else:
            request.send_response(200)
        if self.ranges != "silent":
            request.send_header("Accept-Ranges", "bytes" if self.ranges == "yes" else "none")
        if self.tags:
            request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "HEAD":
            return
        if self.failures:
            self.failures -= 1
            body = body[: len(body) // 2]
            request.close_connection = True
        for start in range(0, len(body), 2**14):
            try:
                request.wfile.write(body[start : start + 2**14])
            except OSError:  # the client has gone
                request.close_connection = True
                return
            self.sent += len(body[start : start + 2**14])


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        def do_HEAD(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
