"""Where a broker is and how it lets us in: ids, passwords, certificates; no broker needed."""

import contextlib
import logging
import socket
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.errors import OutputError
from mask_gate.gate.mqtt.connection import (
    Broker,
    Connection,
    MqttLink,
    Will,
    find_broker,
    new_client_id,
)

pytestmark = pytest.mark.process


def broker(**settings):
    nothing = {"username": None, "password_file": None, "tls": False, "ca_file": None}
    return find_broker("127.0.0.1", 1, **{**nothing, **settings})


def secret(tmp_path, text, mode=0o600):
    path = tmp_path / "secret"
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


@given(st.text(max_size=200))
def test_an_id_is_plain_short_and_never_the_same(name):
    made = new_client_id("relay", name)
    assert made.isascii()
    assert made.replace("-", "").isalnum()
    assert len(made) <= 65
    assert new_client_id("relay", name) != made


def test_the_password_comes_from_its_file_and_is_not_shown(tmp_path):
    found = broker(username="gate", password_file=secret(tmp_path, "pässwort\n".encode()))
    assert (found.username, found.password) == ("gate", "pässwort")
    assert "pässwort" not in repr(found)
    assert found.name == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (b"", 0o600, "empty"),
        (b"right", 0o604, "chmod o="),
        (b"\xff\xfe", 0o600, "UTF-8"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_password_file_that_is_none_is_refused_in_one_sentence(text, mode, said, tmp_path):
    path = str(tmp_path / "none") if text is None else secret(tmp_path, text, mode)
    with pytest.raises(OutputError, match=said) as error:
        broker(username="gate", password_file=path)
    assert "\n" not in str(error.value)
    assert path in str(error.value)


def test_what_has_no_meaning_alone_is_refused(tmp_path):
    with pytest.raises(OutputError, match="needs a username"):
        broker(password_file=secret(tmp_path, b"right"))
    with pytest.raises(OutputError, match="no meaning without tls"):
        broker(ca_file="ca.pem")


def test_a_file_without_certificates_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(OutputError, match="no certificates there"):
            broker(tls=True, ca_file=str(path))


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(OutputError, match=r"pip install 'mask-gate\[mqtt\]'"):
        broker()


def test_of_the_answers_the_newest_are_kept():
    connection = Connection(client=None, answers_kept=3)
    for number in range(10):
        connection.keep_answer(number, 0x00, "success")
    kept = [number for number in range(10) if connection.answer(number) is not None]
    assert kept == [7, 8, 9]


def test_words_that_everybody_on_the_network_can_read_are_warned_of(caplog):
    nothing = {"username": None, "password_file": None, "ca_file": None}
    caplog.set_level(logging.WARNING)
    find_broker("broker.example", 1883, tls=False, **nothing)
    assert caplog.messages == [
        "mqtt broker.example:1883: not encrypted: whoever is on the network can read and send; "
        "set tls: true"
    ]
    caplog.clear()
    find_broker("broker.example", 8883, tls=True, **nothing)
    find_broker("localhost", 1883, tls=False, **nothing)
    assert caplog.messages == []


@contextlib.contextmanager
def answering(*packets):
    """Something on loopback that answers whoever connects with these bytes and hangs up; its port.

    The last answer is given for ever after.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def serve():
            left = list(packets)
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(30)
                        connection.recv(4096)
                        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


def connack(code):
    return bytes((0x20, 3, 0, code, 0))


def first_account(port):
    """Why there is no connection, after one try; and whether trying again is of no use."""
    ended = threading.Event()
    link = MqttLink(
        Broker("127.0.0.1", port),
        "test",
        keepalive_s=10,
        will=Will("a", "b", retain=False),
        on_up=lambda connection: ended.set(),
    )
    link.start()
    assert link.wait_for(lambda: link.why_down != "there was no time to connect", 60)
    link.close()
    assert not ended.is_set()
    return link.why_down, link.refused


@pytest.mark.parametrize(
    ("answer", "said", "is_final"),
    [
        (bytes((0x20, 2, 0, 1)), "it speaks MQTT 3.1.1 only", True),  # as MQTT 3.1.1 says it
        (connack(0x84), "it speaks MQTT 3.1.1 only", True),
        (connack(0x85), "let it take ids", True),
        (connack(0x86), "check username and password_file", True),
        (connack(0x87), "check username and password_file, and what it lets this user do", True),
        (connack(0x88), "it is asked again", False),
        (connack(0x89), "it is asked again", False),
        (connack(0x8A), "list of those that it bans", True),
        (connack(0x97), "raise the quota", False),
        (connack(0x9D), "host and port that it has moved to", True),
        (connack(0x80), "its own log says more", True),
        (
            b"",
            "it hung up before it answered; check port and tls, and that it speaks MQTT 5",
            False,
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it", False),
    ],
)
def test_every_refusal_has_its_own_advice(answer, said, is_final):
    with answering(answer) as port:
        account, refused = first_account(port)
    assert said in account
    assert refused is is_final
    assert "\n" not in account
