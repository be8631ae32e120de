"""Object storage on this machine's loopback that speaks as much of S3 as tile stores need, for tests and proofs."""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 20
"""Objects in a page of a listing: so few that listings have several."""
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
ISO_DATE = "2026-01-01T00:00:00.000Z"
Answer = tuple[int, bytes, dict[str, str]]


@dataclass(frozen=True)
class Stored:
    """An object."""

    content: bytes
    about: dict[str, str] = field(default_factory=dict)
    """Its `x-amz-meta-...` headers."""


@dataclass
class ObjectServer:
    """Objects by bucket and key, `bucket/a/b`, and what was asked for."""

    url: str = ""
    objects: dict[str, Stored] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and key, with `?` where it is about the bucket or a part."""
    sent: int = 0
    """Bytes of objects that were given out."""
    refuses: Callable[[str, str], bool] = lambda _method, _key: False
    """Which method and key get a 403; it may also wait."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead obstore here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "not a secret",
            "AWS_REGION": "eu-central-1",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }

    @property
    def members(self) -> dict[str, bytes]:
        """Objects by name in their store."""
        return {member_of(key): stored.content for key, stored in self.objects.items()}

    @property
    def put_names(self) -> list[str]:
        """Names in their store of what was put, in order."""
        return [member_of(key) for method, key in self.requests if method == "PUT"]

    @property
    def shards(self) -> list[str]:
        """Keys of the shards of the zoom of 0.5 um/px."""
        return sorted(key for key in self.objects if "/zooms/0.5/pixels/c/" in key)

    def alter(self, key: str) -> None:
        """Flip a bit in the middle of an object and keep what it says of itself.

        Args:
            key: Which.
        """
        content = bytearray(self.objects[key].content)
        content[len(content) // 2] ^= 4
        self.objects[key] = Stored(bytes(content), self.objects[key].about)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer a request, one at a time.

        Args:
            method: Of HTTP.
            target: Path and query.
            headers: By name in small letters.
            body: What was sent.

        Returns:
            Status, body and headers.
        """
        parts = urlsplit(target)
        key, query = unquote(parts.path).strip("/"), parse_qs(parts.query, keep_blank_values=True)
        signed = headers.get("x-amz-content-sha256", "")
        with self.lock:
            self.requests.append((method, key + "?" * bool(query)))
        if self.refuses(method, key):
            return 403, b"<Error><Code>AccessDenied</Code></Error>", {}
        if re.fullmatch("[0-9a-f]{64}", signed) and hashlib.sha256(body).hexdigest() != signed:
            return 400, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>", {}
        with self.lock:
            return getattr(self, f"_{method.lower()}")(key, query, headers, body)  # type: ignore[no-any-return]

    def _get(self, key: str, query: dict[str, list[str]], headers: dict[str, str], _: bytes) -> Answer:
        if "list-type" in query:
            return self._list(key, query)
        if key not in self.objects:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
        stored = self.objects[key]
        about = {"ETag": f'"{hashlib.md5(stored.content).hexdigest()}"', "Last-Modified": DATE, **stored.about}  # noqa: S324
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        if match is None:
            return 200, stored.content, about
        first, last = int(match[1]), min(int(match[2]), len(stored.content) - 1)
        about["Content-Range"] = f"bytes {first}-{last}/{len(stored.content)}"
        return 206, stored.content[first : last + 1], about

    _head = _get

    def _list(self, bucket: str, query: dict[str, list[str]]) -> Answer:
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(key.removeprefix(f"{bucket}/") for key in self.objects if key.startswith(f"{bucket}/{prefix}"))
        left = [key for key in keys if key > after]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{ISO_DATE}</LastModified>"
            f"<Size>{len(self.objects[f'{bucket}/{key}'].content)}</Size></Contents>"
            for key in left[:PAGE]
        )
        more = len(left) > PAGE
        token = f"<NextContinuationToken>{escape(left[PAGE - 1])}</NextContinuationToken>" if more else ""
        head = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        return 200, f"<ListBucketResult>{head}{items}</ListBucketResult>".encode(), {}

    def _put(self, key: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Answer:
        tag = {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}  # noqa: S324 - as S3 does
        if "uploadId" in query:
            self.parts[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            self.objects[key] = Stored(body, _about(headers))
        return 200, b"", tag

    def _post(self, key: str, query: dict[str, list[str]], headers: dict[str, str], _: bytes) -> Answer:
        if "uploads" in query:
            identity = uuid.uuid4().hex
            self.parts[identity] = {}
            self._abouts[identity] = _about(headers)
            text = f"<InitiateMultipartUploadResult><UploadId>{identity}</UploadId></InitiateMultipartUploadResult>"
            return 200, text.encode(), {}
        identity = query["uploadId"][0]
        parts = self.parts.pop(identity)
        self.objects[key] = Stored(b"".join(parts[number] for number in sorted(parts)), self._abouts.pop(identity))
        text = "<CompleteMultipartUploadResult><ETag>&quot;x&quot;</ETag></CompleteMultipartUploadResult>"
        return 200, text.encode(), {}

    def _delete(self, key: str, query: dict[str, list[str]], _headers: dict[str, str], _: bytes) -> Answer:
        """Give up an upload in parts."""
        del key
        self.parts.pop(query["uploadId"][0], None)
        return 204, b"", {}

    def __post_init__(self) -> None:
        self._abouts: dict[str, dict[str, str]] = {}


def member_of(key: str) -> str:
    """The name of an object in its store.

    Args:
        key: Of the object.

    Returns:
        What follows `<fingerprint>.tiles.zarr/`.
    """
    return key.partition(".tiles.zarr/")[2]


def _about(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}


def handler_of(server: ObjectServer) -> type[BaseHTTPRequestHandler]:
    """What answers for a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_request(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            status, content, about = server.answer(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in about.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
                with server.lock:
                    server.sent += len(content) if self.command == "GET" else 0

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815 - as its base has them

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    return Handler


@contextmanager
def serving() -> Iterator[ObjectServer]:
    """Serve an empty storage.

    Yields:
        The running server.
    """
    served = ObjectServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(served))
    http.daemon_threads = True
    served.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
