"""Cameras and clips: real files, and a real little MJPEG server that can misbehave."""

import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from gate.camera import LiveCamera, PacedCamera, ReplayCamera, open_camera
from gate.clip import DEFAULT_FPS, VideoClip, picture_paths
from gate.errors import CameraError, ConfigError
from gate.source import DEMO_CLIP, Source, SourceKind

PATIENCE_S = 15.0  # the machine may be busy; nothing here is a claim about speed
BITS = 16
ROOT = Path(__file__).resolve().parents[2]


def until(condition, within_s=PATIENCE_S):
    end_s = time.monotonic() + within_s
    while not (met := condition()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return met


def numbered(number):
    """A picture [64, 256, 3] that carries a number: sixteen stripes, black for 0, white for 1."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    stripes = np.repeat(np.array(bits, np.uint8) * 200 + 20, 256 // BITS)
    return np.dstack([np.tile(stripes, (64, 1))] * 3)


def number_in(image):
    width = image.shape[1] // BITS
    stripes = image.mean(axis=(0, 2)).reshape(BITS, width).mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(stripes) if level > 120)


class FakeCam:
    """An HTTP camera on the loopback device; `mode` is one of ok, stall, close, silent."""

    def __init__(self, fps=30):
        self.fps = fps
        self.mode = "ok"
        self.sent_s = []
        self.connections = 0
        self._listener = None
        self._port = 0
        self.appear()

    @property
    def url(self):
        return f"http://admin:S3cret@127.0.0.1:{self._port}/video.mjpg"

    def appear(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen()
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def vanish(self):
        """Connections are refused from now on."""
        self.mode = "close"
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener):
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with suppress(OSError), connection:
            connection.recv(4096)
            while self.mode == "silent":
                time.sleep(0.02)
            connection.sendall(
                b"HTTP/1.0 200 OK\r\n"
                b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            )
            while self.mode != "close":
                if self.mode == "ok":
                    jpeg = cv2.imencode(".jpg", numbered(len(self.sent_s)))[1].tobytes()
                    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                    self.sent_s.append(time.monotonic())
                    connection.sendall(head % len(jpeg) + jpeg + b"\r\n")
                time.sleep(1 / self.fps)


@pytest.fixture
def fake_cam():
    cam = FakeCam()
    yield cam
    cam.vanish()


@contextmanager
def opened(source, **options):
    with closing(open_camera(source, **options)) as camera:
        yield camera


def frames_of(camera):
    """Every frame up to the end."""
    while not camera.ended:
        if (frame := camera.read(0.5)) is not None:
            yield frame


def frames_again(camera):
    return until(lambda: camera.read(0.2))


class TestAnHttpCamera:
    def test_gives_fresh_frames_in_order(self, fake_cam):
        with opened(fake_cam.url) as camera:
            frames = list(itertools.islice(frames_of(camera), 8))
            assert camera.is_live
            assert not camera.ended
        assert all(frame.image.shape == (64, 256, 3) for frame in frames)
        numbers = [number_in(frame.image) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert [f.index for f in frames] == sorted({f.index for f in frames})
        assert [f.time_s for f in frames] == sorted({f.time_s for f in frames})

    def test_a_slow_consumer_gets_the_newest_frame_not_a_stored_one(self, fake_cam):
        ages_s, gaps = [], []
        with opened(fake_cam.url) as camera:
            first = camera.read(PATIENCE_S)
            for _ in range(3):
                time.sleep(0.5)
                frame = camera.read(PATIENCE_S)
                ages_s.append(time.monotonic() - fake_cam.sent_s[number_in(frame.image)])
                gaps.append(frame.index - first.index)
                first = frame
        # Read from a buffer, each would be older than the one before: 0.5 s, 1.0 s, 1.5 s.
        assert min(ages_s) < 0.3
        assert max(gaps) > 1  # the drops show

    def test_a_stalled_stream_is_noticed_and_recovers(self, fake_cam, caplog):
        with opened(fake_cam.url) as camera, caplog.at_level(logging.INFO, "gate.camera"):
            before = camera.read(PATIENCE_S)
            fake_cam.mode = "stall"
            assert until(lambda: camera.read(0.05) is None)
            assert not camera.ended
            assert until(lambda: "is lost" in caplog.text)
            fake_cam.mode = "ok"
            after = frames_again(camera)
        assert after.index > before.index
        assert after.time_s > before.time_s
        told = [record.getMessage() for record in caplog.records]
        assert [message.rsplit(" is ")[1].split(";")[0] for message in told] == ["lost", "back"]
        assert "S3cret" not in caplog.text

    def test_a_closed_connection_is_opened_again(self, fake_cam):
        with opened(fake_cam.url) as camera:
            assert camera.read(PATIENCE_S)
            fake_cam.mode = "close"
            assert until(lambda: fake_cam.connections >= 2)
            fake_cam.mode = "ok"
            newest = len(fake_cam.sent_s)
            assert until(lambda: (frame := camera.read(0.2)) and number_in(frame.image) > newest)

    def test_a_camera_that_refuses_for_a_while_comes_back(self, fake_cam):
        with opened(fake_cam.url) as camera:
            assert camera.read(PATIENCE_S)
            fake_cam.vanish()
            assert until(lambda: camera.read(0.2) is None)
            fake_cam.mode = "ok"
            fake_cam.appear()
            assert frames_again(camera)

    def test_one_that_is_not_there_is_told_in_a_sentence(self, fake_cam):
        fake_cam.vanish()
        with pytest.raises(CameraError, match=r"no picture from http://\*\*\*@127") as told:
            open_camera(fake_cam.url, first_frame_s=0.3)
        assert told.value.exit_code == 3
        assert "tries in 0.3 s" in str(told.value)
        assert "check that it is on" in str(told.value)
        assert "password" in str(told.value)
        assert "S3cret" not in str(told.value)

    def test_one_that_accepts_and_never_answers_is_not_waited_for(self, fake_cam):
        fake_cam.mode = "silent"
        with pytest.raises(CameraError, match="no picture"):
            open_camera(fake_cam.url, first_frame_s=0.3)


class FakeCapture:
    """A device that gives what is in `pictures`, then acts as `at_end` says."""

    def __init__(self, *pictures, at_end=lambda: False):
        self._pictures = list(pictures)
        self._at_end = at_end
        self.released = False

    def grab(self):
        return True if self._pictures else self._at_end()

    def retrieve(self):
        return True, self._pictures.pop(0)

    def release(self):
        self.released = True


def wait_forever():
    time.sleep(0.01)
    return False


def opener_of(*captures):
    """Opens one after the other; a None among them is a device that could not be opened."""
    left = list(captures)
    return lambda: left.pop(0) if left else None


PICTURE = np.full((48, 64, 3), 90, np.uint8)


class TestALiveDevice:
    def test_is_reopened_after_failures_and_every_capture_is_released(self):
        captures = [FakeCapture(PICTURE), FakeCapture(PICTURE, PICTURE), FakeCapture(PICTURE)]
        opener = opener_of(captures[0], None, captures[1], None, captures[2])
        with closing(LiveCamera(opener, "cam")) as camera:
            seen = []
            assert until(lambda: seen.append(camera.read(0.1)) or captures[2].released)
        assert sum(frame is not None for frame in seen) >= 3
        assert all(capture.released for capture in captures)

    @pytest.mark.parametrize(
        "image",
        [
            None,
            np.zeros((1, 1, 3), np.uint8),
            np.zeros((8, 640, 3), np.uint8),
            np.zeros((48, 64, 3), np.uint16),
            np.zeros(64, np.uint8),
            np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3)),
        ],
        ids=["nothing", "one pixel", "a line", "16 bit", "flat", "huge"],
    )
    def test_what_cannot_be_a_picture_is_dropped(self, image):
        with closing(LiveCamera(opener_of(FakeCapture(image, PICTURE)), "cam")) as camera:
            frame = camera.read(PATIENCE_S)
            assert frame.image.shape == PICTURE.shape
            assert frame.index == 2  # the drop shows

    @pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 4)])
    def test_grey_and_four_channels_become_bgr(self, shape):
        capture = FakeCapture(np.full(shape, 90, np.uint8))
        with closing(LiveCamera(opener_of(capture), "cam")) as camera:
            assert np.array_equal(camera.read(PATIENCE_S).image, PICTURE)

    def test_a_frame_nobody_came_for_is_not_given_out_late(self):
        now_s = [100.0]
        capture = FakeCapture(PICTURE, at_end=wait_forever)
        camera = LiveCamera(opener_of(capture), "cam", max_age_s=0.5, clock=lambda: now_s[0])
        with closing(camera):
            assert until(lambda: capture.released)
            now_s[0] = 100.6
            assert camera.read(0.0) is None

    def test_an_error_inside_opencv_counts_as_a_loss(self):
        def breaks():
            raise cv2.error("select() failed")

        opener = opener_of(FakeCapture(at_end=breaks), FakeCapture(PICTURE))
        with closing(LiveCamera(opener, "cam")) as camera:
            assert camera.read(PATIENCE_S)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_reader_that_breaks_down_is_never_silent(self):
        def breaks():
            raise RuntimeError("a bug")

        with closing(LiveCamera(breaks, "cam")) as camera:
            with pytest.raises(CameraError, match="thread that reads cam broke down"):
                camera.read(PATIENCE_S)
            assert camera.ended

    def test_one_without_a_picture_is_told_in_its_own_words(self, monkeypatch):
        monkeypatch.setattr("gate.camera._open_device", lambda device: None)
        monkeypatch.setattr("gate.camera.Path.exists", lambda path: True)
        with pytest.raises(CameraError, match=r"^no picture from camera 0 after") as told:
            open_camera("0", first_frame_s=0.1)
        assert "group video" in str(told.value)
        assert "password" not in str(told.value)

    def test_close_ends_reading_and_may_be_called_twice(self):
        capture = FakeCapture(PICTURE, at_end=lambda: not time.sleep(0.01))
        capture.retrieve = lambda: (True, PICTURE)
        camera = LiveCamera(opener_of(capture), "cam")
        for frame in frames_of(camera):
            assert frame.image is PICTURE
            camera.close()
        camera.close()
        assert camera.ended
        assert camera.read(1.0) is None
        assert capture.released


def write_clip(path, count=12, fps=20.0, codec="MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (256, 64))
    assert writer.isOpened()
    for number in range(count):
        writer.write(numbered(number))
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.avi")


def numbers_of(frames):
    return [number_in(frame.image) for frame in frames]


class TestAVideoFile:
    @pytest.mark.parametrize(
        ("name", "codec"), [("a.avi", "MJPG"), ("b.mp4", "mp4v"), ("입구 1%02d.mkv", "mp4v")]
    )
    def test_unpaced_gives_every_picture_with_its_time(self, tmp_path, name, codec):
        path = write_clip(tmp_path / "plain.avi", codec="MJPG")
        path = write_clip(tmp_path / f"plain{name[-4:]}", codec=codec).rename(tmp_path / name)
        with opened(str(path), realtime=False) as camera:
            frames = list(frames_of(camera))
            assert camera.ended
            assert not camera.is_live
        assert numbers_of(frames) == list(range(12))
        assert [frame.index for frame in frames] == list(range(12))
        assert [frame.time_s for frame in frames] == pytest.approx([i / 20 for i in range(12)])

    def test_unpaced_is_the_same_at_every_run(self, clip):
        def run():
            with opened(str(clip), realtime=False) as camera:
                return [(f.time_s, f.index, f.image.tobytes()) for f in frames_of(camera)]

        assert run() == run()

    def test_unpaced_ignores_how_slow_the_reader_is(self, clip):
        with opened(str(clip), realtime=False) as camera:
            frames = []
            for frame in frames_of(camera):
                time.sleep(0.02)
                frames.append(frame)
        assert numbers_of(frames) == list(range(12))

    def test_paced_plays_in_its_own_time_to_its_last_picture(self, clip):
        start_s = time.monotonic()
        with opened(str(clip)) as camera:
            frames = list(frames_of(camera))
            assert camera.ended
        assert time.monotonic() - start_s >= 11 / 20
        assert numbers_of(frames) == [frame.index for frame in frames]
        assert start_s <= frames[0].time_s
        assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))
        assert camera.read(0.1) is None

    def test_paced_drops_what_a_slow_reader_misses(self, tmp_path):
        path = write_clip(tmp_path / "long.avi", count=20, fps=30.0)
        with opened(str(path)) as camera:
            frames = []
            for frame in frames_of(camera):
                frames.append(frame)
                time.sleep(0.2)
        assert 1 < len(frames) < 10
        assert numbers_of(frames) == sorted(set(numbers_of(frames)))

    def test_paced_does_not_start_before_somebody_looks(self, clip):
        with opened(str(clip)) as camera:
            time.sleep(0.7)  # longer than the clip: loading a model takes its time
            assert number_in(camera.read(PATIENCE_S).image) < 11

    def test_paced_can_be_closed_early_and_before_it_starts(self, clip):
        camera = open_camera(str(clip))
        assert camera.read(PATIENCE_S)
        camera.close()
        camera.close()
        assert camera.ended
        unread = open_camera(str(clip))
        unread.close()
        assert list(frames_of(unread)) == []

    def test_a_clip_that_does_not_say_its_speed_gets_one(self, clip, monkeypatch):
        assert VideoClip(clip).fps == 20.0
        real = cv2.VideoCapture

        class Mute:
            def __init__(self, *args):
                self._capture = real(*args)

            def __getattr__(self, name):
                return getattr(self._capture, name)

            def get(self, prop):
                return float("nan") if prop == cv2.CAP_PROP_FPS else self._capture.get(prop)

        monkeypatch.setattr(cv2, "VideoCapture", Mute)
        assert VideoClip(clip).fps == DEFAULT_FPS


class TestBadPaths:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "is empty (0 bytes)"),
            (b"not a video at all\n" * 50, "not a video that can be played"),
            (bytes(range(256)) * 40, "not a video that can be played"),
        ],
        ids=["empty", "text", "noise"],
    )
    @pytest.mark.parametrize("realtime", [True, False])
    def test_a_file_that_is_no_video_is_told_in_a_sentence(self, tmp_path, content, told, realtime):
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        with pytest.raises(CameraError) as refused:
            open_camera(str(path), realtime=realtime)
        assert told in str(refused.value)
        assert str(path) in str(refused.value)

    def test_opencv_keeps_quiet_about_it(self, tmp_path):
        (tmp_path / "clip.mp4").write_text("not a video at all\n" * 50)
        program = (  # in a process of its own: OpenCV asks once in its life how loud to be
            "import sys; from gate.camera import open_camera\n"
            "try: open_camera(sys.argv[1])\n"
            "except OSError as error: print(type(error).__name__)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "clip.mp4")],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert (ended.stdout, ended.stderr) == ("CameraError\n", "")

    def test_a_video_cut_off_before_its_index_is_told(self, tmp_path):
        path = write_clip(tmp_path / "clip.mp4", codec="mp4v")
        path.write_bytes(path.read_bytes()[:-400])
        with pytest.raises(CameraError, match="cut off"):
            open_camera(str(path))

    def test_a_missing_file_is_told_with_what_could_be_given(self, tmp_path):
        with pytest.raises(CameraError, match="no camera, video file or folder called") as told:
            open_camera(str(tmp_path / "nothing.mp4"))
        assert told.value.exit_code == 3

    def test_a_pipe_is_refused_instead_of_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(CameraError, match="neither a file nor a folder"):
            open_camera(str(tmp_path / "pipe.mp4"))

    def test_a_name_too_long_for_the_system_is_told(self):
        with pytest.raises(CameraError, match=r"cannot read|no camera"):
            open_camera("a" * 5000)

    def test_a_missing_device_is_told_at_once(self):
        with pytest.raises(CameraError, match="/dev/video987 does not exist") as told:
            open_camera("987")
        assert "--camera demo" in str(told.value)
        with pytest.raises(CameraError, match="not a device"):
            open_camera("/dev/v4l/by-id/no-such-camera")

    def test_a_missing_demo_clip_says_how_to_draw_it(self, tmp_path):
        with pytest.raises(CameraError, match="make_demo"):
            open_camera(Source(SourceKind.DEMO, str(tmp_path / "demo.mp4")))

    @pytest.mark.parametrize("fps", [0, -1, float("nan"), 1e9])
    def test_a_nonsense_speed_is_refused(self, tmp_path, fps):
        with pytest.raises(ConfigError, match="fps"):
            open_camera(str(tmp_path), folder_fps=fps)


def write_folder(folder, names):
    folder.mkdir()
    for number, name in enumerate(names):
        data = cv2.imencode(".png", numbered(number))[1].tobytes()
        (folder / name).write_bytes(data)
    return folder


class TestAFolderOfImages:
    def test_plays_in_the_order_of_the_numbers_in_the_names(self, tmp_path):
        folder = write_folder(tmp_path / "in", ["f1.png", "f2.PNG", "f9.png", "f10.png", "문.png"])
        (folder / "notes.txt").write_text("not a picture")
        (folder / "f3.png").mkdir()
        with opened(str(folder), realtime=False, folder_fps=4) as camera:
            frames = list(frames_of(camera))
        assert numbers_of(frames) == [0, 1, 2, 3, 4]
        assert [frame.time_s for frame in frames] == [0, 0.25, 0.5, 0.75, 1.0]

    def test_plays_at_its_speed_when_paced(self, tmp_path):
        folder = write_folder(tmp_path / "in", [f"{i}.png" for i in range(5)])
        start_s = time.monotonic()
        with opened(str(folder), folder_fps=20) as camera:
            frames = list(frames_of(camera))
        assert time.monotonic() - start_s >= 4 / 20
        assert numbers_of(frames) == [frame.index for frame in frames]

    def test_an_empty_folder_is_told(self, tmp_path):
        with pytest.raises(CameraError, match="holds no images"):
            open_camera(str(tmp_path))

    @pytest.mark.parametrize(
        ("content", "told"), [(b"", "is empty"), (b"GIF89a....", "not a picture")]
    )
    @pytest.mark.parametrize("realtime", [True, False])
    def test_a_damaged_picture_is_named(self, tmp_path, content, told, realtime):
        folder = write_folder(tmp_path / "in", ["1.png", "2.png"])
        (folder / "2.png").write_bytes(content)
        with (
            opened(str(folder), realtime=realtime, folder_fps=50) as camera,
            pytest.raises(CameraError, match=told) as refused,
        ):
            list(frames_of(camera))
        assert "2.png" in str(refused.value)
        assert camera.ended

    def test_names_without_numbers_have_an_order_too(self, tmp_path):
        folder = write_folder(tmp_path / "in", ["b.png", "a.png", "a2b.png", "10.png", "9.png"])
        names = [path.name for path in picture_paths(folder)]
        assert names == ["9.png", "10.png", "a.png", "a2b.png", "b.png"]


def test_the_demo_is_a_clip_like_any_other():
    assert DEMO_CLIP.is_file()
    with opened("demo", realtime=False) as camera:
        frame = camera.read(0)
        assert isinstance(camera, ReplayCamera)
    assert frame.image.shape == (480, 640, 3)
    with opened("demo") as camera:
        assert isinstance(camera, PacedCamera)
        assert camera.read(PATIENCE_S)
