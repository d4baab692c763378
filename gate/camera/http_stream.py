"""HttpStream: the endless answer to one GET, bounded in time and size whatever the camera does.

Libraries for HTTP limit the time of each read, so that a camera which sends a byte now and then
holds them for ever. Here everything that is waited for has one end of time.
"""

from __future__ import annotations

import re
import socket
import time
import zlib
from urllib.parse import quote, unquote, urljoin, urlsplit

from mask_gate.gate.camera.capture_word import Word, word_of_status
from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import CameraError

MAX_HEAD = 65536
"""Bytes of an answer's status line and headers."""

MAX_AWAY_S = 0.5
"""Whoever has not looked at a connection for so long finds old pictures in it."""

_PIECE = 65536
_SLICE_S = 0.1
_MAX_REQUESTS = 5  # redirects and the question for a password among them
_PORTS = {"http": 80, "https": 443}
_ELSEWHERE = (301, 302, 303, 307, 308)
_LARGEST_PIECE = 4 * 1024 * 1024  # that a few bytes may be unpacked to


class StreamError(CameraError):
    """A stream that cannot be read.

    Attributes:
        word: which kind of fault it is.
    """

    def __init__(self, message: str, word: Word = Word.UNREACHED) -> None:
        super().__init__(message)
        self.word = word


class HttpStream:
    """One connection whose answer has begun, and is none that refuses.

    User and password of the URL are told only to its own host, and only when that asks. Redirects
    are followed to http and https. Certificates are not checked: cameras sign their own.

    Args:
        url: http or https.
        limit_s: for everything until the headers of the answer are there.
        clock: monotonic seconds.

    Attributes:
        headers: of the answer, names in small letters.

    Raises:
        StreamError: refused, not there in time, not HTTP, or a status that means no stream.
    """

    def __init__(self, url: str, limit_s: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._socket: socket.socket | None = None
        self._nothing_yet: tuple[type[OSError], ...] = (BlockingIOError,)
        self._looked_s = clock()
        self._received = b""  # with the headers, but after them
        self._chunks: Dechunker | None = None
        self._unpacker: _Unpacker | None = None
        self.headers: dict[str, str] = {}
        try:
            self._get(url, clock() + limit_s)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | ValueError) and not isinstance(error, StreamError):
                raise StreamError(f"the camera does not answer: {error}") from error
            raise

    def receive(self, until_s: float) -> bytes:
        """Some bytes of the body, at least one.

        Args:
            until_s: so long is waited for them, as a time of the clock.

        Raises:
            StreamError: they did not come in time, the stream is over or damaged, or this process
                stood still, so that what waits in the connection is old.
        """
        while True:
            data = self._received or self._wait(until_s)
            if data := self._unpacked(data):
                return data

    def receive_now(self) -> bytes:
        """What has come of the body and was not received yet; empty if nothing has.

        Raises:
            StreamError: as `receive`.
        """
        assert self._socket is not None
        self._look()
        self._socket.settimeout(0)
        try:
            data = self._received or self._socket.recv(_PIECE)
        except self._nothing_yet:
            return b""
        if not data:
            raise StreamError("the camera closed the connection", Word.CLOSED)
        return self._unpacked(data)

    def close(self) -> None:
        """End the connection; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _get(self, url: str, until_s: float) -> None:
        """Ask, and ask again as the answers demand, until one of them is the stream."""
        home, account = _place(url), _account(url)
        credentials: str | None = None
        for _ in range(_MAX_REQUESTS):
            status, fields = self._ask(url, credentials, until_s)
            self.headers = dict(fields)
            if 200 <= status < 300:
                self._prepare_body()
                return
            if status == 401:
                account_here = account if _may_know(home, _place(url)) else None
                credentials = self._credentials(fields, account_here, credentials, _target(url))
                continue
            if status not in _ELSEWHERE or "location" not in self.headers:
                raise StreamError(
                    f"the camera answers with status {status}", word_of_status(status)
                )
            url, credentials = urljoin(url, self.headers["location"]), None
        raise StreamError("the camera redirects without end", Word.ASTRAY)

    @staticmethod
    def _credentials(
        fields: list[tuple[str, str]],
        account: tuple[str, str] | None,
        tried: str | None,
        target: str,
    ) -> str:
        """What to answer to status 401.

        Raises:
            StreamError: there is no answer, or the camera has refused it.
        """
        from mask_gate.gate.camera.http_auth import authorization, is_stale  # few cameras ask

        said = "the camera answers with status 401"
        challenges = [value for name, value in fields if name == "www-authenticate"]
        if account is None:
            raise StreamError(said, Word.LOGIN_WANTED)
        if tried is not None and not is_stale(challenges):
            raise StreamError(said, Word.REFUSED)
        answer = authorization(challenges, *account, "GET", target)
        if answer is None:
            raise StreamError(f"{said} and asks in an unknown way", Word.LOGIN_UNKNOWN)
        return answer

    def _prepare_body(self) -> None:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._chunks = Dechunker()
        if re.search("gzip|deflate", self.headers.get("content-encoding", ""), re.IGNORECASE):
            self._unpacker = _Unpacker()

    def _unpacked(self, data: bytes) -> bytes:
        """The body in these bytes of the answer, which are used up."""
        self._received = b""
        if self._chunks is not None:
            data = self._chunks.feed(data)
        return data if self._unpacker is None else self._unpacker.feed(data)

    def _ask(
        self, url: str, credentials: str | None, until_s: float
    ) -> tuple[int, list[tuple[str, str]]]:
        """Send one request on a connection of its own; status and headers of the answer."""
        self.close()
        scheme, host, port = _place(url)
        self._socket = socket.create_connection((host, port), self._left_s(until_s))
        if scheme == "https":
            self._socket = self._encrypted(self._socket, host)
        name = f"[{host}]" if ":" in host else host
        place = name if port == _PORTS[scheme] else f"{name}:{port}"
        lines = [f"GET {_target(url)} HTTP/1.1", f"Host: {place}", "Accept: */*"]
        lines += ["Accept-Encoding: identity", "User-Agent: mask-gate", "Connection: close"]
        lines += [] if credentials is None else [f"Authorization: {credentials}"]
        self._socket.settimeout(self._left_s(until_s))
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
        self._looked_s = self._clock()
        return self._head(until_s)

    def _encrypted(self, plain: socket.socket, host: str) -> socket.socket:
        import ssl  # most cameras of a local network do without, and start sooner

        self._nothing_yet = BlockingIOError, ssl.SSLWantReadError
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLError as error:
            raise StreamError(f"no encrypted connection: {error}", Word.NOT_ENCRYPTED) from error

    def _head(self, until_s: float) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers of the answer; those that only say that one will come are skipped."""
        head = b""
        while True:
            while not (end := re.search(rb"\r?\n\r?\n", head)):
                if len(head) > MAX_HEAD:
                    raise StreamError(
                        f"the camera's headers are longer than {MAX_HEAD} bytes", Word.NOT_HTTP
                    )
                head += self._wait(until_s)
            if not (answer := re.match(rb"(?:HTTP/1\.[0-9]|ICY) +([0-9]{3})\b", head)):
                raise StreamError("the camera does not speak HTTP", Word.NOT_HTTP)
            if not answer[1].startswith(b"1"):
                break
            head = head[end.end() :]
        self._received = head[end.end() :]
        return int(answer[1]), fields_of(head[: end.start()].splitlines()[1:])

    def _wait(self, until_s: float) -> bytes:
        """What has come through the connection, or comes."""
        assert self._socket is not None
        while True:
            self._look()
            self._socket.settimeout(min(self._left_s(until_s), _SLICE_S))
            try:
                data = self._socket.recv(_PIECE)
            except TimeoutError:
                continue
            self._look()
            if not data:
                raise StreamError("the camera closed the connection", Word.CLOSED)
            return data

    def _look(self) -> None:
        now_s = self._clock()
        away_s, self._looked_s = now_s - self._looked_s, now_s
        if away_s > MAX_AWAY_S:
            raise StreamError(f"nobody looked at the stream for {away_s:.1f} s", Word.STOOD_STILL)

    def _left_s(self, until_s: float) -> float:
        if (left_s := until_s - self._clock()) <= 0:
            raise StreamError("the camera takes too long")
        return left_s


class Dechunker:
    """Takes the body of an answer out of its chunks, however it was cut into pieces."""

    def __init__(self) -> None:
        self._left = 0  # of the chunk, with its line end
        self._words = b""  # of the line that announces a chunk

    def feed(self, data: bytes) -> bytes:
        """The body in these bytes of the answer.

        Raises:
            StreamError: the stream is over, or these are no chunks.
        """
        body = bytearray()
        at = 0
        while at < len(data):
            if self._left > 0:
                piece = data[at : at + self._left]
                body += piece[: max(0, self._left - 2)]
                at, self._left = at + len(piece), self._left - len(piece)
                continue
            end = data.find(b"\n", at)
            self._words += data[at : end if end >= 0 else len(data)]
            at = end + 1 if end >= 0 else len(data)
            if len(self._words) > 1024:
                raise StreamError("the camera sent a chunk without a size", Word.DAMAGED)
            if end >= 0:
                self._begin()
        return bytes(body)

    def _begin(self) -> None:
        size, self._words = self._words.partition(b";")[0].strip(), b""
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
            raise StreamError("the camera sent a chunk without a size", Word.DAMAGED)
        if int(size, 16) == 0:
            raise StreamError("the camera ended the stream", Word.CLOSED)
        self._left = int(size, 16) + 2


class _Unpacker:
    """Unpacks a body that was packed although nobody asked for that."""

    def __init__(self) -> None:
        self._packed = zlib.decompressobj(32 + zlib.MAX_WBITS)  # gzip or zlib, as its head says

    def feed(self, data: bytes) -> bytes:
        """What is in these bytes.

        Raises:
            StreamError: they are not packed, or grow too much.
        """
        try:
            body = self._packed.decompress(data, _LARGEST_PIECE)
        except zlib.error as error:
            raise StreamError(f"the body cannot be unpacked: {error}", Word.DAMAGED) from None
        if self._packed.unconsumed_tail:
            raise StreamError("the body grows too much when it is unpacked", Word.DAMAGED)
        return body


def fields_of(lines: list[bytes]) -> list[tuple[str, str]]:
    """Headers in their order, names in small letters."""
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def _place(url: str) -> tuple[str, str, int]:
    """Scheme, host and port.

    Raises:
        StreamError: not http or https, or no host.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise StreamError("the camera redirects to something that is not http", Word.ASTRAY)
    return scheme, parts.hostname, parts.port or _PORTS[scheme]


def _may_know(home: tuple[str, str, int], place: tuple[str, str, int]) -> bool:
    """Whether the password for `home` may be told there: to itself, also where it encrypts."""
    return place == home or (place[1] == home[1] and place[0] == "https")


def _account(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _target(url: str) -> str:
    """Path and query as they go into the request, without spaces or letters outside ASCII."""
    parts = urlsplit(url)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else path
