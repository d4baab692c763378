"""Cameras and clips: real files, and a real little MJPEG server that can misbehave."""

import itertools
import os
import re
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageOps

from mask_gate.gate.camera.camera import PacedCamera, ReplayCamera, open_camera
from mask_gate.gate.camera.clip import DEFAULT_FPS, VideoClip, picture_paths
from mask_gate.gate.camera.source import DEMO_CLIP, Source, SourceKind
from mask_gate.gate.errors import CameraError, ConfigError

pytestmark = pytest.mark.process

PATIENCE_S = 60.0  # the machine may be busy; nothing here is a claim about speed
BITS = 16
ROOT = Path(__file__).resolve().parents[3]


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


@contextmanager
def opened(source, **options):
    with closing(open_camera(source, **options)) as camera:
        yield camera


def frames_of(camera):
    """Every frame up to the end."""
    while not camera.ended:
        if (frame := camera.read(0.5)) is not None:
            yield frame


class TestAnHttpCamera:
    def test_one_that_is_not_there_is_told_in_a_sentence_and_waited_for(self, fake_camera, caplog):
        fake_camera.vanish()
        with opened(fake_camera.url, first_frame_s=0.3) as camera:
            (told,) = caplog.messages
            assert "no picture from http://***@127" in told
            assert re.search(r"(1 try|tries) in 0.3 s", told)
            assert "check that it is on" in told
            assert "password" in told
            assert "S3cret" not in told
            fake_camera.appear()
            assert camera.read(PATIENCE_S) is not None
            # A frame is there a moment before the word that it is; both come from another process.
            assert until(lambda: caplog.messages[-1].endswith("is back"))

    def test_one_that_accepts_and_never_answers_is_not_waited_for(self, fake_camera, caplog):
        fake_camera.mode = "silent"
        with opened(fake_camera.url, first_frame_s=0.3):
            assert "no picture" in caplog.text


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
            "import sys; from mask_gate.gate.camera.camera import open_camera\n"
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

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("987", "/dev/video987 does not exist"),
            ("/dev/v4l/by-id/no-such-camera", "not a device of this machine"),
        ],
    )
    def test_a_missing_device_is_told_at_once_and_waited_for(self, caplog, source, told):
        with opened(source, first_frame_s=60.0) as camera:
            assert told in caplog.messages[0]
            assert "--camera demo" in caplog.messages[0]
            assert camera.read(0.1) is None
            assert not camera.ended

    def test_what_is_there_and_is_no_device_is_refused(self):
        with pytest.raises(CameraError, match="not a device"):
            open_camera("/dev/shm")

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

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_shows_photos_upright(self, tmp_path, orientation):
        stored = PillowImage.new("RGB", (64, 48))
        stored.paste((255, 0, 0), (0, 0, 32, 24))  # red in the corner where the file begins
        exif = PillowImage.Exif()
        exif[0x0112] = orientation
        stored.save(tmp_path / "photo.jpg", exif=exif)
        frame = open_camera(str(tmp_path), realtime=False).read(0.0)
        upright = ImageOps.exif_transpose(PillowImage.open(tmp_path / "photo.jpg"))
        assert frame.image.shape[1::-1] == ((64, 48) if orientation < 5 else (48, 64))
        difference = frame.image[..., ::-1].astype(int) - np.asarray(upright)
        assert np.abs(difference).mean() < 3

    @pytest.mark.parametrize("realtime", [True, False])
    def test_missing_numbers_are_time_without_a_picture(self, tmp_path, realtime):
        folder = write_folder(tmp_path / "in", ["07.png", "8.png", "012.png"])
        numbered_folder = {"folder_fps": 50, "folder_is_numbered": True}
        with opened(str(folder), realtime=realtime, **numbered_folder) as camera:
            frames = list(frames_of(camera))
        indices = [frame.index for frame in frames]
        assert set(indices) <= {0, 1, 5}
        assert indices[-1] == 5
        if not realtime:
            assert [frame.time_s for frame in frames] == [0, 0.02, 0.1]

    @pytest.mark.parametrize(
        ("names", "told"), [(["1.png", "b.png"], "b.png: expected a frame's number"),
                            (["1.png", "01.png"], "there is another picture with this number")]
    )  # fmt: skip
    def test_names_that_are_no_numbers_of_frames_are_refused(self, tmp_path, names, told):
        folder = write_folder(tmp_path / "in", names)
        with pytest.raises(CameraError, match=told):
            open_camera(str(folder), folder_is_numbered=True)

    def test_an_empty_folder_is_told(self, tmp_path):
        with pytest.raises(CameraError, match="holds no images"):
            open_camera(str(tmp_path))

    def test_with_photos_of_several_sizes_is_refused_with_what_is_made_for_them(self, tmp_path):
        folder = write_folder(tmp_path / "in", ["1.png", "2.png"])
        cv2.imwrite(str(folder / "3.png"), np.full((80, 100, 3), 90, np.uint8))
        with pytest.raises(CameraError) as refused:
            open_camera(str(folder))
        said = str(refused.value)
        assert "several sizes (1.png 256 x 64, 3.png 100 x 80)" in said
        assert f"mask-gate-predict {folder} --out DIR" in said

    def test_a_photo_that_a_camera_turned_has_another_size(self, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        photo, turned = PillowImage.new("RGB", (120, 80)), PillowImage.Exif()
        turned[0x0112] = 6  # a quarter turn
        photo.save(folder / "1.jpg")
        photo.save(folder / "2.jpg", exif=turned)
        with pytest.raises(CameraError, match=r"2\.jpg 80 x 120"):
            open_camera(str(folder))

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


def test_a_clip_in_a_loop_begins_anew_and_has_no_end(tmp_path):
    folder = write_folder(tmp_path / "in", [f"{i}.png" for i in range(3)])
    with opened(str(folder), realtime=False, loop=True, folder_fps=10) as camera:
        frames = list(itertools.islice(frames_of(camera), 8))
    assert numbers_of(frames) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [frame.time_s for frame in frames] == [i / 10 for i in range(8)]


def test_a_clip_in_a_loop_drops_what_a_slow_reader_misses(tmp_path):
    folder = write_folder(tmp_path / "in", [f"{i}.png" for i in range(3)])
    with opened(str(folder), loop=True, folder_fps=200) as camera:
        first = camera.read(PATIENCE_S)
        time.sleep(0.1)  # many rounds
        later = [camera.read(PATIENCE_S) for _ in range(4)]
        assert not camera.ended
    times = [first.time_s, *(frame.time_s for frame in later)]
    assert times == sorted(set(times))
    assert later[-1].index > 3
