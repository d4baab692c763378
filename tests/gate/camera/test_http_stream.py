"""One GET without an end: what is told to whom, and how long and how much is waited for."""

import contextlib
import gzip
import re
import socket
import threading
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera import http_stream
from mask_gate.gate.camera.capture_word import Word
from mask_gate.gate.camera.http_stream import (
    MAX_AWAY_S,
    MAX_HEAD,
    Dechunker,
    HttpStream,
    StreamError,
)

pytestmark = pytest.mark.process

PATIENCE_S = 60.0
SOON_S = 0.4
CRLF = b"\r\n"


@pytest.fixture(autouse=True)
def machines_that_test_are_slow(monkeypatch):
    """One that looks away is not gone, but where a test is about just that."""
    monkeypatch.setattr(http_stream, "MAX_AWAY_S", PATIENCE_S)


@pytest.fixture
def serve():
    """Starts a server that answers each connection by a function of it and the request."""
    listeners = []

    def start(answer):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        requests = []

        def run():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection):
            with contextlib.suppress(OSError), connection:
                request = connection.recv(65536).decode("latin-1")
                requests.append(request)
                reply = answer(request, connection)
                if reply is not None:
                    connection.sendall(reply)
                    connection.recv(1)  # until the other side has enough

        threading.Thread(target=run, daemon=True).start()
        start.requests = requests
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()


@contextlib.contextmanager
def opened(url, limit_s=PATIENCE_S):
    with contextlib.closing(HttpStream(url, limit_s)) as stream:
        yield stream


def body_of(stream, size):
    data = b""
    while len(data) < size:
        data += stream.receive(time.monotonic() + PATIENCE_S)
    return data


OK = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX: 1\r\n\r\nbody"


class TestARequest:
    def test_names_path_query_and_host(self, serve):
        place = serve(lambda request, connection: OK)
        with opened(f"http://{place}/live/문 1?a=1&b=%20x y") as stream:
            assert stream.headers == {"content-type": "a/b", "x": "1"}
            assert body_of(stream, 4) == b"body"
        (request,) = serve.requests
        assert request.startswith("GET /live/%EB%AC%B8%201?a=1&b=%20x%20y HTTP/1.1\r\n")
        assert f"\r\nHost: {place}\r\n" in request
        assert "Authorization" not in request

    def test_without_a_path_asks_for_the_root(self, serve):
        place = serve(lambda request, connection: OK)
        with opened(f"http://{place}"):
            assert serve.requests[0].startswith("GET / HTTP")

    def test_tells_the_password_only_when_it_is_asked_for(self, serve):
        def answer(request, connection):
            if "Authorization: Basic dXNlcjpwIHcv\r\n" in request:
                return OK
            return b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"

        place = serve(answer)
        with opened(f"http://user:p%20w%2F@{place}/") as stream:
            assert body_of(stream, 4) == b"body"
        assert "Authorization" not in serve.requests[0]

    def test_answers_a_digest_challenge(self, serve):
        def answer(request, connection):
            if re.search(
                r'Authorization: Digest .*uri="/a\?b", .*response="[0-9a-f]{32}"', request
            ):
                return OK
            return b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="x", nonce="y"\r\n\r\n'

        with opened(f"http://user:secret@{serve(answer)}/a?b") as stream:
            assert body_of(stream, 4) == b"body"
        assert not any("secret" in request for request in serve.requests)

    @pytest.mark.parametrize("account", ["", "user:wrong@"])
    def test_refused_says_so(self, serve, account):
        refusal = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"
        place = serve(lambda request, connection: refusal)
        with pytest.raises(StreamError, match="status 401") as told:
            HttpStream(f"http://{account}{place}/", PATIENCE_S)
        assert told.value.word is (Word.REFUSED if account else Word.LOGIN_WANTED)
        assert "wrong" not in str(told.value)
        assert len(serve.requests) <= 2  # or a camera locks the account

    def test_follows_a_redirect_but_takes_no_password_there(self, serve):
        def elsewhere(request, connection):
            if "Authorization" in request:
                return OK
            return b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"

        place = serve(elsewhere)
        there = serve.requests
        redirect = f"HTTP/1.1 302 Found\r\nLocation: http://{place}/b\r\n\r\n".encode()
        with pytest.raises(StreamError, match="status 401"):
            HttpStream(f"http://user:pw@{serve(lambda r, c: redirect)}/a", PATIENCE_S)
        assert len(there) == 1
        assert there[0].startswith("GET /b ")

    def test_takes_the_password_along_to_the_same_host_encrypted_only(self, serve):
        home = ("http", "cam", 80)
        assert http_stream._may_know(home, ("https", "cam", 443))
        assert not http_stream._may_know(home, ("http", "cam", 8080))
        assert not http_stream._may_know(home, ("https", "other", 443))

    def test_answers_again_where_its_answer_has_only_grown_old(self, serve):
        def answer(request, connection):
            if 'nonce="2"' in request:
                return OK
            stale = b", stale=true" if 'nonce="1"' in request else b""
            nonce = b"2" if stale else b"1"
            return (
                b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="x", nonce="%b"%b\r\n\r\n'
                % (nonce, stale)
            )

        with opened(f"http://user:pw@{serve(answer)}/"):
            assert len(serve.requests) == 3

    def test_with_an_unknown_question_for_a_password_says_so(self, serve):
        refusal = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\n\r\n"
        with pytest.raises(StreamError) as told:
            HttpStream(f"http://user:pw@{serve(lambda r, c: refusal)}/", PATIENCE_S)
        assert told.value.word is Word.LOGIN_UNKNOWN

    @pytest.mark.parametrize(
        ("location", "told"),
        [("/again", "without end"), ("file:///etc/passwd", "not http"), ("ftp://x/", "not http")],
    )
    def test_a_redirect_in_a_circle_or_to_something_else_is_refused(self, serve, location, told):
        answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode()
        with pytest.raises(StreamError, match=told):
            HttpStream(f"http://{serve(lambda r, c: answer)}/", PATIENCE_S)


class TestAnAnswer:
    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 206 Part\r\nX: 1\r\n\r\n",
            b"HTTP/1.1 200\n\n",
            b"ICY 200 OK\r\nX: 1\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 102 Wait\r\nX: 2\r\n\r\nHTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ],
    )
    def test_may_begin_in_many_ways(self, serve, head):
        with opened(f"http://{serve(lambda r, c: head + b'body')}/") as stream:
            assert body_of(stream, 4) == b"body"

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
    def test_is_unpacked_though_nobody_asked_for_it_packed(self, serve, pack, chunked):
        head, body = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n", pack(b"body" * 100)
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n"
            body = chunks(body[:9], body[9:])
        with opened(f"http://{serve(lambda r, c: head + CRLF + body)}/") as stream:
            assert body_of(stream, 400) == b"body" * 100
        assert "Accept-Encoding: identity" in serve.requests[0]

    @pytest.mark.parametrize("body", [b"not packed", gzip.compress(bytes(60_000_000))])
    def test_that_cannot_be_unpacked_or_grows_too_much_is_refused(self, serve, body):
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
        with (
            opened(f"http://{serve(lambda r, c: head + body)}/") as stream,
            pytest.raises(StreamError, match="unpacked"),
        ):
            body_of(stream, 60_000_000)


class TestBounds:
    @pytest.mark.parametrize(
        "reply",
        [b"", b"\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"\xff" * 90_000],
        ids=["nothing", "empty", "ssh", "http2", "noise"],
    )
    def test_what_is_no_answer_is_refused(self, serve, reply):
        def answer(request, connection):
            connection.sendall(reply)

        with pytest.raises(StreamError):
            HttpStream(f"http://{serve(answer)}/", PATIENCE_S)

    def test_headers_without_end_are_refused_before_the_time_is_up(self, serve):
        def answer(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X: and more\r\n" * 100)

        with pytest.raises(StreamError, match=f"longer than {MAX_HEAD}"):
            HttpStream(f"http://{serve(answer)}/", PATIENCE_S)

    @pytest.mark.parametrize("pause_s", [0.01, 60.0])
    def test_a_slow_answer_is_not_waited_for(self, serve, pause_s):
        over = threading.Event()

        def answer(request, connection):
            connection.sendall(b"H")
            while not over.wait(pause_s):
                connection.sendall(b"H")

        begin_s = time.monotonic()
        with pytest.raises(StreamError, match="takes too long"):
            HttpStream(f"http://{serve(answer)}/", SOON_S)
        assert SOON_S <= time.monotonic() - begin_s < PATIENCE_S
        over.set()

    def test_nobody_there_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(StreamError, match="does not answer"):
            HttpStream(f"http://127.0.0.1:{port}/", PATIENCE_S)

    def test_a_body_that_stalls_is_not_waited_for(self, serve):
        with opened(f"http://{serve(lambda request, connection: OK)}/") as stream:
            assert body_of(stream, 4) == b"body"
            assert stream.receive_now() == b""
            with pytest.raises(StreamError, match="takes too long"):
                stream.receive(time.monotonic() + SOON_S)

    def test_a_connection_that_ends_is_told(self, serve):
        def answer(request, connection):
            connection.sendall(OK)

        with opened(f"http://{serve(answer)}/") as stream:
            assert body_of(stream, 4) == b"body"
            with pytest.raises(StreamError, match="closed"):
                stream.receive(time.monotonic() + PATIENCE_S)

    def test_what_waited_while_nobody_looked_is_not_taken(self, serve, monkeypatch):
        with opened(f"http://{serve(lambda request, connection: OK)}/") as stream:
            assert body_of(stream, 4) == b"body"
            monkeypatch.setattr(http_stream, "MAX_AWAY_S", MAX_AWAY_S)
            time.sleep(MAX_AWAY_S + 0.2)
            with pytest.raises(StreamError, match="nobody looked"):
                stream.receive(time.monotonic() + PATIENCE_S)


def chunks(*bodies):
    return b"".join(b"%X;x=y\r\n%b\r\n" % (len(body), body) for body in bodies)


class TestChunks:
    def test_are_taken_off_on_the_way(self, serve):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        place = serve(lambda request, connection: head + chunks(b"one ", b"two"))
        with opened(f"http://{place}/") as stream:
            assert body_of(stream, 7) == b"one two"

    @given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 70))
    def test_may_be_cut_anywhere(self, bodies, size):
        data, dechunker = chunks(*bodies), Dechunker()
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        assert b"".join(map(dechunker.feed, pieces)) == b"".join(bodies)

    @pytest.mark.parametrize("data", [b"0\r\n\r\n", b"-1\r\n", b"x\r\n", b"\r\n", b"1" * 2000])
    def test_that_end_or_make_no_sense_end_the_stream(self, data):
        with pytest.raises(StreamError):
            Dechunker().feed(data)

    @given(st.binary())
    def test_no_bytes_break_it(self, data):
        with contextlib.suppress(StreamError):
            assert len(Dechunker().feed(data)) <= len(data)
