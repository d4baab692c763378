"""A lock controller behind real sockets: what it is told, and every way in which it can fail."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.http_post import MAX_ANSWER, HttpPost
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.webhook import WebhookRelay

pytestmark = pytest.mark.process

PATIENCE_S = 60.0
LIMIT_S = 30.0
SHORT_S = 0.3
KEY = b"correct horse battery staple"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
DENY = Order(unlocks=False, id="d", reason="no_mask", event_json='{"reason": "no_mask"}')


def allow(hold_s=60.0, **more):
    until_s = uptime_s() + hold_s
    return Order(unlocks=True, id="a", reason="compliant", until_s=until_s, hold_s=hold_s, **more)


def go_on():
    return False


class Receiver:
    """A server that does with each connection what `behave(connection, request)` says.

    The first request, which is the lock of a relay that starts, it answers well.

    Attributes:
        starting: the first request, as (head, headers, body).
        requests: those that came after it.
        accepted: how many connections came.
    """

    def __init__(self, behave, context=None, family=socket.AF_INET):
        self._behave = behave
        self.starting = None
        self._context = context
        self.requests = []
        self.accepted = 0
        self._open = []
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listener = socket.create_server((host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}/door/1?a=b"

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError, ValueError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                request = read_request(connection)
                if self.starting is None:
                    self.starting = request
                    connection.sendall(OK)
                else:
                    self.requests.append(request)
                    self._behave(connection, request)


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("hung up")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return first, headers, body


def answering(data):
    return lambda connection, request: connection.sendall(data)


@pytest.fixture
def serve():
    made = []

    def make(behave=OK, **how):
        made.append(Receiver(answering(behave) if isinstance(behave, bytes) else behave, **how))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o640)
    return path


def relay_to(receiver, **settings):
    return WebhookRelay(receiver.url, **{"limit_s": LIMIT_S} | settings)


def sign(key, headers, body):
    """The reference: Standard Webhooks, symmetric."""
    signed = b".".join(
        (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
    )
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class TestWhatIsTold:
    def test_the_receiver_is_locked_from_the_start(self, serve):
        receiver = serve()
        relay_to(receiver)
        told = json.loads(receiver.starting[2])
        assert (told["action"], told["reason"], told["sequence"]) == ("lock", "starting", 1)

    def test_an_opening_says_for_how_long_and_a_lock_says_zero(self, serve, key_file):
        receiver = serve()
        relay = relay_to(receiver, secret_file=str(key_file))
        relay.unlock(allow(hold_s=3.0, event_json='{"reason": "compliant", "score": 1}'), go_on)
        relay.lock(DENY, go_on)
        (first, headers, body), (_, _, lock_body) = receiver.requests
        assert first == "POST /door/1?a=b HTTP/1.1"
        assert headers["content-type"] == "application/json"
        assert headers["host"] == f"127.0.0.1:{receiver.port}"
        told, lock = json.loads(body), json.loads(lock_body)
        assert 0.0 < told.pop("hold_s") <= 3.0
        session = told.pop("session")
        assert told == {
            "action": "unlock",
            "sequence": 2,
            "id": "a",
            "reason": "compliant",
            "event": {"reason": "compliant", "score": 1},
        }
        assert lock == {
            "action": "lock",
            "hold_s": 0.0,
            "session": session,
            "sequence": 3,
            "id": "d",
            "reason": "no_mask",
            "event": {"reason": "no_mask"},
        }

    def test_each_call_is_signed_over_its_id_its_time_and_its_body(self, serve, key_file):
        receiver = serve()
        relay = relay_to(receiver, secret_file=str(key_file), wall_clock=lambda: 1_790_000_000.9)
        assert receiver.starting[1]["webhook-signature"] == sign(KEY, *receiver.starting[1:])
        for _ in range(3):
            relay.lock(DENY, go_on)
        for index, (_, headers, body) in enumerate(receiver.requests, start=2):
            assert headers["webhook-signature"] == sign(KEY, headers, body)
            assert headers["webhook-timestamp"] == "1790000000"
            session = json.loads(body)["session"]
            assert headers["webhook-id"] == f"{session}-{index}"
        assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 3

    @pytest.mark.parametrize(
        ("language", "command"), [("python", sys.executable), ("javascript", "node"), ("sh", "sh")]
    )
    def test_a_call_is_verified_by_the_code_of_the_manual(
        self, serve, key_file, tmp_path, repo_root, language, command
    ):
        if shutil.which(command) is None or shutil.which("openssl") is None:
            pytest.skip(f"needs {command} and openssl")
        manual = (repo_root / "docs/events.md").read_text(encoding="utf-8")
        code = tmp_path / f"verify.{language}"
        code.write_text(manual.split(f"```{language}\n")[1].split("```")[0])
        if language == "javascript":
            code = code.rename(code.with_suffix(".js"))
        receiver = serve()
        relay_to(receiver, secret_file=str(key_file)).lock(DENY, go_on)
        _, headers, body = receiver.requests[0]
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        said, body_file = [headers[name] for name in names], tmp_path / "body"

        def is_genuine(body):
            body_file.write_bytes(body)
            words = [command, str(code), *said, str(key_file), str(body_file)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
            assert done.stderr == ""
            return done.returncode == 0

        assert is_genuine(body)
        assert not is_genuine(body.replace(b"lock", b"open"))

    def test_another_key_another_body_or_another_time_has_another_signature(self, serve, key_file):
        receiver = serve()
        relay_to(receiver, secret_file=str(key_file)).lock(DENY, go_on)
        _, headers, body = receiver.requests[0]
        said = headers["webhook-signature"]
        assert sign(KEY + b"x", headers, body) != said
        assert sign(KEY, headers, body.replace(b'"lock"', b'"unlock"')) != said
        assert sign(KEY, headers | {"webhook-timestamp": "1"}, body) != said
        assert sign(KEY, headers | {"webhook-id": "1"}, body) != said

    def test_two_gates_never_have_one_session(self, serve):
        receiver = serve()
        for _ in range(2):
            relay_to(receiver)
        told = (receiver.starting, *receiver.requests)
        first, second = (json.loads(body)["session"] for _, _, body in told)
        assert first != second
        assert len(first) == 32

    def test_without_a_key_nothing_is_signed(self, serve):
        receiver = serve()
        relay_to(receiver).lock(DENY, go_on)
        assert "webhook-signature" not in receiver.requests[0][1]

    def test_the_name_tells_no_secret_of_the_address(self, serve):
        receiver = serve()
        relay = WebhookRelay(f"http://localhost:{receiver.port}/s3cret?token=s3cret")
        assert relay.name == f"webhook localhost:{receiver.port}"
        post = HttpPost("https://door.example/s3cret", None, LIMIT_S, time.monotonic)
        assert post.host == "door.example"

    def test_no_event_is_too_strange_to_lock(self, serve):
        receiver = serve()
        relay = relay_to(receiver)
        for event_json in ("", "{", "[NaN]", '{"마스크": "\\ud800"}', "null"):
            relay.lock(Order(unlocks=False, id="d", reason="x", event_json=event_json), go_on)
        for _, _, body in receiver.requests:
            assert json.loads(body, parse_constant=pytest.fail)["action"] == "lock"

    def test_what_is_left_of_the_opening_counts_from_when_it_is_sent(self, serve):
        receiver = serve()
        now_s = [1000.0]

        def slow_lookup(*args, **options):
            now_s[0] += 2.0
            return socket.getaddrinfo(*args, **options)

        relay = relay_to(receiver, clock=lambda: now_s[0], lookup=slow_lookup)
        until_s = now_s[0] + 3.0
        relay.unlock(Order(unlocks=True, id="a", reason="x", until_s=until_s, hold_s=3.0), go_on)
        assert json.loads(receiver.requests[0][2])["hold_s"] == 1.0

    def test_an_opening_that_is_over_before_it_can_be_sent_is_not_sent(self, serve):
        receiver = serve()
        relay = relay_to(receiver)
        with pytest.raises(OutputError, match="so long to reach that the opening was over"):
            relay.unlock(allow(hold_s=-0.001), go_on)
        assert receiver.requests == []


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_every_2xx_is_a_success(self, serve, status):
        relay = relay_to(serve(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
        relay.unlock(allow(), go_on)
        relay.lock(DENY, go_on)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 60000 + 60000 * b"x",
        ],
        ids=["length", "chunked", "until-the-end", "continue", "sixty-thousand"],
    )
    def test_a_whole_answer_may_have_any_form(self, serve, answer):
        relay_to(serve(answer)).lock(DENY, go_on)

    @pytest.mark.parametrize("status", [100 + 3, 400, 401, 404, 429, 500, 503, 999])
    def test_any_other_status_is_an_error(self, serve, status):
        receiver = serve(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        relay = relay_to(receiver)
        for change, order in ((relay.unlock, allow()), (relay.lock, DENY)):
            with pytest.raises(OutputError, match=f"^webhook 127.* refused with status {status}$"):
                change(order, go_on)
        assert len(receiver.requests) == 2  # nothing is repeated here

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, serve, status):
        elsewhere = serve()
        where = elsewhere.url.encode()
        receiver = serve(
            b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, where)
        )
        with pytest.raises(OutputError, match=f"answered {status}, .*redirects are not followed"):
            relay_to(receiver).unlock(allow(), go_on)
        assert elsewhere.accepted == 0
        receiver.starting = "over"
        with pytest.raises(OutputError, match="redirects are not followed"):
            relay_to(receiver)

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"\r\n",
            b"200\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            bytes(range(256)),
        ],
        ids=lambda answer: repr(answer[:30]),
    )
    def test_an_answer_that_is_not_whole_or_no_http_is_an_error(self, serve, answer):
        with pytest.raises(OutputError) as said:
            relay_to(serve(answer)).lock(DENY, go_on)
        assert "\n" not in str(said.value)

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: ",
            b"",
        ],
        ids=["length", "chunked", "endless", "endless-header", "endless-line"],
    )
    def test_a_huge_answer_is_dropped_after_64_kb(self, serve, head):
        sent = []

        def flood(connection, request):
            connection.sendall(head)
            while True:
                sent.append(connection.send(8192 * b"x"))

        with pytest.raises(OutputError, match=r"longer than 65536 bytes|not whole, or no HTTP"):
            relay_to(serve(flood)).lock(DENY, go_on)

    def test_no_more_than_64_kb_are_read(self, serve, monkeypatch):
        read = []
        plain = socket.socket.recv

        def counted(self, size, *flags):
            data = plain(self, size, *flags)
            if threading.current_thread() is threading.main_thread():
                read.append(len(data))
            return data

        monkeypatch.setattr(socket.socket, "recv", counted)
        many = b"".join(b"X-%d: %s\r\n" % (n, 4000 * b"x") for n in range(90))
        for answer in (
            b"HTTP/1.1 200 OK\r\n" + many + b"\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + 900_000 * b"x",
            3000 * b"HTTP/1.1 100 Continue\r\n\r\n",
        ):
            relay = relay_to(serve(answer))
            read.clear()
            with pytest.raises(OutputError, match="longer than 65536 bytes"):
                relay.lock(DENY, go_on)
            assert sum(read) == MAX_ANSWER + 1


def silent(connection, request):
    connection.settimeout(PATIENCE_S)
    connection.recv(1)  # until the other side has enough


def dribbling(data):
    def behave(connection, request):
        for byte in data * 1000:
            connection.sendall(bytes((byte,)))
            time.sleep(0.02)

    return behave


class TestTime:
    """N4: whatever the receiver does, a call ends in its time."""

    @contextlib.contextmanager
    def ending_in_time(self):
        began_s = time.monotonic()
        with pytest.raises(OutputError, match=r"^webhook .*gave no whole answer in 0\.3 s$"):
            yield
        assert time.monotonic() - began_s < PATIENCE_S / 2

    @pytest.mark.parametrize(
        "behave",
        [
            silent,
            dribbling(b"HTTP/1.1 200 OK"),
            dribbling(b"HTTP/1.1 200 OK\r\nX: y"),
            dribbling(b"HTTP/1.1 100 Continue\r\n\r\n"),
            lambda connection, request: (
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
                dribbling(b"x")(connection, request),
            ),
        ],
        ids=["silent", "loris-status", "loris-header", "loris-continue", "loris-body"],
    )
    def test_a_slow_answer_is_given_up(self, serve, behave):
        receiver = serve(behave)
        relay = relay_to(receiver)
        relay._post._limit_s = SHORT_S
        with self.ending_in_time():
            relay.lock(DENY, go_on)
        with self.ending_in_time():
            relay_to(receiver, limit_s=SHORT_S)

    def test_a_receiver_that_reads_nothing_is_given_up(self, serve):
        over = threading.Event()

        class SoonDeaf(Receiver):
            def _serve(self, connection):
                if self.starting is None:
                    super()._serve(connection)
                else:
                    over.wait(PATIENCE_S)

        receiver = SoonDeaf(silent)
        relay = relay_to(receiver)
        relay._post._limit_s = SHORT_S
        huge = Order(
            unlocks=False, id="d", reason="x", event_json=json.dumps({"x": 20_000_000 * "x"})
        )
        with self.ending_in_time():
            relay.lock(huge, go_on)
        over.set()
        receiver.close()

    def test_a_machine_that_does_not_take_the_call_is_given_up(self):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            waiting = []
            for _ in range(3):  # fill its queue
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(full.getsockname())
            port = full.getsockname()[1]
            with self.ending_in_time():
                WebhookRelay(f"http://127.0.0.1:{port}/", limit_s=SHORT_S)
            for one in waiting:
                one.close()

    def test_a_tls_server_that_never_shakes_hands_is_given_up(self, serve):
        receiver = serve(silent)
        with self.ending_in_time():
            WebhookRelay(f"https://127.0.0.1:{receiver.port}/", limit_s=SHORT_S)

    def test_nobody_at_the_port_is_one_sentence(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(OutputError, match=r"cannot be reached \(Connection refused\)$"):
            WebhookRelay(f"http://127.0.0.1:{port}/")

    def test_a_connection_that_is_reset_is_one_sentence(self, serve):
        def reset(connection, request):
            linger = b"\1\0\0\0\0\0\0\0"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

        with pytest.raises(OutputError, match=r"^webhook .* cannot be reached \("):
            relay_to(serve(reset)).lock(DENY, go_on)

    def test_a_lock_that_waits_ends_an_opening_quietly(self, serve):
        asked = threading.Event()

        def stall(connection, request):
            asked.set()
            silent(connection, request)

        relay = relay_to(serve(stall), limit_s=PATIENCE_S)
        began_s = time.monotonic()
        relay.unlock(allow(PATIENCE_S), asked.is_set)
        assert time.monotonic() - began_s < PATIENCE_S / 2

    def test_an_opening_that_a_lock_waits_for_is_not_sent(self, serve):
        receiver = serve()
        relay_to(receiver).unlock(allow(), lambda: True)
        assert receiver.accepted == 1

    def test_time_that_is_up_ends_a_lock_with_an_error(self, serve):
        with pytest.raises(OutputError, match="no whole answer"):
            relay_to(serve(silent), limit_s=PATIENCE_S).lock(DENY, lambda: True)

    def test_descriptors_stay_as_many_as_they_were(self, serve):
        receiver = serve(b"HTTP/1.1 500 X\r\n\r\n")
        relay = relay_to(receiver)

        def ours():
            return len([name for name in os.listdir("/proc/self/fd")])  # noqa: PTH208, C416

        for _ in range(3):
            with contextlib.suppress(OutputError):
                relay.lock(DENY, go_on)
        receiver.close()
        before = ours()
        for _ in range(20):
            with contextlib.suppress(OutputError):
                relay.lock(DENY, go_on)
        assert ours() <= before


class TestTheName:
    def test_a_lookup_that_hangs_is_given_up_and_not_begun_twice(self):
        release, begun = threading.Event(), []

        def hang(*args, **options):
            begun.append(args)
            release.wait(PATIENCE_S)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        post = HttpPost("https://door.example/", None, SHORT_S, time.monotonic, hang)
        began_s = time.monotonic()
        for _ in range(3):
            with pytest.raises(OutputError, match="no whole answer"):
                post.send(lambda: ({}, b""), go_on)
        assert time.monotonic() - began_s < PATIENCE_S / 2
        release.set()
        post._addresses._running.join(PATIENCE_S)
        assert begun == [("door.example", 443)]

    def test_a_lock_gets_through_while_the_name_service_is_away(self, serve):
        receiver = serve()
        here = socket.getaddrinfo("127.0.0.1", receiver.port, type=socket.SOCK_STREAM)
        release, answers = threading.Event(), [here]

        def once(*args, **options):
            if answers:
                return answers.pop()
            release.wait(PATIENCE_S)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        relay = WebhookRelay(f"http://localhost:{receiver.port}/", limit_s=4.0, lookup=once)
        relay.lock(DENY, go_on)  # the look-up hangs
        release.set()
        relay.lock(DENY, go_on)  # and now it fails
        assert len(receiver.requests) == 2

    def test_a_name_that_does_not_exist_is_one_sentence(self):
        def nowhere(*args, **options):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        with pytest.raises(OutputError, match=r"door\.example: cannot be reached \(look-up .* kno"):
            WebhookRelay("https://door.example/", lookup=nowhere)

    def test_a_dead_address_leaves_time_for_the_next(self, serve):
        receiver = serve()

        def two(host, port, **options):
            return [
                entry
                for address in ("127.0.0.2", "127.0.0.1")
                for entry in socket.getaddrinfo(address, port, **options)
            ]

        relay = WebhookRelay(f"http://localhost:{receiver.port}/", limit_s=LIMIT_S, lookup=two)
        relay.lock(DENY, go_on)
        assert len(receiver.requests) == 1

    def test_version_6_addresses_work(self, serve):
        try:
            receiver = serve(family=socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        WebhookRelay(f"http://[::1]:{receiver.port}/", limit_s=LIMIT_S).lock(DENY, go_on)
        assert receiver.starting[1]["host"] == f"[::1]:{receiver.port}"


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with authorities, and certificates of theirs by what is wrong with them."""
    folder = tmp_path_factory.mktemp("certificates")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    ca_use = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for ca in ("ca", "other-ca"):
        openssl(
            folder, "req", "-x509", *new_key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem",
            "-days", "2", "-subj", f"/CN={ca}", *ca_use,
        )  # fmt: skip
    for name, ca, alternative, days in (
        ("good", "ca", "IP:127.0.0.1,DNS:localhost", "2"),
        ("other-name", "ca", "DNS:elsewhere.example", "2"),
        ("expired", "ca", "IP:127.0.0.1,DNS:localhost", "-1"),
        ("other-authority", "other-ca", "IP:127.0.0.1,DNS:localhost", "2"),
    ):
        (folder / "use").write_text(
            f"subjectAltName={alternative}\nbasicConstraints=critical,CA:FALSE\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            "extendedKeyUsage=serverAuth\n"
        )
        openssl(folder, "req", *new_key, "-keyout", f"{name}.key", "-out", "csr", "-subj", "/CN=x")
        openssl(
            folder, "x509", "-req", "-in", "csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
            "-CAcreateserial", "-days", days, "-extfile", "use", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture
def serve_tls(serve, certificates):
    def make(name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        return serve(context=context)

    return make


class TestTls:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_certificate_of_the_given_authority_is_trusted(self, serve_tls, certificates, host):
        receiver = serve_tls("good")
        url = receiver.url.replace("127.0.0.1", host)
        relay = WebhookRelay(url, ca_file=str(certificates / "ca.pem"), limit_s=LIMIT_S)
        relay.unlock(allow(), go_on)
        relay.lock(DENY, go_on)
        assert receiver.starting
        assert [json.loads(body)["action"] for _, _, body in receiver.requests] == [
            "unlock",
            "lock",
        ]

    @pytest.mark.parametrize(
        ("name", "ca", "said"),
        [
            ("good", None, "unable to get local issuer certificate"),
            ("good", "other-ca", "certificate"),
            ("other-authority", "ca", "certificate"),
            ("other-name", "ca", "not valid for '127.0.0.1'"),
            ("expired", "ca", "certificate has expired"),
        ],
    )
    def test_no_other_certificate_is_told_anything(
        self, serve_tls, certificates, key_file, name, ca, said
    ):
        receiver = serve_tls(name)
        ca_file = None if ca is None else str(certificates / f"{ca}.pem")
        with pytest.raises(OutputError, match=f"its certificate is not trusted .*{said}"):
            relay_to(receiver, ca_file=ca_file, secret_file=str(key_file))
        assert receiver.starting is None

    def test_a_certificate_that_changes_ends_the_trust(self, serve_tls, certificates):
        good, bad = serve_tls("good"), serve_tls("other-authority")
        relay = relay_to(good, ca_file=str(certificates / "ca.pem"))
        relay._post._addresses._known = []
        relay._post._addresses._port = bad.port
        for change, order in ((relay.unlock, allow()), (relay.lock, DENY)):
            with pytest.raises(OutputError, match="its certificate is not trusted"):
                change(order, go_on)
        assert bad.starting is None
        assert good.requests == []

    def test_a_server_without_tls_is_told_nothing(self):
        heard = []

        class Plain(Receiver):
            def _serve(self, connection):
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        receiver = Plain(silent)
        with pytest.raises(OutputError, match=r"cannot be reached \(.*wrong version number"):
            WebhookRelay(f"https://127.0.0.1:{receiver.port}/", limit_s=LIMIT_S)
        assert b"lock" not in heard[0]
        receiver.close()

    @pytest.mark.parametrize("content", [None, b"", b"no certificate"])
    def test_an_authority_that_cannot_be_read_is_refused_at_start(self, tmp_path, content):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(OutputError, match=r"^ca_file .*cannot be read as certificates"):
            WebhookRelay("https://door.example/", ca_file=str(path))


class TestTheKey:
    @pytest.mark.parametrize(
        ("content", "key"),
        [
            (b"key", b"key"),
            (b"key\n", b"key"),
            (b"key\r\n", b"key"),
            (b"key\n\n", b"key\n"),
            (b" key ", b" key "),
            (b"\x00\xff\n", b"\x00\xff"),
            (b"whsec_" + base64.b64encode(b"\x01\x02\x03") + b"\n", b"\x01\x02\x03"),
        ],
    )
    def test_it_is_what_the_file_holds_but_for_the_last_newline(
        self, serve, key_file, content, key
    ):
        key_file.write_bytes(content)
        receiver = serve()
        relay_to(receiver, secret_file=str(key_file))
        _, headers, body = receiver.starting
        assert headers["webhook-signature"] == sign(key, headers, body)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "got an empty file"),
            (b"\n", "got an empty file"),
            (5000 * b"x", "expected at most 4096 bytes"),
            (b"whsec_", "expected base64 after whsec_"),
            (b"whsec_%%%", "expected base64 after whsec_"),
        ],
    )
    def test_a_file_without_a_key_is_refused_at_start(self, key_file, content, said):
        key_file.write_bytes(content)
        with pytest.raises(OutputError, match=rf"^secret file {key_file}: .*{said}"):
            WebhookRelay("http://localhost/", secret_file=str(key_file))

    @pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666, 0o777])
    def test_a_key_that_everybody_may_use_is_refused_at_start(self, key_file, mode):
        key_file.chmod(mode)
        with pytest.raises(OutputError, match="open to every user here; run chmod o= on it"):
            WebhookRelay("http://localhost/", secret_file=str(key_file))

    @pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o660])
    def test_owner_and_group_may_read_it(self, serve, key_file, mode):
        key_file.chmod(mode)
        relay_to(serve(), secret_file=str(key_file))

    def test_what_is_no_file_is_refused_at_start_and_at_once(self, tmp_path):
        os.mkfifo(tmp_path / "pipe", 0o600)
        for path in (tmp_path / "nothing", tmp_path, tmp_path / "pipe", "/nul\0"):
            with pytest.raises(OutputError, match=r"^secret file ") as said:
                WebhookRelay("http://localhost/", secret_file=str(path))
            assert "\n" not in str(said.value)


class TestClosing:
    def test_what_may_be_open_is_locked(self, serve):
        receiver = serve()
        relay = relay_to(receiver)
        relay.unlock(allow(), go_on)
        relay.close()
        relay.close()
        actions = [json.loads(body)["action"] for _, _, body in receiver.requests]
        assert actions == ["unlock", "lock"]

    def test_what_is_locked_is_left_alone(self, serve):
        receiver = serve()
        relay = relay_to(receiver)
        relay.lock(DENY, go_on)
        relay.close()
        assert len(receiver.requests) == 1

    def test_a_lock_that_failed_is_tried_once_more(self, serve):
        statuses = [500, 204]
        receiver = serve(
            lambda connection, request: connection.sendall(
                b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % statuses.pop(0)
            )
        )
        relay = relay_to(receiver)
        with pytest.raises(OutputError):
            relay.lock(DENY, go_on)
        relay.close()
        assert statuses == []


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        ["", "door", "https://", "https:///path", "ftp://door/", "https://door:99999/",
         "https://[::1/", "https://" + 70 * "x" + "/", "https://door:x/"],
    )  # fmt: skip
    def test_one_that_makes_no_sense_is_refused_at_start(self, url):
        with pytest.raises(OutputError, match=r"^url: expected https://host/path, got"):
            WebhookRelay(url)

    def test_odd_characters_are_escaped(self, serve):
        receiver = serve()
        post = HttpPost(
            f"http://127.0.0.1:{receiver.port}/a b/마/%20?q=\x7f 1", None, LIMIT_S, time.monotonic
        )
        assert post.send(lambda: ({}, b"{}"), go_on) == 204
        assert receiver.starting[0] == "POST /a%20b/%EB%A7%88/%20?q=%7F%201 HTTP/1.1"

    @settings(deadline=None)
    @given(st.text(max_size=60))
    def test_no_text_is_more_than_refused(self, text):
        for url in (text, f"http://{text}", f"http://door/{text}", f"http://door?{text}"):
            with contextlib.suppress(OutputError):
                HttpPost(url, None, LIMIT_S, time.monotonic)
