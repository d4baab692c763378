"""ConsoleConfig: off, on this machine alone, or safe; nothing between."""

import pytest

from mask_gate.gate.config.schema import GateConfig, parse_config
from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.guard_order import GuardAct

SAFE = {
    "enabled": True,
    "host": "0.0.0.0",
    "password_file": "p",
    "names": ["gate.example"],
    "proxies": ["127.0.0.1"],
}


def parse(**keys):
    lines = "".join(f"  {key}: {value!r}\n" for key, value in keys.items())
    return parse_config(f"console:\n{lines}".replace("None", "null"), "gate.yaml").console


def test_by_default_it_is_off_and_would_listen_here_alone():
    console = GateConfig().console
    assert not console.enabled
    assert console.is_local


def test_others_may_reach_it_with_password_name_and_encryption():
    assert parse(**SAFE).is_encrypted
    tls = {k: v for k, v in SAFE.items() if k != "proxies"}
    assert parse(**tls, tls_certificate="c", tls_key="k").is_encrypted


@pytest.mark.parametrize(
    ("key", "told"),
    [("password_file", "password_file: needed"), ("names", "names: needed"),
     ("proxies", "tls_certificate: needed")],
)  # fmt: skip
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gate.example", "*", ""])
def test_without_one_of_them_it_is_refused(key, told, host):
    keys = {k: v for k, v in SAFE.items() if k != key} | {"host": host}
    with pytest.raises(ConfigError, match=told if host else "console.host"):
        parse(**keys)


def test_guards_may_do_nothing_by_default():
    assert GateConfig().console.guard_acts == frozenset()


def test_whoever_may_lock_down_may_end_that():
    may = parse(guard_password_files={"kim": "p"}, guard_may=["lock_down"])
    assert may.guard_acts == {GuardAct.LOCK_DOWN, GuardAct.END_LOCK_DOWN}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("console: {guard_may: [lock_down]}", "guard_may: needs guard_password_files"),
        (
            "console: {guard_may: [lock_down], password_file: p}",
            "guard_may: needs guard_password_files",
        ),
        (
            "console: {guard_may: [open], guard_password_files: {kim: p}}",
            "expected|should be 'lock_down' or 'let_in_once'",
        ),
        (
            "console: {guard_may: [let_in_once], guard_password_files: {kim: p}}\n"
            "audit: {required: false}",
            r"audit\.required: expected true, for console\.guard_may has let_in_once",
        ),
        (
            "console: {guard_may: [let_in_once], guard_password_files: {kim: p}}\n"
            "doors: {north: {audit: {required: false}}}",
            r"doors\.north\.audit\.required: expected true",
        ),
    ],
)
def test_what_guards_may_do_is_refused_without_what_it_needs(lines, told):
    with pytest.raises(ConfigError, match=told) as refused:
        parse_config(lines, "gate.yaml")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert parse(enabled=True, host=host).is_local


@pytest.mark.parametrize(
    "keys",
    [{"tls_key": "k"}, {"tls_certificate": "c"}, {"proxies": ["proxy.example"]}, {"port": 70000},
     {"port": -1}, {"session_h": 25}, {"session_h": 0}, {"viewers": 0}, {"viewers": 65},
     {"open": True}, {"enabled": "yes"}, {"names": "x"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(keys):
    with pytest.raises(ConfigError, match=r"gate\.yaml:\d"):
        parse(**keys)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, None),
        ({"enabled": True}, None),
        ({"enabled": True, "names": ("door.example",)}, "http://door.example:8321/"),
        (
            {
                "enabled": True,
                "names": ("door.example", "other.example"),
                "tls_certificate": "c",
                "tls_key": "k",
                "port": 443,
            },
            "https://door.example:443/",
        ),
        (
            {"enabled": True, "names": ("door.example",), "proxies": ("127.0.0.1",)},
            "https://door.example/",
        ),
        ({"enabled": True, "names": ("door.example",), "port": 0}, None),
    ],
)
def test_says_where_others_find_it(settings, url):
    assert ConsoleConfig(**settings).url == url
