"""The audit's settings: strict, and a file that cannot be mistaken for anybody else's."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mask_gate.gate.audit.config import AuditConfig, default_audit_path
from mask_gate.gate.errors import ConfigError


def test_by_default_nothing_opens_unrecorded_and_rows_are_kept_for_a_year():
    config = AuditConfig()
    assert (config.path, config.required, config.keep_days, config.wait_s) == (
        None,
        True,
        365.0,
        0.25,
    )


def test_a_database_file_is_taken():
    for path in ["a.sqlite", "/var/lib/mask-gate/입구 1.db", "x/y.sqlite3"]:
        assert AuditConfig(path=path).path == path


def test_a_path_that_is_no_database_file_is_refused():
    for path in ["", "/etc/passwd", ".sqlite", "a/.db", "a\n.db", "a.sqlite\n"]:
        with pytest.raises(ValidationError, match="path"):
            AuditConfig(path=path)


def test_a_value_out_of_range_is_refused():
    for values in [
        {"keep_days": 0.5},
        {"keep_days": float("nan")},
        {"wait_s": 0.0},
        {"wait_s": 3.0},
        {"required": "no"},
        {"pth": "a.db"},
    ]:
        with pytest.raises(ValidationError):
            AuditConfig(**values)


def test_the_default_file_lies_where_the_system_keeps_state():
    for environment, path in [
        ({"STATE_DIRECTORY": "/var/lib/mask-gate", "HOME": "/h"}, "/var/lib/mask-gate/east.sqlite"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/east.sqlite"),
        ({"XDG_STATE_HOME": "/state", "HOME": "/h"}, "/state/mask-gate/east.sqlite"),
        ({"XDG_STATE_HOME": "not/absolute", "HOME": "/h"}, "/h/.local/state/mask-gate/east.sqlite"),
    ]:
        assert default_audit_path("east", environment) == Path(path)


def test_a_name_that_leads_elsewhere_is_refused():
    for gate in ["", "../x", "a/b", ".hidden", "a\nb", "x" * 65]:
        with pytest.raises(ConfigError, match="gate: expected a name"):
            default_audit_path(gate, {"HOME": "/h"})


def test_without_a_home_a_path_must_be_given():
    with pytest.raises(ConfigError, match=r"audit\.path: no home folder is known"):
        default_audit_path("east", {})
