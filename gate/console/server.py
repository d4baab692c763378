"""The console's process: hears from the gate through a pipe, and answers browsers.

It runs with low rank, so that a flood of requests takes little from the gate beside it, and it ends
with its pipe. What it says on its own output are words: `at ADDRESS`, `looks NUMBER HOW` of a door,
`alive`, `forgets REASON`, `cannot REASON`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import uvicorn

from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.console.door_history import MOST_S, read_today
from mask_gate.gate.console.door_pages import DoorContext
from mask_gate.gate.console.door_state import DoorState, local_now
from mask_gate.gate.console.feed import Look
from mask_gate.gate.console.login import Authenticator, Password, Role, hashed
from mask_gate.gate.console.middleware import OWN_NAMES, Site
from mask_gate.gate.console.pages import Pages
from mask_gate.gate.console.pictures import Pictures, Room
from mask_gate.gate.console.protocol import MOST_CONNECTIONS, http_for
from mask_gate.gate.console.rank import SessionRank
from mask_gate.gate.console.rate_limit import RequestLimit
from mask_gate.gate.console.wire import Kind, messages, unpack_picture
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.texts import language_codes, load_texts
from mask_gate.gate.errors import GateError, OutputError
from mask_gate.gate.system.secret_file import read_secret

RANK = 15
"""Of its processor time (nice): a thirtieth of a core that the gate wants for itself, where the two
share it as processes; where they do as sessions, see `gate.console.rank`."""

SHARE = 0.2
"""Of a core that nobody wants, and no more: what floods the console has to wait."""

ALIVE_S = 2.0

_BREATH_S = 0.05
_LONGEST_PAUSE_S = 2.0

_TCP_USER_TIMEOUT_MS = 20_000


def main() -> int:
    """Serve until the pipe ends."""
    _step_back()
    logging.basicConfig(level=logging.CRITICAL)
    pipe, said = sys.stdin.buffer, sys.stdout.buffer
    heard = messages(pipe)
    kind, body = next(heard, (None, b""))
    if kind is not Kind.HELLO:
        return 0  # the gate ended before it said a word
    try:
        server = _Server(json.loads(body), said)
    except GateError as error:
        _say(said, f"cannot {error}")
        return error.exit_code
    threading.Thread(target=server.hear, args=(heard,), daemon=True).start()
    server.run()
    return 0


class _Server:
    """Boards, pictures and pages around one socket."""

    def __init__(self, told: Mapping[str, object], said: BinaryIO) -> None:
        config = ConsoleConfig.model_validate_json(json.dumps(told["console"]))
        self._said = said
        self._process = int(str(told["process"]))
        languages = {code: load_texts(code) for code in (str(told["language"]), *language_codes())}
        words = next(iter(languages.values()))
        privacy = PrivacyConfig.model_validate(told["privacy"])
        room, doors = Room(config.viewers), cast("dict[str, dict[str, object]]", told["doors"])
        self._contexts = [
            DoorContext(
                name=name,
                gate=str(door["gate"]),
                config=cast("dict[str, object]", door["shown"]),
                state=DoorState(),
                pictures=Pictures(words, privacy, room, partial(self._looks, number)),
            )
            for number, (name, door) in enumerate(doors.items())
        ]
        site = Site(
            gate=str(told["gate"]),
            languages=languages,
            names=frozenset(name.lower() for name in (*OWN_NAMES, *config.names)),
            encrypted=config.is_encrypted,
        )
        password = told["password"]
        authenticator = _authenticator(config, None if password is None else str(password))
        _check_tls(config)
        self._socket = _bound(config)
        self._rank = SessionRank()
        limit = RequestLimit(on_refusal=self._rank.step_back)
        app = Pages(site, self._contexts, authenticator, limit).app()
        port = self._socket.getsockname()[1]
        self._address = _address(config, port)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=http_for(config.proxies, self._rank.step_back),
                backlog=MOST_CONNECTIONS,  # the kernel turns the rest away, at no cost to us
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=5,
                proxy_headers=bool(config.proxies),
                forwarded_allow_ips=list(config.proxies),
                ssl_certfile=config.tls_certificate,
                ssl_keyfile=config.tls_key,
            )
        )

    def hear(self, heard: Iterator[tuple[Kind, bytes]]) -> None:
        """Take in messages until the gate ends."""
        try:
            for kind, body in heard:
                self._take(kind, body)
        finally:
            os._exit(0)  # whatever is being sent, nobody is to be told an old state

    def _take(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.PICTURE:
            shot = unpack_picture(body)
            self._contexts[shot.door].pictures.take(shot)
            return
        said = json.loads(body)
        if kind is Kind.STATUS:
            for context, status in zip(self._contexts, said, strict=True):
                context.state.hear(status)
        elif kind is Kind.EVENT:
            self._contexts[said["door"]].state.take(said["event"])
        elif kind is Kind.RECORD:
            self._recall(self._contexts[said["door"]], Path(said["path"]))

    def _recall(self, context: DoorContext, record: Path) -> None:
        """Read an audit, if it can be read; a damaged one is the gate's to deal with."""
        most_s = MOST_S / len(self._contexts)
        try:
            for past in read_today(record, local_now(), self._process, most_s=most_s):
                context.state.recall(past.event, past.run)
        except OutputError as error:
            _say(self._said, f"forgets {error}")

    def run(self) -> None:
        """Answer."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        tasks = [asyncio.create_task(self._live()), asyncio.create_task(breathe(self._rank))]
        await self._uvicorn.serve(sockets=[self._socket])
        for task in tasks:
            task.cancel()

    async def _live(self) -> None:
        while not self._uvicorn.started:
            await asyncio.sleep(0.01)
        _say(self._said, f"at {self._address}")
        while True:
            await asyncio.sleep(ALIVE_S)
            _say(self._said, "alive")
            for context in self._contexts:
                context.pictures.tell_look()

    def _looks(self, number: int, look: Look) -> None:
        _say(self._said, f"looks {number} {look}")


async def breathe(rank: SessionRank) -> None:
    """Hold up everything here, as long as it takes to stay within our share of a core."""
    while True:
        used_s, began_s = time.process_time(), time.monotonic()
        await asyncio.sleep(_BREATH_S)
        used_s = time.process_time() - used_s
        due_s = used_s / SHARE - (time.monotonic() - began_s)
        if due_s > 0:
            time.sleep(min(due_s, _LONGEST_PAUSE_S))
        rank.used(used_s, time.monotonic() - began_s)


def _step_back() -> None:
    """Leave the processor to the gate, but for what keeps the pages alive on a busy machine.

    An idle rank would leave nothing: beside several cameras a machine may have no idle moment.
    """
    with contextlib.suppress(OSError):
        os.nice(RANK)


def _authenticator(config: ConsoleConfig, password: str | None) -> Authenticator:
    passwords = {}
    if config.password_file is not None:
        passwords[Role.GUARD] = Password.read(config.password_file)
    elif password is not None:
        passwords[Role.GUARD] = Password(hashed(password))
    if config.kiosk_password_file is not None:
        passwords[Role.VISITOR] = Password.read(config.kiosk_password_file)
    token_file = config.metrics_token_file
    token = None if token_file is None else read_secret(token_file)
    return Authenticator(passwords, token, 3600 * config.session_h)


def _address(config: ConsoleConfig, port: int) -> str:
    """What to write into a browser; with TLS, the name that the certificate has."""
    if config.tls_certificate and config.names:
        return f"https://{config.names[0]}:{port}/"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'https' if config.tls_certificate else 'http'}://{host}:{port}/"


def _check_tls(config: ConsoleConfig) -> None:
    """See that the server will be able to use certificate and key.

    Raises:
        OutputError: it will not.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:  # a key behind a password is refused, not asked for
        context.load_cert_chain(config.tls_certificate, config.tls_key, password="")
    except OSError as error:  # of which SSLError is one
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise OutputError(
            f"console.tls_key: {config.tls_key} and {config.tls_certificate} cannot be used "
            f"({why or 'not a key and its certificate'}); give PEM files, the key without password"
        ) from None


def _bound(config: ConsoleConfig) -> socket.socket:
    """A socket at the address; its connections do not outlive a peer that takes nothing."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)
        bound.bind((config.host, config.port))
    except OSError as error:
        bound.close()
        raise OutputError(
            f"console.port: {config.host}:{config.port} cannot be had ({error.strerror}); "
            "choose another"
        ) from None
    return bound


def _say(said: BinaryIO, words: str) -> None:
    with contextlib.suppress(OSError):
        said.write(words.replace("\n", " ").encode() + b"\n")
        said.flush()


if __name__ == "__main__":
    raise SystemExit(main())
