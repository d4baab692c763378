"""The container: no engine is needed to see that what its files name is there and does its work.

`docker build` itself is tried by nobody here. What it would run is: the wheel is built and
installed by `test_wheel.py`, and the two scripts of the image run below.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "assets" / "container"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIMIT_S = 60


def instructions() -> list[tuple[str, str]]:
    """Word and rest of each instruction of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def all_of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


@pytest.fixture(scope="module")
def service() -> dict[str, object]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"][
        "mask-gate"
    ]


class TestTheImage:
    def test_everything_that_is_copied_from_the_repository_is_there(self):
        for rest in all_of("COPY"):
            if not rest.startswith("--from="):
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists(), source

    def test_the_wheel_is_built_from_all_that_pyproject_names(self):
        copied = {source for rest in all_of("COPY") for source in rest.split()[:-1]}
        links = {path.name for path in (ROOT / "mask_gate").iterdir() if path.is_symlink()}
        assert {*links, "mask_gate", "pyproject.toml", PROJECT["readme"]} <= copied
        assert set(PROJECT["license-files"]) <= copied

    def test_its_shell_lines_are_sound(self):
        for rest in all_of("RUN"):
            subprocess.run(["sh", "-n", "-c", rest], check=True, timeout=LIMIT_S)

    def test_the_extras_are_ours_and_the_versions_are_the_tried_ones(self):
        (extras,) = (rest for rest in all_of("ARG") if rest.startswith("EXTRAS="))
        assert set(extras.partition("=")[2].split(",")) <= set(PROJECT["optional-dependencies"])
        (install,) = (rest for rest in all_of("RUN") if "pip install" in rest)
        assert "-c /tmp/constraints.txt" in install

    def test_it_holds_the_door_as_a_user_without_rights(self):
        (user,) = all_of("USER")
        assert user == "mask-gate"
        *_, command = all_of("CMD")
        name, *flags = json.loads(command)
        assert (SCRIPTS / Path(name).name).is_file()
        assert flags == ["--config", "/etc/mask-gate/gate.yaml", "--headless"]

    def test_the_health_check_is_the_script_that_is_copied(self):
        (check,) = all_of("HEALTHCHECK")
        command = json.loads(check.partition("CMD ")[2])
        assert command[0] == "python"
        assert (SCRIPTS / Path(command[1]).name).is_file()

    def test_folders_of_state_are_made_and_belong_to_the_user(self):
        (variables,) = all_of("ENV")
        folders = {
            value
            for name, _, value in (each.partition("=") for each in shlex.split(variables))
            if name.endswith("_DIRECTORY")
        }
        (made,) = (rest for rest in all_of("RUN") if "useradd" in rest)
        assert folders <= set(made.split())
        assert len(folders) == 3


class TestCompose:
    def test_camera_configuration_and_record_are_mounted(self, service):
        assert any(device.startswith("/dev/video0:") for device in service["devices"])
        mounts = {volume.split(":")[1]: volume for volume in service["volumes"]}
        assert mounts["/etc/mask-gate"].endswith(":ro")
        assert {"/var/lib/mask-gate", "/var/cache/mask-gate"} <= set(mounts)

    def test_every_named_volume_is_declared(self, service):
        whole = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
        named = {v.split(":")[0] for v in service["volumes"] if not v.startswith((".", "/"))}
        assert named == set(whole["volumes"])

    def test_the_image_is_of_this_version_and_the_user_that_of_the_image(self, service):
        assert service["image"] == f"mask-gate:{PROJECT['version']}"
        (made,) = (rest for rest in all_of("RUN") if "useradd" in rest)
        (number,) = re.findall(r"--uid (\d+)", made)
        assert any(f"uid={number}" in mount for mount in service["tmpfs"])

    def test_it_has_the_time_to_lock_and_no_rights(self, service):
        unit = (ROOT / "assets/systemd/mask-gate.service").read_text(encoding="utf-8")
        (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
        assert service["stop_grace_period"] == f"{stop_s}s"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]


GATE = """\
#!{python}
import os, signal, sys, time
with open({log!r}, "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[-1] == "--lock":
    sys.exit({lock})
def told(number, frame):
    with open({log!r}, "a") as log:
        log.write(signal.Signals(number).name + "\\n")
    if number == signal.SIGTERM:
        sys.exit(0)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, told)
with open({log!r}, "a") as log:
    log.write("runs " + str(os.getpid()) + "\\n")
{body}
"""


class TestHoldDoor:
    """`hold-door` around a stand-in for the gate that writes down how it was started and told."""

    @pytest.fixture
    def start(self, tmp_path):
        log = tmp_path / "log"
        log.touch()
        started = []

        def start(body="time.sleep(60)", lock=0):
            script = tmp_path / "mask-gate"
            script.write_text(
                GATE.format(python=sys.executable, log=str(log), lock=lock, body=body)
            )
            script.chmod(0o755)
            process = subprocess.Popen(
                [SCRIPTS / "hold-door", "--config", "gate.yaml", "--headless"],
                env={"PATH": f"{tmp_path}:{os.defpath}"},
            )
            started.append(process)
            return process, lambda: log.read_text().splitlines()

        yield start
        for process in started:
            if process.poll() is None:
                process.kill()

    def pid_of(self, lines):
        for _ in range(LIMIT_S * 20):
            for line in lines():
                if line.startswith("runs "):
                    return int(line.split()[1])
            threading.Event().wait(0.05)
        raise AssertionError("the gate was not started")

    def test_a_gate_that_is_killed_is_followed_by_a_lock(self, start):
        process, lines = start()
        os.kill(self.pid_of(lines), signal.SIGKILL)
        assert process.wait(LIMIT_S) == 128 + signal.SIGKILL
        assert lines()[0] == "--config gate.yaml --headless"
        assert lines()[-1] == "--config gate.yaml --headless --lock"

    def test_told_to_end_it_tells_the_gate_waits_for_it_and_locks_once_more(self, start):
        process, lines = start()
        self.pid_of(lines)
        process.terminate()
        assert process.wait(LIMIT_S) == 0
        assert lines()[-2:] == ["SIGTERM", "--config gate.yaml --headless --lock"]

    def test_a_hangup_is_passed_on_and_ends_nothing_by_itself(self, start):
        process, lines = start()
        self.pid_of(lines)
        process.send_signal(signal.SIGHUP)
        while "SIGHUP" not in lines():
            threading.Event().wait(0.05)
        assert process.poll() is None
        process.terminate()
        assert process.wait(LIMIT_S) == 0

    def test_its_exit_code_is_the_gates_or_that_of_a_lock_that_failed(self, start):
        process, _ = start("sys.exit(3)")
        assert process.wait(LIMIT_S) == 3
        process, _ = start("sys.exit(0)", lock=5)
        assert process.wait(LIMIT_S) == 5


class TestTheHealthCheck:
    def check(self, folder, text):
        path = folder / "gate.yaml"
        path.write_text(text)
        command = [sys.executable, SCRIPTS / "healthcheck.py", path]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)

    @pytest.fixture
    def console(self):
        """Something that answers as /healthz does; `status` may be set."""

        class Health(http.server.BaseHTTPRequestHandler):
            status = 200

            def do_GET(self):
                known = (self.path, self.headers["Host"]) == ("/healthz", "localhost")
                self.send_response(Health.status if known else 421)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
            threading.Thread(target=server.serve_forever).start()
            Health.port = server.server_port
            yield Health
            server.shutdown()

    def test_without_a_console_there_is_nothing_to_ask(self, tmp_path):
        assert self.check(tmp_path, "gate: a\n").returncode == 0

    @pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
    def test_with_one_it_says_what_healthz_says(self, tmp_path, console, status, code):
        console.status = status
        said = self.check(tmp_path, f"console: {{enabled: true, port: {console.port}}}\n")
        assert said.returncode == code, said.stderr

    def test_a_console_that_does_not_answer_is_not_well(self, tmp_path):
        assert self.check(tmp_path, "console: {enabled: true, port: 9}\n").returncode == 1
