"""Source: what the configured words for a camera mean, judged by the words alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlsplit

from mask_gate.gate.errors import ConfigError
from mask_gate.models.shipped import ASSETS

PIPELINE_MARK = "gst:"
URL_SCHEMES = ("rtsp", "rtsps", "http", "https")
DEMO_CLIP = ASSETS / "demo.mp4"

_INSTEAD = {
    "file": "; give the path of a file or folder without file://",
    "rtmp": "; most cameras and servers that have RTMP have RTSP too",
    "onvif": "; ask the camera's page for its RTSP address",
    "rtp": "; give the address of the RTSP session",
    "udp": "; have the sender serve it by RTSP",
    "gst": "; write gst: and the pipeline, without //",
    "srt": "; have the server serve it by RTSP",
}
_UNESCAPED = (
    "user or password seem to hold a # / or ?; write %23 for #, %2F for /, %3F for ?, %40 for @ "
    "and %25 for %, or give them as camera.user and camera.password_file in gate.yaml"
)


class SourceKind(StrEnum):
    """What the words for a camera can mean."""

    INDEX = "index"
    DEVICE = "device"
    URL = "url"
    PIPELINE = "pipeline"
    PATH = "path"
    PLUGIN = "plugin"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Source:
    """A camera as asked for.

    Attributes:
        kind: how to open it; whether a PATH is a file or a folder shows only then.
        address: what to open; a URL or pipeline holds its password here, and a plug-in's words
            begin with its name and a colon.
    """

    kind: SourceKind
    address: str

    def __str__(self) -> str:
        """The name for messages and logs: on one line, without credentials."""
        text = self.address
        if self.kind is SourceKind.URL:
            text = masked(text)
        elif self.kind is SourceKind.PLUGIN:
            text = f"plugin:{text}"
        elif self.kind is SourceKind.PIPELINE:
            text = masked_pipeline(f"{PIPELINE_MARK}{text}")
        return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text

    @property
    def has_login(self) -> bool:
        """Whether a URL brings user and password."""
        return self.kind is SourceKind.URL and "@" in urlsplit(self.address).netloc

    def with_login(self, user: str, password: str) -> Source:
        """The same URL with user and password in it, whatever characters they have.

        Raises:
            ConfigError: it is no URL, or has a login already.
        """
        if self.kind is not SourceKind.URL:
            raise ConfigError(f"is for cameras with a URL, and the source is {self}")
        if self.has_login:
            raise ConfigError("the URL has a user already; leave that out, or this")
        scheme, _, rest = self.address.partition("://")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return Source(self.kind, f"{scheme}://{login}@{rest}")

    __repr__ = __str__  # a password must not get out through a dataclass's own repr either


def parse_source(text: str) -> Source:
    """Say what kind of source `text` names; looks at nothing but the text.

    Raises:
        ConfigError: empty, a negative index, control characters, a URL of another scheme, or a
            pipeline that leads nowhere.
    """
    words = text.strip()
    if not words:
        raise ConfigError(
            "is empty; give an index (0), a device path, a URL, a video file, a folder of "
            "images, or demo"
        )
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in words):
        raise ConfigError("holds control characters; give one plain line")
    if words == "demo":
        return Source(SourceKind.DEMO, str(DEMO_CLIP))
    if re.fullmatch(r"[0-9]{1,3}", words, re.ASCII):
        return Source(SourceKind.INDEX, str(int(words)))
    if re.fullmatch(r"-[0-9]+", words):
        raise ConfigError(f"expected an index of 0 or more, got {words}; try 0")
    if words.startswith(PIPELINE_MARK) and not words.startswith(f"{PIPELINE_MARK}//"):
        return Source(SourceKind.PIPELINE, _checked_pipeline(words.removeprefix(PIPELINE_MARK)))
    if words.startswith("plugin:"):
        return Source(SourceKind.PLUGIN, _checked_plugin(words.removeprefix("plugin:")))
    if "://" in words:
        return Source(SourceKind.URL, _checked_url(words))
    if words.startswith("/dev/"):
        return Source(SourceKind.DEVICE, words)
    return Source(SourceKind.PATH, words)


def _checked_pipeline(pipeline: str) -> str:
    """The pipeline itself, if it hands pictures over.

    Raises:
        ConfigError: it does not.
    """
    if not re.search(r"!\s*appsink\b", pipeline):
        raise ConfigError(
            f"{masked_pipeline(pipeline).strip()!r:.80}: a pipeline has to end in "
            "`! videoconvert ! appsink drop=true max-buffers=1`, which hands over its newest "
            "picture"
        )
    return pipeline.strip()


def masked_pipeline(pipeline: str) -> str:
    """The pipeline with every value replaced by ***."""
    return re.sub(r"""=\s*("[^"]*"|'[^']*'|\S+)""", "=***", pipeline)


def _checked_plugin(words: str) -> str:
    if not re.match(r"[\w.-]+(:|$)", words):
        raise ConfigError(f"expected plugin:NAME or plugin:NAME:WORDS, got plugin:{words!r:.80}")
    return words


def _checked_url(url: str) -> str:
    """The URL itself if a camera may be asked for it.

    Raises:
        ConfigError: another scheme than a camera speaks, no host, or a port out of range.
    """
    scheme = url.split("://", 1)[0].lower()
    if scheme not in URL_SCHEMES:
        shown = scheme if scheme.isalnum() else "this kind of"
        raise ConfigError(
            f"{shown} URLs are not played; expected one of "
            f"{', '.join(name + '://' for name in URL_SCHEMES)}"
            f"{_INSTEAD.get(scheme, '')}"
        )
    if _holds_loose_letters(url):
        raise ConfigError(f"{masked(url)}: {_UNESCAPED}")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises when it is no port
    except ValueError:
        raise ConfigError(
            f"{masked(url)}: not a valid URL; expected {scheme}://host:port/path"
        ) from None  # its words would quote parts of the URL
    if not host:
        raise ConfigError(f"{masked(url)}: no host; expected {scheme}://host:port/path")
    return url


def _holds_loose_letters(url: str) -> bool:
    """Whether a # / or ? of a password seems to end the host before it begins."""
    place, *rest = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)
    if not rest or "@" not in rest[0]:
        return False
    is_host = re.fullmatch(r"(\[[^\]]*\]|[^:@]*)(:[0-9]*)?", place) is not None
    return "@" in url.partition("#")[2] or not (is_host or "@" in place)


def masked(url: str) -> str:
    """The URL with user, password and every value in path and query replaced by ***."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    _, at, host = place.rpartition("@")
    if "@" in rest[len(place) :]:  # perhaps a password with an unescaped / in it: show nothing
        return f"{scheme}://***"
    # Cameras take passwords in the path too: rtsp://host/user=admin&password=secret&channel=1
    path, question, query = rest[len(place) :].partition("#")[0].partition("?")
    path = re.sub(r"=[^&;/]*", "=***", path)
    query = re.sub(r"=[^&;]*", "=***", query)
    if query and "=" not in query:
        query = "***"
    return f"{scheme}://{'***@' if at else ''}{host}{path}{question}{query}"
