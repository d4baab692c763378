"""Where a broker is and how it lets us in: ids, passwords, certificates; no broker needed."""

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.errors import OutputError
from mask_gate.gate.mqtt.connection import find_broker, new_client_id

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
