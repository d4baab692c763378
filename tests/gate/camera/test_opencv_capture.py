"""OpenCV's captures: real files through FFmpeg, and which node a device's link leads to."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import pytest

from mask_gate.gate.camera import opencv_capture
from mask_gate.gate.camera.camera import open_camera
from mask_gate.gate.camera.capture_process import open_capture
from mask_gate.gate.camera.capture_word import Word
from mask_gate.gate.camera.opencv_capture import open_device, open_stream
from mask_gate.gate.camera.source import Source, SourceKind, parse_source
from mask_gate.gate.errors import CameraError

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def clip(tmp_path, fake_cameras):
    """Forty numbered pictures, each described by its difference from the one before."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (256, 64))
    assert writer.isOpened()
    for number in range(40):
        writer.write(fake_cameras.numbered(number))
    writer.release()
    return path


class TestAStream:
    def test_gives_its_pictures_with_their_stamps(self, clip, fake_cameras):
        capture = open_stream(str(clip))
        found = []
        while capture.grab() is not None:
            found.append((fake_cameras.number_in(capture.retrieve()), capture.stamp_s()))
        capture.release()
        assert [number for number, _ in found] == list(range(40))
        assert [stamp_s for _, stamp_s in found] == pytest.approx([n / 25 for n in range(40)])
        assert capture.is_inter_coded

    def test_that_is_not_there_is_none(self, tmp_path):
        assert open_stream(str(tmp_path / "nothing.mp4")) is None

    def test_with_pictures_too_large_is_none_before_any_is_decoded(self, clip, monkeypatch):
        monkeypatch.setattr(opencv_capture, "MAX_PIXELS", 256 * 64 - 1)
        assert open_stream(str(clip)) is None


DAMAGED = """
import os, sys
from contextlib import closing
sys.path.insert(0, sys.argv[2])
from fake_camera import number_in
from mask_gate.gate.camera.capture_process import Capturer, Word
from mask_gate.gate.camera.decoder_errors import DecoderErrors
from mask_gate.gate.camera.frame_buffer import FrameBuffer
from mask_gate.gate.camera.opencv_capture import OpencvCapture, open_stream, prepare_capture

answer = os.dup(1)
complaints = DecoderErrors()
prepare_capture()
OpencvCapture.stamp_s = lambda self: None  # a file comes faster than it was taken
buffer = FrameBuffer.allocate()

def say(word):
    if word is Word.FRAME:
        frame = buffer.newest(0)
        os.write(answer, b"%d %d\\n" % (frame.index - 1, number_in(frame.image)))

opener = lambda: open_stream(sys.argv[1])
Capturer(opener, buffer, say, complaints.heard, max_age_s=0.5).attempt()
"""


class TestDamage:
    def given(self, path):
        """(place in the file, number in the picture) of each frame that a capturer gives."""
        ended = subprocess.run(
            [sys.executable, "-c", DAMAGED, str(path), str(Path(__file__).parent)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
        return [tuple(map(int, line.split())) for line in ended.stdout.splitlines()]

    def test_in_one_picture_costs_those_up_to_the_next_key_frame(self, clip):
        sound = self.given(clip)
        assert sound == [(number, number) for number in range(40)]
        data = clip.read_bytes()
        begins = [found.start() for found in re.finditer(b"\x00\x00\x01\xb6", data)]
        hurt, after = begins[15], begins[16]
        size = after - 1 - (hurt + 12)
        clip.write_bytes(data[: hurt + 12] + b"\xaa" * size + data[after - 1 :])
        assert self.given(clip) == sound[:15] + sound[24:]  # every twelfth is a key frame


@pytest.fixture
def opened(monkeypatch):
    """The arguments of each opening; none of them succeeds."""
    asked = []

    class NoCapture:
        def __init__(self, *arguments):
            asked.append(arguments)

        def isOpened(self):  # noqa: N802
            return False

        def get(self, prop):
            return 0.0

        def set(self, prop, value):
            return False

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", NoCapture)
    return asked


class TestADevice:
    def test_is_looked_up_behind_its_link_at_each_opening(self, tmp_path, opened):
        nodes = [tmp_path / "video0", tmp_path / "video2"]
        for node in nodes:
            node.touch()
        link = tmp_path / "by-id"
        source = Source(SourceKind.DEVICE, str(link))
        for node in nodes:  # unplugged, and back as another one
            link.unlink(missing_ok=True)
            link.symlink_to(node)
            assert open_device(source) is None
        assert [Path(arguments[0]) for arguments in opened] == nodes

    def test_by_index_is_that_number(self, opened):
        assert open_device(Source(SourceKind.INDEX, "3")) is None
        assert opened[0][0] == 3

    def test_that_is_away_is_none(self, tmp_path):
        assert open_device(Source(SourceKind.DEVICE, str(tmp_path / "video9"))) is None


class TestAPipeline:
    SOURCE = "gst:videotestsrc ! video/x-raw,width=64,height=48 ! videoconvert ! appsink"
    HAS_GSTREAMER = cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)

    def test_without_gstreamer_says_what_is_missing_and_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda backend: False)
        with pytest.raises(
            CameraError, match=r"built with GStreamer.*python3-opencv.*RTSP"
        ) as told:
            open_camera(self.SOURCE)
        assert told.value.exit_code == 3

    def test_is_given_to_gstreamer_with_limits(self, opened):
        assert open_capture(parse_source(self.SOURCE)) is None
        pipeline, backend, limits = opened[0]
        assert (pipeline, backend) == (self.SOURCE.removeprefix("gst:"), cv2.CAP_GSTREAMER)
        assert {cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC} <= set(limits)

    @pytest.mark.skipif(
        not HAS_GSTREAMER,
        reason="needs OpenCV built with GStreamer, as apt-get install python3-opencv brings",
    )
    def test_gives_pictures_where_opencv_has_gstreamer(self):
        with contextlib.closing(open_camera(self.SOURCE, first_frame_s=60.0)) as camera:
            assert camera.read(60.0).image.shape == (48, 64, 3)


REFUSED = """
import sys
from mask_gate.gate.camera.capture_process import _open_or_say_why
from mask_gate.gate.camera.decoder_errors import DecoderErrors
from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.opencv_capture import prepare_capture
from mask_gate.gate.camera.source import Source, SourceKind
import os
answer = os.dup(1)
complaints = DecoderErrors()
prepare_capture()
for url in sys.argv[1:]:
    try:
        _open_or_say_why(Source(SourceKind.URL, url), complaints)
    except StreamError as error:
        os.write(answer, error.word.name.encode() + b" ")
"""


class TestWhatFfmpegSays:
    @pytest.fixture
    def rtsp(self):
        """Starts a server of RTSP that answers every DESCRIBE with one status."""
        listeners = []

        def start(status):
            listener = socket.create_server(("127.0.0.1", 0))
            listeners.append(listener)

            def talk(connection):
                with contextlib.suppress(OSError), connection:
                    while request := connection.recv(65536):
                        number = re.search(rb"CSeq: *(\d+)", request)[1]
                        said = status if request.startswith(b"DESCRIBE") else b"200 OK"
                        challenge = b'WWW-Authenticate: Digest realm="x", nonce="y"\r\n'
                        head = b"RTSP/1.0 %b\r\nCSeq: %b\r\nPublic: DESCRIBE\r\n%b\r\n"
                        connection.sendall(head % (said, number, challenge))

            def run():
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        threading.Thread(target=talk, args=(connection,), daemon=True).start()

            threading.Thread(target=run, daemon=True).start()
            return f"127.0.0.1:{listener.getsockname()[1]}/door"

        yield start
        for listener in listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()

    def test_of_a_stream_it_cannot_open_becomes_its_word(self, rtsp):
        locked = rtsp(b"401 Unauthorized")
        urls = [
            f"rtsp://user:wrong@{locked}", f"rtsp://{locked}", f"rtsp://{rtsp(b'404 Not Found')}",
            f"rtsp://{rtsp(b'453 Not Enough Bandwidth')}", f"rtsp://{rtsp(b'500 Error')}",
            "rtsp://127.0.0.1:9/",
        ]  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-c", REFUSED, *urls],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
        words = [Word.REFUSED, Word.LOGIN_WANTED, Word.MISSING, Word.BUSY, Word.FAULTY,
                 Word.UNREACHED]  # fmt: skip
        assert ended.stdout.decode().split() == [word.name for word in words]
