"""Two doors on one thing are found out, however its name is written."""

import os

import pytest

from mask_gate.gate.config.resolved_names import resolved_pin
from mask_gate.gate.config.schema import parse_config
from mask_gate.gate.errors import ConfigError

SAME = [
    ("relays: [{kind: recording, path: ./a}]", "relays: [{kind: recording, path: a}]"),
    ("relays: [{kind: recording, path: a}]", "relays: [{kind: recording, path: folder/../a}]"),
    ("relays: [{kind: recording, path: link}]", "relays: [{kind: recording, path: a}]"),
    ("relays: [{kind: recording, path: hard}]", "relays: [{kind: recording, path: a}]"),
    ("audit: {path: a.db}", "audit: {path: ./a.db}"),
    ("audit: {path: state/entrance-south.sqlite}", "language: en"),  # where the other's is anyway
    ("audit: {path: a.db}", "relays: [{kind: recording, path: a.db}]"),
    ("relays: [{kind: gpio, pin: 17}]", "relays: [{kind: gpio, pin: BOARD11}]"),
    ("relays: [{kind: gpio, pin: BCM17}]", "relays: [{kind: gpio, pin: 'J8:11'}]"),
    ("relays: [{kind: gpio, pin: GPIO17}]", "relays: [{kind: gpio, pin: WPI0}]"),
    ("relays: [{kind: serial, port: /dev/null}]", "relays: [{kind: serial, port: null-board}]"),
    ("camera: {source: 0}", "camera: {source: /dev/../dev/video0}"),
    ("camera: {source: /dev/null}", "camera: {source: /dev/./null}"),
    ("camera: {source: 'rtsp://cam:554/1'}", "camera: {source: 'rtsp://cam/1'}"),
    ("camera: {source: 'rtsp://cam/1'}", "camera: {source: 'RTSP://CAM./1'}"),
    ("camera: {source: 'rtsp://a:b@cam/1'}", "camera: {source: 'rtsp://cam//1#x'}"),
    ("camera: {source: 'http://127.1/'}", "camera: {source: 'http://localhost'}"),
    (
        "relays: [{kind: mqtt, host: Broker, topic: t}]",
        "relays: [{kind: mqtt, host: broker., topic: t}]",
    ),
    (
        "relays: [{kind: mqtt, host: '::1', topic: t}]",
        "relays: [{kind: mqtt, host: localhost, topic: t}]",
    ),
    (
        "relays: [{kind: webhook, url: 'http://localhost/door'}]",
        "relays: [{kind: webhook, url: 'http://127.0.0.1:80/a/../door'}]",
    ),
    ("outputs: {on_allow: /bin/true x}", "outputs: {on_allow: '/bin/true  x'}"),
    ("outputs: {on_allow: true x}", "relays: [{kind: command, on_allow: /bin/true 'x'}]"),
    ("outputs: {on_allow: true a}", "outputs: {on_allow: true ./a}"),
    ("outputs: {on_allow: true a}", "outputs: {on_allow: env true a}"),
    ("outputs: {on_allow: sh folder/open.sh x}", "outputs: {on_allow: ./folder/open.sh x}"),
    ("outputs: {on_allow: nice bash folder/open.sh}", "outputs: {on_allow: sh ./folder/open.sh}"),
    ("camera: {source: 'http://bücher/'}", "camera: {source: 'http://xn--bcher-kva/'}"),
    ("camera: {source: 'http://0.0.0.0/'}", "camera: {source: 'http://localhost/'}"),
    ("camera: {source: 'http://cam/?a=1'}", "camera: {source: 'http://cam/?a=%31'}"),
]

OTHERS = [
    ("relays: [{kind: recording, path: a}]", "relays: [{kind: recording, path: b}]"),
    ("relays: [{kind: gpio, pin: 17}]", "relays: [{kind: gpio, pin: BOARD17}]"),
    ("relays: [{kind: gpio, pin: BOARD1}]", "relays: [{kind: gpio, pin: 1}]"),  # no such pin
    ("relays: [{kind: serial, port: /dev/null}]", "relays: [{kind: serial, port: /dev/zero}]"),
    ("camera: {source: 'rtsp://cam/?channel=1'}", "camera: {source: 'rtsp://cam/?channel=2'}"),
    ("camera: {source: 'rtsp://cam:554/'}", "camera: {source: 'rtsp://cam:8554/'}"),
    ("relays: [{kind: mqtt, host: b, topic: t}]", "relays: [{kind: mqtt, host: b, topic: T}]"),
    ("outputs: {on_allow: true --pin 17}", "outputs: {on_allow: true --pin 27}"),
    ("outputs: {on_allow: sh folder/open.sh 1}", "outputs: {on_allow: sh folder/open.sh 2}"),
    ("outputs: {on_allow: sh -c a}", "outputs: {on_allow: sh -c b}"),
    ("outputs: {on_deny: true x}", "outputs: {on_deny: true x}"),  # hears, and opens nothing
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    enter_folder(tmp_path, monkeypatch)


def enter_folder(tmp_path, monkeypatch):
    """Work where the files and links of the pairs above are."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "open.sh").touch(mode=0o755)
    (tmp_path / "a").write_text("")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "null-board").symlink_to("/dev/null")
    os.link(tmp_path / "a", tmp_path / "hard")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))


def read(north, south):
    """Two doors that share nothing but these."""
    own = [f"    {line}" if line != "language: en" else "" for line in (north, south)]
    cameras = [
        "" if "camera" in line else f"    camera: {{source: demo{number}}}"
        for number, line in enumerate(own)
    ]
    parse_config(
        f"doors:\n  north:\n{own[0]}\n{cameras[0]}\n  south:\n{own[1]}\n{cameras[1]}\n", "gate.yaml"
    )


@pytest.mark.parametrize(("north", "south"), SAME)
def test_one_thing_of_two_names(north, south):
    for one, other in ((north, south), (south, north)):
        if "language: en" not in (one, other):
            with pytest.raises(ConfigError, match="is of door north already"):
                read(one, other)
    with pytest.raises(ConfigError, match="is of door north already"):
        read(north, south)


def test_the_other_name_is_told():
    with pytest.raises(ConfigError, match="pin BOARD11 is of door north already as pin 17; give"):
        read(SAME[7][0], SAME[7][1])


@pytest.mark.parametrize(("north", "south"), OTHERS)
def test_two_things(north, south):
    read(north, south)


def test_every_name_that_gpiozero_has_for_a_pin_is_known():
    mock = pytest.importorskip("gpiozero.pins.mock", reason="needs the extra gpio")
    board = mock.MockFactory().board_info
    pins = [
        pin
        for header in board.headers.values()
        for pin in header.pins.values()
        if pin.name.startswith("GPIO")
    ]
    assert len(pins) >= 26
    for pin in pins:
        assert {resolved_pin(name) for name in pin.names} == {pin.name}
