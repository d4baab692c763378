"""ConsoleServer: the process of the console: takes messages from the gate and answers browsers.

It runs with a low rank, so that a flood of requests takes little from the gate beside it, and it
ends with its pipe. On its own output it says, a line each: `served ADDRESS`, `alive`,
`pictures NUMBER DEMAND` of a door, `no-history REASON`, `failed REASON`, and `order JSON`: what a
guard ordered, as `gate.guard_order` has it.
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
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

import uvicorn

from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.console.door_history import MOST_S, read_past_days, read_today
from mask_gate.gate.console.door_pages import DoorContext
from mask_gate.gate.console.door_state import DoorState, local_now
from mask_gate.gate.console.feed import PictureDemand
from mask_gate.gate.console.login import Account, Authenticator, Password, Role, hashed
from mask_gate.gate.console.middleware import OWN_NAMES, SiteSettings
from mask_gate.gate.console.orders import Orders
from mask_gate.gate.console.pages import Pages
from mask_gate.gate.console.pictures import LivePictures, ViewerLimit
from mask_gate.gate.console.rate_limit import MOST_CONNECTIONS, limited_http
from mask_gate.gate.console.wire import MessageKind, ServerSettings, messages, unpack_picture
from mask_gate.gate.display.texts import Texts, language_codes, language_folders, load_texts
from mask_gate.gate.errors import GateError, OutputError
from mask_gate.gate.guard_order import Verdict
from mask_gate.gate.system.secret_file import MAX_KEY_BYTES, read_secret

RANK = 19
"""Nice value: a seventieth of a core that one thread of the gate wants too. It counts because the
console is in the gate's session: Linux may share the processor among sessions first."""

ALIVE_S = 2.0

_TCP_USER_TIMEOUT_MS = 20_000


def main() -> int:
    """Serve until the pipe ends."""
    _lower_rank()
    logging.basicConfig(level=logging.CRITICAL)
    pipe, output = sys.stdin.buffer, sys.stdout.buffer
    received = messages(pipe)
    kind, body = next(received, (None, b""))
    if kind is not MessageKind.SETTINGS:
        return 0  # the gate ended before it sent anything
    try:
        server = ConsoleServer(ServerSettings.model_validate_json(body), output)
    except GateError as error:
        _say(output, f"failed {error}")
        return error.exit_code
    threading.Thread(target=server.receive, args=(received,), daemon=True).start()
    server.run()
    return 0


class ConsoleServer:
    """States, pictures and pages of all doors, behind one socket.

    Args:
        settings: what the gate has sent first.
        output: for lines to the gate.

    Raises:
        GateError: what it needs cannot be had: a file, a language, the port.
    """

    def __init__(self, settings: ServerSettings, output: BinaryIO) -> None:
        self._output = output
        self._gate_pid = settings.gate_pid
        config = settings.console
        folders = language_folders(settings.languages)
        codes = (settings.language, *language_codes(*folders))
        languages = {code: load_texts(code, *folders) for code in codes}
        self._contexts = self._make_contexts(settings, languages)
        site = SiteSettings(
            gate=settings.gate,
            languages=languages,
            names=frozenset(name.lower() for name in (*OWN_NAMES, *config.names)),
            encrypted=config.is_encrypted,
        )
        authenticator = _authenticator(config, settings.password)
        self._orders = Orders(config.guard_acts, partial(_say, output))
        _check_tls(config)
        self._socket = _bind(config)
        self._address = _address(config, self._socket.getsockname()[1])
        idle_s, is_known = settings.timeouts.idle_connection_s, authenticator.sessions.knows
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                Pages(
                    site,
                    self._contexts,
                    authenticator,
                    timeouts=settings.timeouts,
                    orders=self._orders if config.guard_may else None,
                ).app(),
                loop="asyncio",
                http=limited_http(config.proxies, idle_s, is_known),
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

    def _make_contexts(
        self, settings: ServerSettings, languages: Mapping[str, Texts]
    ) -> list[DoorContext]:
        limit = ViewerLimit(settings.console.viewers)
        return [
            DoorContext(
                name=name,
                gate=door.gate,
                config=door.config,
                state=DoorState(),
                pictures=LivePictures(
                    languages,
                    settings.privacy,
                    door.aim,
                    limit,
                    partial(self._say_demand, number),
                ),
                zone=door.aim.zone,
            )
            for number, (name, door) in enumerate(settings.doors.items())
        ]

    # --------------------------------------------------------------------- in the reader's thread

    def receive(self, received: Iterator[tuple[MessageKind, bytes]]) -> None:
        """Take in messages until the gate ends."""
        try:
            for kind, body in received:
                self._take(kind, body)
        finally:
            os._exit(0)  # whatever is being sent: nobody is to be shown an old state

    def _take(self, kind: MessageKind, body: bytes) -> None:
        if kind is MessageKind.PICTURE:
            picture = unpack_picture(body)
            self._contexts[picture.door].pictures.take(picture)
            return
        message = json.loads(body)
        if kind is MessageKind.STATUS:
            for context, status in zip(self._contexts, message, strict=True):
                context.state.take_status(status)
        elif kind is MessageKind.EVENT:
            self._contexts[message["door"]].state.take_event(message["event"])
        elif kind is MessageKind.ANSWER:
            self._orders.take_answer(message["id"], Verdict(message["verdict"]))
        elif kind is MessageKind.AUDIT:
            self._read_audit(self._contexts[message["door"]], Path(message["path"]))

    def _read_audit(self, context: DoorContext, path: Path) -> None:
        """Read what was today; an audit that is damaged is for the gate to deal with."""
        most_s = MOST_S / len(self._contexts)
        try:
            for recorded in read_today(path, local_now(), self._gate_pid, most_s=most_s):
                context.state.take_recorded_event(recorded.event, recorded.run)
        except OutputError as error:
            _say(self._output, f"no-history {error}")
            return
        threading.Thread(target=self._read_past_days, args=(context, path), daemon=True).start()

    def _read_past_days(self, context: DoorContext, path: Path) -> None:
        """Read what was before today, beside everything else."""
        try:
            context.state.today.take_past_days(read_past_days(path, local_now().date()))
        except OutputError as error:
            _say(self._output, f"no-history {error}")

    # --------------------------------------------------------------------- in the server's loop

    def run(self) -> None:
        """Answer browsers."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        reporting = asyncio.create_task(self._report())
        await self._uvicorn.serve(sockets=[self._socket])
        reporting.cancel()

    async def _report(self) -> None:
        """Tell the gate that the console is served and alive, and which pictures it needs."""
        while not self._uvicorn.started:
            await asyncio.sleep(0.01)
        _say(self._output, f"served {self._address}")
        while True:
            await asyncio.sleep(ALIVE_S)
            _say(self._output, "alive")
            for context in self._contexts:
                context.pictures.update_demand()

    def _say_demand(self, number: int, demand: PictureDemand) -> None:
        _say(self._output, f"pictures {number} {demand}")


def _lower_rank() -> None:
    """Leave the processor to the gate, but for what keeps the pages alive on a busy machine.

    An idle rank would leave nothing: beside several cameras a machine may have no idle moment.
    """
    with contextlib.suppress(OSError):
        os.nice(RANK)


def _authenticator(config: ConsoleConfig, password: str | None) -> Authenticator:
    files = {
        Account(Role.GUARD): config.password_file,
        Account(Role.VISITOR): config.kiosk_password_file,
        **{Account(Role.GUARD, name): path for name, path in config.guard_password_files.items()},
    }
    passwords = {
        account: Password.read(path) for account, path in files.items() if path is not None
    }
    if password is not None and config.password_file is None:
        passwords[Account(Role.GUARD)] = Password(hashed(password))
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
    """Check that the server will be able to use certificate and key.

    Raises:
        OutputError: it will not, or every user of this machine can read the key.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return
    try:
        read_secret(config.tls_key, MAX_KEY_BYTES)
    except OutputError as error:
        raise OutputError(f"console.tls_key: {error}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:  # with an empty password, a key that has one is refused, and nobody is asked for it
        context.load_cert_chain(config.tls_certificate, config.tls_key, password="")
    except OSError as error:  # of which SSLError is one
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise OutputError(
            f"console.tls_key: {config.tls_key} and {config.tls_certificate} cannot be used "
            f"({why or 'not a key and its certificate'}); give PEM files, the key without password"
        ) from None


def _bind(config: ConsoleConfig) -> socket.socket:
    """A socket at the address; its connections do not outlive a peer that takes nothing.

    Raises:
        OutputError: the address cannot be had.
    """
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


def _say(output: BinaryIO, line: str) -> None:
    with contextlib.suppress(OSError):
        output.write(line.replace("\n", " ").encode() + b"\n")
        output.flush()


if __name__ == "__main__":
    raise SystemExit(main())
