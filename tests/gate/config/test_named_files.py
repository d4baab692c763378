"""What `--validate-config` says of files that are named and cannot be read."""

import pytest

from mask_gate.gate.config.named_files import check_named_files
from mask_gate.gate.config.schema import parse_config
from mask_gate.gate.errors import ConfigError


def check(text):
    check_named_files(parse_config(text, "gate.yaml"))


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("hush\n")
    path.chmod(0o640)
    return path


def test_a_gate_that_names_none_is_right():
    check("")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("console: {enabled: true, password_file: FILE}", "console.password_file"),
        ("console: {enabled: true, kiosk_password_file: FILE}", "console.kiosk_password_file"),
        ("console: {enabled: true, metrics_token_file: FILE}", "console.metrics_token_file"),
        (
            "console: {enabled: true, guard_password_files: {kim: FILE}}",
            "console.guard_password_files.kim",
        ),
        ("mqtt: {host: broker, username: gate, password_file: FILE}", "mqtt.password_file"),
        (
            "relays: [{kind: webhook, url: 'https://door.example/', secret_file: FILE}]",
            "relays.0.secret_file",
        ),
    ],
)
def test_each_is_read_and_a_missing_one_is_told_by_its_key(text, key, tmp_path, secret):
    check(text.replace("FILE", str(secret)))
    with pytest.raises(ConfigError, match=rf"^{key}: .*gone") as told:
        check(text.replace("FILE", str(tmp_path / "gone")))
    assert told.value.exit_code == 2


@pytest.mark.parametrize("keys", ["password_file: FILE", "tls_certificate: FILE, tls_key: FILE"])
def test_a_secret_that_every_user_can_read_is_refused(keys, secret):
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match=r"^console\.(password_file|tls_key): .*chmod o="):
        check(f"console: {{enabled: true, {keys.replace('FILE', str(secret))}}}")


@pytest.mark.parametrize(
    ("rights", "said"),
    [(0o644, "console.tls_key: secret file .* open to every user"), (0o640, "cannot be used")],
)
def test_a_key_that_every_user_can_read_or_that_is_none_is_refused(secret, rights, said):
    secret.chmod(rights)
    with pytest.raises(ConfigError, match=said):
        check(f"console: {{enabled: true, tls_certificate: {secret}, tls_key: {secret}}}")


@pytest.mark.parametrize("name", ["secret", "gone"])
def test_certificates_to_trust_must_be_some(secret, name):
    with pytest.raises(ConfigError, match=r"^mqtt\.ca_file: .*(certificates|no such file)"):
        check(f"mqtt: {{host: broker, tls: true, ca_file: {secret.with_name(name)}}}")


def test_a_console_that_is_off_needs_none(tmp_path):
    check(f"console: {{password_file: {tmp_path / 'gone'}}}")
