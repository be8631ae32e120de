"""A web server on this machine's loopback that answers ranges, for tests and proofs of remote reading."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Server:
    """Serves a folder with ranges; remembers what was asked for."""

    root: Path
    url: str = ""
    sent: int = 0
    """Bytes of bodies."""
    signed: list[bool] = field(default_factory=list)
    fail: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    """What answers for a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = server.root / unquote(self.path.partition("?")[0]).lstrip("/")
            server.signed.append("AWS4-HMAC-SHA256" in self.headers.get("Authorization", ""))
            if server.fail or not path.is_file():
                self.send_response(403 if server.fail else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(match[1]), min(int(match[2]), len(content) - 1)) if match else (0, len(content) - 1)
            part = content[first : last + 1]
            self.send_response(206 if match else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
            self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
            if match:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            if body:
                with server.lock:
                    server.sent += len(part)
                self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    return Handler


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """Serve a folder.

    Args:
        root: The folder.

    Yields:
        The running server.
    """
    served = Server(root)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(served))
    served.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
