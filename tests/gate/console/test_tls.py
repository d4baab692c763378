"""The console over TLS, set up as docs/console.md says: a real certificate, and who checks it."""

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import time
import warnings

import httpx
import pytest

from mask_gate.gate.commands.gate import main
from mask_gate.gate.config.schema import parse_config
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.console.login import write_password
from mask_gate.gate.console.process import Console
from mask_gate.gate.console.wire import DoorSettings, ServerSettings
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.runtime.parts import aim_limits

pytest.importorskip("uvicorn", reason="needs the console extra: pip install -e '.[console]'")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        shutil.which("openssl") is None, reason="apt-get install openssl to make a certificate"
    ),
]

NAME = "gate.example.org"
PASSWORD = "password for this test"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What an installer puts into /etc/mask-gate."""
    folder = tmp_path_factory.mktemp("mask-gate")
    write_password(folder / "guard", PASSWORD)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def written(folder, repo_root):
    """The block of docs/console.md for other machines, word for word but for folder and port."""
    text = (repo_root / "docs/console.md").read_text()
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", text, re.S) if "tls_key" in b]
    return block.replace("/etc/mask-gate", str(folder)).replace("host:", "port: 0\n  host:")


@contextlib.contextmanager
def console_of(text):
    said = []
    config = parse_config(text, "gate.yaml")
    settings = ServerSettings(
        gate="lobby",
        language="en",
        console=config.console,
        privacy=config.privacy,
        doors={"": DoorSettings(gate="lobby", config={}, aim=aim_limits(config))},
        password=None,
    )
    with contextlib.closing(Console(settings, [ConsoleFeed(0)], said.append)) as console:
        yield console, said


@pytest.fixture(scope="module")
def port(written):
    with console_of(written) as (console, said):
        assert console.wait_until_served(PATIENCE_S)
        assert said == [f"console: {console.address}"]
        assert console.address.startswith(f"https://{NAME}:")  # whom the certificate is for
        yield int(console.address.rstrip("/").rsplit(":", 1)[1])


@pytest.fixture
def client(port, folder):
    """Asks for the gate by its name, and takes no other certificate than its own."""
    with httpx.Client(
        verify=ssl.create_default_context(cafile=str(folder / "tls.crt")),
        base_url=f"https://127.0.0.1:{port}",
        headers={"Host": f"{NAME}:{port}", "Origin": f"https://{NAME}:{port}"},
        timeout=PATIENCE_S,
    ) as client:
        yield client


BY_NAME = {"sni_hostname": NAME}


def test_a_guard_logs_in(client):
    assert client.get("/api/state", extensions=BY_NAME).status_code == 401
    answer = client.post("/login", data={"password": PASSWORD}, extensions=BY_NAME)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("secure", "httponly", "samesite=strict"))
    cookies = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    state = client.get("/api/state", headers=cookies, extensions=BY_NAME)
    assert state.status_code == 200
    assert state.json()["door"] == "locked"


def test_a_page_that_came_without_tls_may_not_log_in(client, port):
    plain = {"Origin": f"http://{NAME}:{port}"}
    answer = client.post("/login", data={"password": PASSWORD}, headers=plain, extensions=BY_NAME)
    assert answer.status_code == 403


def test_browsers_are_told_to_ask_by_tls_alone_where_the_name_is_the_gates_own(client, port):
    told = client.get("/login", extensions=BY_NAME).headers
    assert told["strict-transport-security"] == "max-age=31536000"
    ours = {"Host": f"localhost:{port}"}  # other programs of this machine have that name too
    answer = client.get("/login", headers=ours, extensions=BY_NAME)
    assert answer.status_code == 200
    assert "strict-transport-security" not in answer.headers


def test_who_asks_without_tls_is_told_nothing(port):
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain:
        plain.sendall(f"GET /login HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := plain.recv(4096):
                answer += data
    assert b"HTTP" not in answer
    assert b"password" not in answer


def test_a_client_that_does_not_know_the_certificate_does_not_talk(port):
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=NAME)


def test_a_client_that_wants_another_name_does_not_talk(port, folder):
    context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example\.org"),
    ):
        context.wrap_socket(plain, server_hostname="other.example.org")


def test_old_tls_is_refused(port, folder):
    context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which is what it is about
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname=NAME)


@pytest.mark.parametrize("wrong", ["missing", "no key", "of another", "locked", "open"])
def test_what_cannot_be_served_with_is_named_and_nothing_is_served(
    wrong, written, folder, tmp_path, caplog
):
    key = tmp_path / "tls.key"
    if wrong == "no key":
        key.write_text("not a key\n")
    elif wrong == "of another":
        command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run([*command, "-out", str(key)], check=True, capture_output=True)
    elif wrong == "locked":
        command = ["openssl", "ec", "-in", str(folder / "tls.key"), "-aes256"]
        subprocess.run(
            [*command, "-passout", "pass:x", "-out", str(key)], check=True, capture_output=True
        )
    elif wrong == "open":
        key.write_bytes((folder / "tls.key").read_bytes())
    if key.exists():
        key.chmod(0o644 if wrong == "open" else 0o600)

    def told(log):
        return re.search(rf"console\.tls_key: .*{re.escape(str(key))}", log)

    text = written.replace(str(folder / "tls.key"), str(key))
    with console_of(text) as (console, _):
        end_s = time.monotonic() + PATIENCE_S
        while not told(caplog.text) and time.monotonic() < end_s:
            time.sleep(0.05)
        assert not console.wait_until_served(0.0)
    assert told(caplog.text)
    assert "Traceback" not in caplog.text


def test_others_are_not_served_without_tls(written, tmp_path, capsys):
    """The command itself refuses, before anything is started."""
    path = tmp_path / "gate.yaml"
    path.write_text(re.sub(r"  tls_\w+:.*\n", "", written))
    assert main(["--config", str(path)]) == ConfigError.exit_code
    assert "tls_certificate: needed" in capsys.readouterr().err
