"""What the words after `--camera` mean; nothing is opened here."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera.source import DEMO_CLIP, Source, SourceKind, masked, parse_source
from mask_gate.gate.errors import ConfigError


def test_words_name_a_source():
    for words, kind, address in [
        ("0", SourceKind.INDEX, "0"),
        (" 12 ", SourceKind.INDEX, "12"),
        ("007", SourceKind.INDEX, "7"),
        ("/dev/video2", SourceKind.DEVICE, "/dev/video2"),
        ("/dev/v4l/by-id/usb-cam-index0", SourceKind.DEVICE, "/dev/v4l/by-id/usb-cam-index0"),
        ("rtsp://cam:554/live", SourceKind.URL, "rtsp://cam:554/live"),
        ("rtsps://cam/live", SourceKind.URL, "rtsps://cam/live"),
        ("HTTP://cam/video.mjpg", SourceKind.URL, "HTTP://cam/video.mjpg"),
        ("https://[::1]:8443/v", SourceKind.URL, "https://[::1]:8443/v"),
        ("clip.mp4", SourceKind.PATH, "clip.mp4"),
        ("2024", SourceKind.PATH, "2024"),
        ("입구 영상/", SourceKind.PATH, "입구 영상/"),
        ("./demo", SourceKind.PATH, "./demo"),
        ("gst: v4l2src ! appsink", SourceKind.PIPELINE, "v4l2src ! appsink"),
        ("demo", SourceKind.DEMO, str(DEMO_CLIP)),
    ]:
        assert parse_source(words) == Source(kind, address)


def test_other_words_are_refused_with_a_sentence():
    for words, told in [
        ("", "empty"),
        ("   ", "empty"),
        ("-1", "0 or more"),
        ("file:///etc/passwd", "file URLs are not played"),
        ("ftp://host/clip.mp4", "ftp URLs are not played"),
        ("rtmp://host/live", "rtsp://"),
        ("concat+x://a", "this kind of URLs"),
        ("http://", "no host"),
        ("rtsp://:554/live", "no host"),
        ("rtsp://cam:99999/live", "not a valid URL"),
        ("rtsp://cam:door/live", "not a valid URL"),
        ("http://[::1/live", "not a valid URL"),
        ("rtsp://admin:pa#ss@cam/live", "write %23 for #"),
        ("rtsp://admin:p@ss#1@127.0.0.1:554/stream1", "%40 for @"),
        ("rtsp://admin:12#34@cam/live", "%23"),
        ("rtsp://admin:p/ss@cam/live", "%2F for /"),
        ("rtsp://admin:p?ss@cam/live", "camera.password_file"),
        ("file:///tmp/x.mp4", "without file://"),
        ("rtmp://host/live", "RTSP too"),
        ("gst://videotestsrc", "without //"),
        ("gst:", "appsink"),
        ("gst:videotestsrc ! autovideosink", "end in `! videoconvert ! appsink"),
        ("gst:rtspsrc user-pw=pa55 ! fakesink", "'rtspsrc user-pw=*** ! fakesink'"),
        ("cam\nera", "control characters"),
        ("cam\x1b[31m", "control characters"),
    ]:
        with pytest.raises(ConfigError) as refused:
            parse_source(words)
        assert told in str(refused.value)
        assert refused.value.exit_code == 2


def test_the_values_of_a_pipeline_are_hidden():
    for words, shown in [
        ("gst:v4l2src ! appsink", "gst:v4l2src ! appsink"),
        ("gst:rtspsrc user-pw=pa55 ! appsink", "gst:rtspsrc user-pw=*** ! appsink"),
        ('gst:rtspsrc user-pw="a b" user-id= me ! appsink',
         "gst:rtspsrc user-pw=*** user-id=*** ! appsink"),
    ]:  # fmt: skip
        assert str(parse_source(words)) == shown


def test_credentials_are_hidden():
    for url, shown in [
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:pw@cam:554/live", "rtsp://***@cam:554/live"),
        ("rtsp://admin@cam/live", "rtsp://***@cam/live"),
        ("rtsp://u:p@ss@cam/live", "rtsp://***@cam/live"),
        ("rtsp://u:p/ss@cam/live", "rtsp://***"),
        ("http://cam/v.cgi?user=u&pwd=p#x", "http://cam/v.cgi?user=***&pwd=***"),
        ("http://cam/v.cgi?token", "http://cam/v.cgi?***"),
        ("http://cam/v?mail=a@b&pwd=p", "http://***"),
        ("rtsp://cam/user=u&password=p&channel=1", "rtsp://cam/user=***&password=***&channel=***"),
    ]:
        assert masked(url) == shown


def test_a_login_beside_the_url_may_hold_any_letter():
    for password in ("S3cret", "p@ss#1", "a/b?c%41:d&[e]", " 관리자 ", "%23"):
        source = parse_source("rtsp://cam:554/live?x=1").with_login("ad:min", password)
        parts = urlsplit(source.address)
        assert (unquote(parts.username), unquote(parts.password)) == ("ad:min", password)
        assert (parts.hostname, parts.port, parts.path, parts.query) == ("cam", 554, "/live", "x=1")
        assert str(source) == "rtsp://***@cam:554/live?x=***"
        assert source.has_login


def test_an_unescaped_at_in_a_password_is_understood():
    source = parse_source("http://admin:p@ss@cam/live")
    assert (urlsplit(source.address).password, urlsplit(source.address).hostname) == ("p@ss", "cam")
    assert parse_source("http://cam:80/v?mail=a@b").kind is SourceKind.URL


@pytest.mark.parametrize("words", ["0", "clip.mp4", "demo", "rtsp://user@cam/live"])
def test_a_login_is_for_a_url_that_has_none(words):
    with pytest.raises(ConfigError):
        parse_source(words).with_login("admin", "S3cret")


def messages_about(url: str) -> str:
    try:
        source = parse_source(url)
    except ConfigError as refused:
        return str(refused)
    return f"{source} {source!r}"


@given(st.text("abc:/?#@&=;%[]. ", max_size=8), st.text("abc:/?#@&=;%[]. ", max_size=8))
def test_no_message_ever_shows_a_password(before, after):
    password = f"{before}S3cret{after}"
    assert "S3cret" not in messages_about(f"rtsp://admin:{password}@cam.example/live")
    assert "S3cret" not in messages_about(f"http://{password}:x@cam.example/live")


@given(st.text("abc:/?@=%[]. ", max_size=8), st.text("abc:/?#@&=;%[]. ", max_size=8))
def test_no_message_ever_shows_a_password_in_the_query(before, after):
    password = f"{before}S3cret{after}"
    assert "S3cret" not in messages_about(f"http://cam.example/v?user=admin&pwd={password}")


def test_a_name_that_does_not_print_is_shown_escaped():
    assert str(Source(SourceKind.PATH, "clip‮.mp4")) == "clip\\u202e.mp4"
    assert str(Source(SourceKind.PATH, "입구.mp4")) == "입구.mp4"
