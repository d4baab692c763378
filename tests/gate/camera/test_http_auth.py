"""Basic and Digest, held against the examples of RFC 7616, RFC 2617 and RFC 2069."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera import http_auth
from mask_gate.gate.camera.http_auth import authorization, is_stale

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def asked(algorithm):
    return (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        f'nonce="{NONCE}", opaque="{OPAQUE}"'
    )


def answer(*challenges, user="Mufasa", password="Circle of Life"):
    return authorization(challenges, user, password, "GET", "/dir/index.html")


class TestDigest:
    @pytest.mark.parametrize(
        ("algorithm", "response"),
        [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ],
    )
    def test_answers_as_in_rfc_7616(self, algorithm, response, monkeypatch):
        monkeypatch.setattr(http_auth.secrets, "token_hex", lambda size: CNONCE)
        said = answer(asked(algorithm))
        assert said.startswith("Digest ")
        assert f'response="{response}"' in said
        assert f'opaque="{OPAQUE}"' in said
        assert "qop=auth, nc=00000001" in said
        assert f"algorithm={algorithm}" in said
        assert "Circle" not in said

    def test_answers_an_old_camera_as_in_rfc_2069(self):
        challenge = (
            'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
            'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
        )
        said = answer(challenge, password="CircleOfLife")
        assert 'response="1949323746fe6a43ef61f9606e7febea"' in said  # erratum 749
        assert "qop" not in said

    def test_is_taken_before_basic_and_the_stronger_hash_first(self):
        offers = ('Basic realm="x"', asked("MD5"), asked("SHA-256"))
        assert "algorithm=SHA-256" in answer(*offers)
        assert "algorithm=MD5" in answer(*offers[:2])

    def test_two_answers_differ(self):
        assert answer(asked("MD5")) != answer(asked("MD5"))

    def test_what_cannot_be_answered_is_not(self):
        for challenge in [
            'Digest realm="x"',
            'Digest nonce="x"',
            'Digest realm="x", nonce="y", algorithm=SHA-512-256',
            'Digest realm="x", nonce="y", qop="auth-int"',
            "Digest",
            "Digest ,,,=",
            "Negotiate",
            "",
        ]:
            assert answer(challenge) is None
            assert answer(challenge, "Basic realm=x").startswith("Basic ")

    def test_answers_with_a_session_key(self, monkeypatch):
        monkeypatch.setattr(http_auth.secrets, "token_hex", lambda size: CNONCE)
        said = answer(asked("md5-sess"))
        assert 'response="e783283f46242139c486a698fec7211d"' in said  # by curl's own digest
        assert "algorithm=md5-sess" in said

    @pytest.mark.parametrize(
        "realm", ['""', '"a, b=c"', r'"say \"hi\" \\ there"', "bare", '"Caf\xe9"', '"Basic x=1"']
    )
    def test_answers_in_any_realm(self, realm):
        assert answer(f"Digest realm={realm}, nonce=y").startswith("Digest ")

    def test_takes_the_best_of_several_in_one_header(self):
        both = f'Basic realm="a, Digest b", {asked("MD5")}, {asked("SHA-256")}'
        assert "algorithm=SHA-256" in answer(both)

    def test_a_realm_is_hashed_as_the_bytes_that_came_and_names_as_utf_8(self, monkeypatch):
        monkeypatch.setattr(http_auth.secrets, "token_hex", lambda size: CNONCE)
        realm, user, password = "Eingang Süd".encode(), "관리자", "ä"
        said = answer(
            f'Digest realm="{realm.decode("latin-1")}", nonce="y"', user=user, password=password
        )
        secret = hashlib.md5(b":".join([user.encode(), realm, password.encode()])).hexdigest()
        action = hashlib.md5(b"GET:/dir/index.html").hexdigest()
        assert hashlib.md5(f"{secret}:y:{action}".encode()).hexdigest() in said
        assert f'username="{user}"'.encode() in said.encode("latin-1")

    def test_that_has_only_grown_old_says_so(self):
        for words, stale in [("stale=TRUE", True), ('stale="true"', True), ("stale=false", False)]:
            assert is_stale([f'Digest realm="x", nonce="y", {words}']) is stale
        assert not is_stale([asked("MD5"), "Basic realm=stale"])

    def test_a_user_with_quotes_stays_inside_them(self):
        assert r'username="a\"b\\c"' in answer(asked("MD5"), user='a"b\\c')

    @given(st.text())
    def test_no_challenge_breaks_it(self, text):
        said = answer("Digest " + text)
        assert said is None or said.startswith("Digest ")


def test_basic_carries_user_and_password():
    said = answer('basic realm="x"', user="관리자", password="a:b")
    assert base64.b64decode(said.removeprefix("Basic ")).decode() == "관리자:a:b"


def test_no_challenge_gets_no_answer():
    assert answer() is None
