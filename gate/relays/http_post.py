"""HttpPost: POSTs to one address; each ends in time, follows nothing and reads little.

Why this is no library: requests, urllib3 and httpx limit each read, so that a server which sends a
byte now and then holds them for ever. aiohttp limits the whole call, but looks names up in threads
that it cannot end, has no last address to fall back on while the name service is away, and would
bring an event loop and nine packages, some of them compiled, into the small process that locks the
door. Here one end of time holds for everything, on a socket that never blocks, and a call ends when
a lock waits; http.client only writes and reads HTTP on that socket. Proxies of the environment,
redirects, cookies and .netrc do not exist for it.
"""

from __future__ import annotations

import http.client
import io
import os
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlsplit

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.threads import DoorThread

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

MAX_ANSWER = 65536
"""So many bytes of an answer are read, with its headers."""

_HEAD_END = re.compile(rb"\n\r?\n")
_POLL_S = 0.02
_PORTS = {"http": 80, "https": 443}
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~-._"

Address = tuple[int, Any]
"""Family and socket address."""

Lookup = Callable[..., list[Any]]
Cancelled = Callable[[], bool]
Compose = Callable[[], tuple[Mapping[str, str], bytes]]
"""Gives headers and body, at the moment when they can be sent."""


class HttpPost:
    """POSTs to one address.

    A name that cannot be looked up in time keeps the addresses it had, so that a lock gets through
    while the name service is away; a certificate is checked against the name all the same.

    Args:
        url: http or https.
        ca_file: certificates to trust instead of those of this machine.
        limit_s: for a whole POST, from the look-up of the name to the last byte of the answer.
        clock: seconds of CLOCK_MONOTONIC.
        lookup: socket.getaddrinfo, or what takes its place.

    Attributes:
        host: and its port, where that is not the usual one.

    Raises:
        OutputError: the address makes no sense, or the certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        ca_file: str | None,
        limit_s: float,
        clock: Clock,
        lookup: Lookup = socket.getaddrinfo,
    ) -> None:
        try:
            parts = urlsplit(url)
            self._name = parts.hostname or ""
            self._port = parts.port or _PORTS[parts.scheme]
            if not self._name.encode("idna"):
                raise ValueError
        except (LookupError, ValueError):
            raise OutputError(f"url: expected https://host/path, got {url!r:.80}") from None
        usual = self._port == _PORTS[parts.scheme]
        self.host = self._name if usual else f"{self._name}:{self._port}"
        query = f"?{quote(parts.query, _PATH_CHARACTERS + '?')}" if parts.query else ""
        self._target = f"{quote(parts.path, _PATH_CHARACTERS) or '/'}{query}"
        self._tls = _tls(ca_file) if parts.scheme == "https" else None
        self._limit_s = limit_s
        self._clock = clock
        self._addresses = _Addresses(self._name, self._port, lookup)

    def send(self, compose: Compose, cancelled: Cancelled) -> int:
        """POST; returns the status once the answer is here whole.

        Args:
            compose: called once, when the connection stands.
            cancelled: ends the call when it turns True.

        Raises:
            OutputError: there was no whole answer; what was sent may have been heard.
        """
        limit = _Limit(self._clock, self._limit_s, cancelled)
        try:
            line = self._connect(limit)
            try:
                return self._ask(line, compose)
            finally:
                line.disconnect()
        except OutputError:
            raise
        except TimeoutError:
            raise OutputError(f"gave no whole answer in {self._limit_s:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise OutputError(
                f"its certificate is not trusted ({error.verify_message}); check ca_file and url"
            ) from None
        except (http.client.HTTPException, ValueError):
            raise OutputError("its answer is not whole, or no HTTP") from None
        except OSError as error:
            raise OutputError(f"cannot be reached ({error.strerror or error})") from None

    def _connect(self, limit: _Limit) -> _Line:
        addresses = self._addresses.find(limit)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return _Line(address, limit.part(left), limit, self._tls, self._name)
            except (TimeoutError, OSError) as error:
                if left == 1 or isinstance(error, ssl.SSLError):
                    raise
        raise OSError("the name has no address")

    def _ask(self, line: _Line, compose: Compose) -> int:
        connection = http.client.HTTPConnection(self._name, self._port)
        connection.sock = cast(Any, line)
        headers, body = compose()
        connection.request("POST", self._target, body, {**headers, "Connection": "close"})
        with connection.getresponse() as answer:
            answer.read()
        if not _HEAD_END.search(line.came):  # http.client takes the end for an empty line
            raise http.client.IncompleteRead(b"")
        return answer.status


class _Limit:
    """The end of the time that one call has."""

    def __init__(self, clock: Clock, limit_s: float, cancelled: Cancelled) -> None:
        self._clock = clock
        self._end_s = clock() + limit_s
        self._cancelled = cancelled

    def pause_s(self) -> float:
        """How long to wait before looking again.

        Raises:
            TimeoutError: there is no time left.
        """
        left_s = self._end_s - self._clock()
        if left_s <= 0.0 or self._cancelled():
            raise TimeoutError
        return min(left_s, _POLL_S)

    def part(self, parts: int) -> _Limit:
        """The end of the next of so many equal parts of what is left."""
        left_s = max(0.0, self._end_s - self._clock())
        return _Limit(self._clock, left_s / parts, self._cancelled)


class _Addresses:
    """The addresses of a name; one look-up at a time, for which nobody waits longer than he may."""

    def __init__(self, name: str, port: int, lookup: Lookup) -> None:
        self._name = name
        self._port = port
        self._lookup = lookup
        self._known: list[Address] = []
        self._error: OSError | None = None
        self._running: threading.Thread | None = None

    def find(self, limit: _Limit) -> list[Address]:
        """Addresses of the name; those of the last time when they cannot be had now.

        Raises:
            OSError: there are none.
        """
        if self._running is None or not self._running.is_alive():
            self._running = DoorThread(target=self._look_up, name="look-up")
            self._running.start()
        patience = limit.part(2) if self._known else limit
        try:
            while self._running.is_alive():
                self._running.join(patience.pause_s())
        except TimeoutError:
            limit.pause_s()
        if not self._known:
            raise self._error or OSError("its name is not known")
        return self._known

    def _look_up(self) -> None:
        self._error = None
        try:
            found = self._lookup(self._name, self._port, type=socket.SOCK_STREAM)
            self._known = [(family, address) for family, _, _, _, address in found] or self._known
        except (OSError, ValueError) as error:
            self._error = OSError(f"look-up of its name: {getattr(error, 'strerror', error)}")


class _Line:
    """A connection whose every wait ends with the limit; as much of a socket as http.client needs.

    Attributes:
        came: all that was received.

    Raises:
        TimeoutError, OSError: it does not come about.
    """

    def __init__(
        self,
        address: Address,
        connecting: _Limit,
        limit: _Limit,
        tls: ssl.SSLContext | None,
        name: str,
    ) -> None:
        self._limit = connecting
        self.came = bytearray()
        self._socket = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect_ex(address[1])
            self._await(select.POLLOUT)
            if number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number))
            if tls is not None:
                self._socket = tls.wrap_socket(
                    self._socket, server_hostname=name, do_handshake_on_connect=False
                )
                self._patiently(self._socket.do_handshake, select.POLLIN)
        except BaseException:
            self._socket.close()
            raise
        self._limit = limit

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._patiently(partial(self._socket.send, rest), select.POLLOUT) :]

    def receive(self, size: int) -> bytes:
        """Some bytes, at most `size`; none at the end."""
        part = min(size, MAX_ANSWER + 1 - len(self.came))
        data = self._patiently(partial(self._socket.recv, part), select.POLLIN)
        self.came += data
        if len(self.came) > MAX_ANSWER:
            raise OutputError(f"its answer is longer than {MAX_ANSWER} bytes")
        return data

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client reads answers from."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """http.client means to be done before the answer is read; see `disconnect`."""

    def disconnect(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _patiently(self, call: Callable[[], T], events: int) -> T:
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                self._await(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._await(select.POLLOUT)
            except BlockingIOError:
                self._await(events)

    def _await(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._socket, events)
        while not poll.poll(self._limit.pause_s() * 1000.0):
            pass


class _Reader(io.RawIOBase):
    """A line as a file."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the beginning of `buffer`."""
        view = memoryview(buffer)
        data = self._line.receive(len(view))
        view[: len(data)] = data
        return len(data)


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"ca_file {ca_file}: cannot be read as certificates ({why})") from None
