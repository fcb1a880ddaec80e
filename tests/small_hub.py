"""The few answers of the hub that uploading and downloading a small repository takes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """A hub with repositories in memory: name -> path -> content."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.created: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.created.append(asked)
            self.server.files.setdefault(name, {})
            self.answer({"url": f"{self.server.address}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [each["path"] for each in json.loads(body)["files"]]
            modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.answer({"files": [{"path": path, **modes} for path in paths]})
        elif "/commit/" in self.path:
            name = self.path.split("/api/models/")[1].split("/commit/")[0]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[name][line["value"]["path"]] = content
            self.answer({"commitUrl": f"{self.server.address}/{name}", "commitOid": COMMIT})
        else:
            self.answer({"error": self.path}, 404)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = next((name for name in self.server.files if f"/{name}/" in f"{path}/"), None)
        if name is None:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            file = path.split("/resolve/")[1].partition("/")[2]
            self.send_file(self.server.files[name][file])
        elif "/tree/" in path:
            files = self.server.files[name].items()
            self.answer(
                [{"type": "file", "path": p, "size": len(c), "oid": _oid(c)} for p, c in files]
            )
        else:
            files = [{"rfilename": file} for file in self.server.files[name]]
            self.answer({"id": name, "modelId": name, "sha": COMMIT, "siblings": files})

    do_HEAD = do_GET

    def send_file(self, content: bytes) -> None:
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT}
        self.send(content, 200, headers)

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self.send(json.dumps(value).encode(), status, kind | (headers or {}))

    def send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
