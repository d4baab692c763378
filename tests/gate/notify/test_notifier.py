"""Messages through the real library to a real receiver; nothing that waits for one."""

import json
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mask_gate.gate.errors import ConfigError
from mask_gate.gate.notify.config import NotifyConfig
from mask_gate.gate.notify.notifier import Notifier, check_notify

pytestmark = pytest.mark.process

PATIENCE_S = 120.0
WORDS = {"denial": "denied", "no_mask": "no mask", "mask_incorrect": "mask worn wrongly"}


def denied(reason="no_mask"):
    return {
        "ts": "2026-05-01T08:00:00.123Z",
        "gate": "lobby",
        "type": "signal",
        "signal": "deny",
        "state": "deny",
        "reason": reason,
    }


class Receiver(ThreadingHTTPServer):
    """Answers every POST with `status`, and keeps what came."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Call)
        self.status = 200
        self.came = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Call(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.came.append((self.path, json.loads(body)))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *words):
            pass


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server
        server.shutdown()


def config(folder, *urls, **more):
    path = folder / "urls"
    path.write_text("".join(f"{url}\n" for url in urls))
    path.chmod(0o600)
    return NotifyConfig(
        urls_file=str(path), **{"events": ("denial",), "fault_s": 0.0, "pause_s": 1.0, **more}
    )


def wait_until(holds):
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture
def notify():
    made = []

    def make(settings, **more):
        made.append(Notifier(settings, "mask-gate lobby", WORDS, **more))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


def test_a_message_reaches_every_service_and_what_comes_soon_after_is_in_the_next(
    receiver, notify, tmp_path
):
    address = f"127.0.0.1:{receiver.server_port}"
    settings = config(tmp_path, "# a comment", f"json://{address}/j", f"ntfy://{address}/topic")
    check_notify(settings)
    assert receiver.came == []  # the check sends nothing
    notifier = notify(settings)
    notifier.write(denied())
    wait_until(lambda: len(receiver.came) == 2)
    notifier.write(denied("mask_incorrect"))
    notifier.write(denied())
    wait_until(lambda: len(receiver.came) >= 4)
    first = dict(receiver.came[:2])
    assert first["/j"]["title"] == "mask-gate lobby"
    assert first["/j"]["message"].endswith("lobby: denied: no mask")
    (ntfy,) = (body for path, body in receiver.came[:2] if path != "/j")
    assert (ntfy["topic"], ntfy["title"]) == ("topic", "mask-gate lobby")
    later = "\n".join(body["message"] for path, body in receiver.came[2:] if path == "/j")
    assert "mask worn wrongly" in later


def test_a_dead_service_is_told_once_and_its_lines_are_kept(receiver, notify, tmp_path, caplog):
    receiver.status = 500
    notifier = notify(config(tmp_path, f"json://user:hunter2@127.0.0.1:{receiver.server_port}/"))
    with caplog.at_level(logging.WARNING):
        notifier.write(denied())
        wait_until(lambda: len(receiver.came) >= 2)  # it tries again
        receiver.status = 200
        wait_until(lambda: "messages can be sent again" in caplog.text)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "notify: a message could not be sent: line 1 (JSON); tried again later",
        "notify: messages can be sent again",
    ]
    assert receiver.came[-1][1]["message"].endswith("lobby: denied: no mask")
    assert "hunter2" not in caplog.text


def test_neither_events_nor_the_end_wait_for_a_sender_that_hangs(notify, tmp_path):
    begun = tmp_path / "begun"
    code = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    notifier = notify(config(tmp_path, "json://127.0.0.1/"), command=[sys.executable, "-c", code])
    notifier.write(denied())
    wait_until(begun.exists)
    for _ in range(5000):
        notifier.write(denied())
    notifier.close()
    assert notifier._child is None or notifier._child.poll() is not None


@pytest.mark.parametrize(
    ("lines", "mode", "told"),
    [
        (["json://host/", "nonsense://x"], 0o600, "line 2 is no address of a service that apprise"),
        (["# nobody"], 0o600, "holds no address"),
        (["json://host/"], 0o644, "open to every user"),
    ],
)
def test_what_cannot_be_sent_to_is_refused_by_its_line(lines, mode, told, tmp_path):
    settings = config(tmp_path, *lines)
    (tmp_path / "urls").chmod(mode)
    with pytest.raises(ConfigError, match=told) as error:
        check_notify(settings)
    assert str(error.value).startswith("notify.urls_file: ")


def test_without_the_library_one_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"run pip install 'mask-gate\[notify\]'"):
        check_notify(config(tmp_path, "json://host/"))
