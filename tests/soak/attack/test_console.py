"""Whoever wants in at the console, or wants it to hold up the door: logins, handshakes, floods."""

import contextlib
import http.client
import itertools
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from mask_gate.gate.console.door_pages import DoorContext
from mask_gate.gate.console.door_state import DoorState
from mask_gate.gate.console.login import (
    TRIES,
    TRIES_OF_ALL,
    TRIES_S,
    Account,
    Authenticator,
    Password,
    Role,
    hashed,
    write_password,
)
from mask_gate.gate.console.middleware import SiteSettings
from mask_gate.gate.console.pages import Pages
from mask_gate.gate.console.pictures import LivePictures, ViewerLimit
from mask_gate.gate.console.rate_limit import RateLimiter
from mask_gate.gate.display.aim import AimLimits
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.texts import load_texts

pytest.importorskip("uvicorn", reason="needs the console extra: pip install -e '.[console]'")
pytestmark = pytest.mark.soak

HOME = "http://localhost:8321"
PATIENCE_S = 300.0
GUARD, VISITOR = "guard's long password", "visitor's long password"


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def pages():
    clock = Clock()
    languages = {"en": load_texts("en")}
    zone = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    aim = AimLimits(zone=zone, min_face=0.10, near_face=0.07, min_sharpness=5.0)
    nobody_looks = ViewerLimit(0)
    pictures = LivePictures(
        languages, PrivacyConfig(), aim, nobody_looks, lambda demand: None, clock
    )
    context = DoorContext("", "lobby", {}, DoorState(clock), pictures, zone)
    passwords = {
        Account(Role.GUARD): Password(hashed(GUARD)),
        Account(Role.VISITOR): Password(hashed(VISITOR)),
    }
    authenticator = Authenticator(passwords, None, 10 * 86400.0, clock)
    site = SiteSettings("lobby", languages, frozenset({"localhost"}), encrypted=False)
    limiter = RateLimiter(clock, refusal_delay_s=0.0)
    return Pages(site, [context], authenticator, limiter).app(), clock


def log_in(app, password, address):
    client = TestClient(app, HOME, client=(address, 1), follow_redirects=False)
    return client.post("/login", data={"password": password}, headers={"origin": HOME})


def test_visitors_logins_give_no_guess_and_take_no_session(pages, times, attacked, seed):
    """An attacker with some addresses and the visitor's password, for hours."""
    app, clock = pages
    rng, count = random.Random(seed), times(300)
    cookies = dict(log_in(app, GUARD, "10.0.0.1").cookies)
    guesses, wrong, evicted = [], [], []
    for number in range(count):
        clock.now_s += rng.choice((0.1, 1.0, 30.0))
        address = f"10.9.0.{rng.randrange(20)}"
        if rng.random() < 0.3:
            log_in(app, VISITOR, address)
        elif log_in(app, f"wrong guess {number}", address).status_code == 401:
            guesses.append((clock.now_s, address))
        recent = [one for one in guesses if clock.now_s - one[0] < TRIES_S]
        own = sum(whose == address for _, whose in recent)
        if len(recent) > TRIES_OF_ALL or own > TRIES:
            wrong.append(f"{seed} {number}: {len(recent)} guesses in {TRIES_S:g} s, {own} of one")
        if number % 20 == 0:
            guard = TestClient(
                app, HOME, client=("10.0.0.1", 1), cookies=cookies, follow_redirects=False
            )
            if guard.get("/").status_code != 200:
                evicted.append(f"{seed} {number}")
    attacked(
        f"logins with the visitor's password between {len(guesses)} wrong ones: guesses beyond "
        "what is allowed, guards logged out",
        count,
        openings=wrong,
        missing=evicted,
    )


# ------------------------------------------------------------------------------ while a door opens


class Attacker:
    """Many threads that do one thing to a port, each from an address of its own."""

    def __init__(self, what, port, threads):
        self._over = threading.Event()
        self.tries = 0
        self._threads = [
            threading.Thread(target=self._work, args=(what, port, number), daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, what, port, number):
        address = f"127.0.{1 + number % 4}.{1 + number // 4}"
        for turn in itertools.count():
            if self._over.is_set():
                return
            with contextlib.suppress(OSError, http.client.HTTPException):
                what(connected(port, address), turn)
            self.tries += 1

    def close(self):
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)


def connected(port, address):
    return socket.create_connection(("127.0.0.1", port), 3.0, (address, 0))


def handshakes(connection, turn):
    """Whole ones, half ones, and rubbish in their place."""
    with connection:
        if turn % 3 == 0:
            context = ssl._create_unverified_context()
            with context.wrap_socket(connection, server_hostname="gate.example.org") as secure:
                secure.sendall(b"GET /login HTTP/1.1\r\nHost: gate.example.org\r\n\r\n")
                secure.recv(100)
        elif turn % 3 == 1:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 20)
            time.sleep(0.5)
        else:
            connection.sendall(random.randbytes(200))


def requests(connection, turn):
    """Pages, pictures, passwords, and requests that never end."""
    asked = ("GET /login", "GET /live.mjpg", "GET /static/style.css", "POST /login", "GET /healthz")
    with connection:
        if turn % 6 == 5:
            connection.sendall(b"GET /login HTT")
            time.sleep(0.5)
            return
        head = f"{asked[turn % 5]} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())
        connection.recv(1000)


class Guard:
    """Somebody who is logged in, and asks for the state of the door all the time."""

    def __init__(self, port, certificate):
        self._port, self._certificate = port, certificate
        self._over = threading.Event()
        answer = self._ask("POST", "/login", urlencode({"password": GUARD}))
        assert answer.status == 303, answer.status
        self._cookie = answer.getheader("set-cookie").partition(";")[0]
        self.answered, self.worst_s, self.refused = 0, 0.0, 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _ask(self, how, path, body=None, **headers):
        name = "127.0.0.1" if self._certificate is None else "gate.example.org"
        scheme = "http" if self._certificate is None else "https"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20.0)
        connection.sock = connected(self._port, "127.0.0.9")
        if self._certificate is not None:
            context = ssl.create_default_context(cafile=self._certificate)
            connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        told = {
            "Host": f"{name}:{self._port}",
            "Origin": f"{scheme}://{name}:{self._port}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Connection": "close",
            **headers,
        }
        with contextlib.closing(connection):
            connection.request(how, path, body, told)
            answer = connection.getresponse()
            answer.read()
            return answer

    def _look(self):
        while not self._over.wait(0.3):
            began_s = time.monotonic()
            try:
                answered = self._ask("GET", "/api/state", Cookie=self._cookie).status == 200
            except (OSError, http.client.HTTPException):
                answered = False
            self.answered += answered
            self.refused += not answered
            self.worst_s = max(self.worst_s, time.monotonic() - began_s)

    def close(self):
        self._over.set()
        self._thread.join(30.0)


def certificate_in(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=gate.example.org",
         "-addext", "subjectAltName=DNS:gate.example.org",
         "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "tls.crt"


ATTACKS = {"handshakes": (handshakes, True, 24), "requests": (requests, False, 100)}
FULL_S = 60.0


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_flood_holds_up_neither_door_nor_guard(
    kind, gate_bench, mqtt_bench, camera, tmp_path, share, attacked, seed
):
    what, encrypted, threads = ATTACKS[kind]
    if encrypted and shutil.which("openssl") is None:
        pytest.skip("apt-get install openssl to make a certificate")
    port = mqtt_bench.free_port()
    write_password(tmp_path / "guard", GUARD)
    config = f"console: {{enabled: true, port: {port}, password_file: {tmp_path}/guard"
    certificate = certificate_in(tmp_path) if encrypted else None
    if encrypted:
        config += (
            f", host: 0.0.0.0, names: [gate.example.org], tls_certificate: {certificate}, "
            f"tls_key: {tmp_path}/tls.key"
        )
    config += "}\n"
    missing = []
    with gate_bench.Gate(tmp_path, camera.url, config=config) as gate:
        gate.wait_for_opening(PATIENCE_S)
        gate_bench.wait_until(lambda: "console: http" in gate.said, PATIENCE_S)
        guard = Guard(port, certificate)
        attacker = Attacker(what, port, threads)
        until_s = time.monotonic() + max(10.0, FULL_S * share)
        while time.monotonic() < until_s:
            gate.meets_a_bare_face(camera, PATIENCE_S)
        attacker.close()
        guard.close()
        if gate.end() != 0 or gate.edges[-1][1] != "locked":
            missing.append(seed)
        gate.check()
        wrong = gate.wrong_openings
    if not guard.answered:
        missing.append(f"{seed}: no guard was answered")
    attacked(
        f"{kind} from {threads} addresses at the console, a guard answered {guard.answered} times "
        f"and refused {guard.refused} times, in {guard.worst_s:.1f} s at most",
        attacker.tries,
        openings=[seed] * wrong,
        missing=missing,
    )
