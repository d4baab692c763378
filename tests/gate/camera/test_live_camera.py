"""Live cameras through their real capture process: what hangs, dies, stalls or lies.

The camera is a server on the loopback device; processes and signals are real. The soak of a
hundred replugs runs with MASK_GATE_REPLUGS=100; MASK_GATE_SUSPEND_S=60 makes the suspension long.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mask_gate.gate.camera import live_camera
from mask_gate.gate.camera.live_camera import MAX_FRAME_AGE_S, CaptureLimits, LiveCamera
from mask_gate.gate.camera.source import Source, SourceKind
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.errors import CameraError

pytestmark = pytest.mark.process

PATIENCE_S = 60.0  # the machine may be busy; nothing here is a claim about speed
SOON_S = 2.0
ROOT = Path(__file__).resolve().parents[3]
REPLUGS = int(os.environ.get("MASK_GATE_REPLUGS", "3"))
SUSPEND_S = float(os.environ.get("MASK_GATE_SUSPEND_S", "2"))


def until(condition, within_s=PATIENCE_S):
    end_s = time.monotonic() + within_s
    while not (met := condition()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return met


@pytest.fixture
def camera(fake_camera):
    """A live camera on the fake one, with its first frame there."""
    with closing(LiveCamera(Source(SourceKind.URL, fake_camera.url), "cam")) as camera:
        camera.wait_for_first_frame(PATIENCE_S)
        yield camera


@pytest.fixture
def number_of(fake_cameras):
    return lambda frame: fake_cameras.number_in(frame.image)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def said(caplog):
    """What was logged of comings and goings, as words: lost, back."""
    return [record.getMessage().split(" is ")[1].split(";")[0] for record in caplog.records]


class TestFrames:
    def test_come_in_order_and_fresh(self, camera, fake_camera, number_of):
        frames = [camera.read(PATIENCE_S) for _ in range(20)]
        numbers = [number_of(frame) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert [f.index for f in frames] == sorted({f.index for f in frames})
        assert [f.time_s for f in frames] == sorted({f.time_s for f in frames})
        for frame, number in zip(frames, numbers, strict=True):
            assert fake_camera.sent_s[number] - 0.1 < frame.time_s
        assert camera.is_live
        assert not camera.ended

    def test_are_the_newest_for_a_slow_reader(self, camera, fake_camera, number_of):
        ages_s, gaps = [], []
        first = camera.read(PATIENCE_S)
        for _ in range(3):
            time.sleep(0.7)
            frame = camera.read(PATIENCE_S)
            ages_s.append(uptime_s() - fake_camera.sent_s[number_of(frame)])
            gaps.append(frame.index - first.index)
            first = frame
        # Read from a buffer, each would be older than the one before: 0.7 s, 1.4 s, 2.1 s.
        assert min(ages_s[1:]) < 1.0
        assert max(gaps) > 1  # the drops show

    def test_older_than_allowed_are_never_given(self, fake_camera):
        late_s = [MAX_FRAME_AGE_S + 0.1]
        clock = lambda: uptime_s() + late_s[0]  # noqa: E731
        with closing(LiveCamera(Source(SourceKind.URL, fake_camera.url), "cam", clock=clock)) as (
            camera
        ):
            camera.wait_for_first_frame(PATIENCE_S)
            assert [camera.read(0.1) for _ in range(10)] == [None] * 10
            late_s[0] = -5.0  # nor from the future
            assert [camera.read(0.1) for _ in range(5)] == [None] * 5
            late_s[0] = 0.0
            assert camera.read(PATIENCE_S)

    def test_of_a_camera_that_gives_one_a_second_are_all_taken(
        self, camera, fake_camera, number_of, caplog
    ):
        fake_camera.fps = 1.0
        camera.read(PATIENCE_S)
        frames = [camera.read(PATIENCE_S) for _ in range(4)]
        numbers = [number_of(frame) for frame in frames]
        assert numbers == list(range(numbers[0], numbers[0] + 4))
        assert said(caplog) == []

    def test_of_a_camera_that_gives_two_hundred_a_second_stay_new(
        self, camera, fake_camera, number_of
    ):
        fake_camera.fps = 200.0
        for frame in (camera.read(PATIENCE_S) for _ in range(100)):
            age_s = uptime_s() - fake_camera.sent_s[number_of(frame)]
            assert age_s < MAX_FRAME_AGE_S + 0.2

    @pytest.mark.parametrize("mode", ["frozen", "loop"])
    def test_repeated_by_the_camera_are_given_for_others_to_judge(
        self, camera, fake_camera, number_of, mode
    ):
        fake_camera.mode = mode
        assert until(lambda: (frame := camera.read(1.0)) and number_of(frame) < 5)
        assert {number_of(camera.read(PATIENCE_S)) for _ in range(10)} <= set(range(5))

    def test_may_change_their_size_at_any_time(self, camera, fake_camera):
        fake_camera.mode = "sizes"
        shapes = set()
        assert until(lambda: shapes.add(camera.read(PATIENCE_S).image.shape) or len(shapes) == 3)


def replug(camera, fake_camera, number_of, count):
    """Take the camera away and give it back, each time in another way.

    Returns:
        From the moment pictures flow again to the first frame read, in seconds, of each cycle.
    """
    took_s = []
    ways = itertools.cycle(["unplug", "stall", "close", "silent", "reset"])
    for way in itertools.islice(ways, count):
        if way == "unplug":
            fake_camera.vanish()
        else:
            fake_camera.mode = way
        assert until(lambda: camera.read(0.05) is None), way
        time.sleep(0.37 * (len(took_s) % 5))
        fresh = len(fake_camera.sent_s)
        fake_camera.mode = "ok"
        if way == "unplug":
            fake_camera.appear()
        begin_s = time.monotonic()
        assert until(lambda: (f := camera.read(0.2)) and number_of(f) >= fresh), way  # noqa: B023
        took_s.append(time.monotonic() - begin_s)
    return took_s


class TestACameraThatGoesAway:
    def test_is_back_soon_after_each_replug(self, camera, fake_camera, number_of, caplog):
        used = descriptors()
        took_s = replug(camera, fake_camera, number_of, REPLUGS)
        print(f"{REPLUGS} replugs: frames again after {sorted(took_s)} s")
        assert max(took_s) < (PATIENCE_S if REPLUGS <= 3 else 2 * SOON_S)
        assert camera.restarts == 0
        # A frame is there a moment before the word that it is; both come from another process.
        assert until(lambda: said(caplog).count("lost") == said(caplog).count("back"))
        assert said(caplog).count("lost") <= REPLUGS
        assert descriptors() <= used + 3  # the fake camera's own connections

    def test_is_told_lost_once_and_back_once(self, camera, fake_camera, caplog):
        fake_camera.vanish()
        assert until(lambda: said(caplog) == ["lost"])
        before = camera.read(0.0)
        time.sleep(1.0)
        assert said(caplog) == ["lost"]
        assert not camera.ended
        fake_camera.appear()
        after = camera.read(PATIENCE_S)
        assert until(lambda: said(caplog) == ["lost", "back"])
        assert before is None or after.index > before.index
        assert "S3cret" not in caplog.text

    def test_whose_pictures_are_all_damaged_is_lost_and_no_such_frame_is_given(
        self, camera, fake_camera, number_of, caplog
    ):
        fake_camera.mode = "smeared"
        damaged = len(fake_camera.sent_s)
        assert until(lambda: (f := camera.read(0.2)) is None or number_of(f) <= damaged)
        assert until(lambda: said(caplog) == ["lost"])
        assert "damaged" in caplog.text
        assert camera.read(0.2) is None
        fake_camera.mode = "ok"
        assert camera.read(PATIENCE_S)

    @pytest.mark.parametrize(
        ("modes", "reconnects"),
        [
            (("cut", "one pixel", "bomb"), 1),  # they may get better
            (("page",), 2),
            (("huge part", "endless head", "endless field", "trickle"), 2),
        ],
        ids=["pictures", "answers", "endless"],
    )
    def test_that_sends_rubbish_gives_no_frame_and_is_back_after_it(
        self, camera, fake_camera, number_of, modes, reconnects
    ):
        for mode in modes:
            fake_camera.mode = mode
            connections = fake_camera.connections
            fake_camera.hang_up()
            rubbish_from = len(fake_camera.sent_s) + 1  # one may be on its way
            assert until(lambda: fake_camera.connections >= connections + reconnects), mode  # noqa: B023
            rubbish_to = len(fake_camera.sent_s)
            peak = Path(f"/proc/{camera.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
            assert int(peak) < 300_000, mode  # kB
            fake_camera.mode = "ok"
            fake_camera.hang_up()
            frame = None
            while frame is None or number_of(frame) < rubbish_to:
                frame = camera.read(PATIENCE_S)
                assert frame is not None, mode
                assert not rubbish_from <= number_of(frame) < rubbish_to, mode
        assert camera.restarts == 0


# Runs the capture process with a driver that can be made to hang: it opens a FIFO, for ever.
HANGING = """
import sys
from pathlib import Path
from mask_gate.gate.camera import capture_process as capture
from mask_gate.gate.camera import mjpeg
fifo = Path(sys.argv[2])
def hang_at(place):
    if fifo.exists() and fifo.with_suffix(".where").read_text() == place:
        fifo.read_bytes()
open_capture, grab = capture.open_capture, mjpeg.MjpegCapture.grab
def opener(source):
    hang_at("open")
    return open_capture(source)
def grabber(self):
    hang_at("grab")
    return grab(self)
capture.open_capture, mjpeg.MjpegCapture.grab = opener, grabber
hang_at("start")
capture.main(int(sys.argv[-1]))
"""


class TestADriverThatHangs:
    @pytest.fixture
    def fifo(self, tmp_path):
        """Makes the driver hang at a place, and lets it go."""
        path = tmp_path / "fifo"

        def hang(place):
            if place is None:
                path.unlink()
            else:
                path.with_suffix(".where").write_text(place)
                os.mkfifo(path)

        hang.command = (sys.executable, "-c", HANGING, "child", str(path))
        return hang

    @pytest.mark.parametrize("place", ["grab", "open", "start"])
    def test_is_killed_and_another_one_gives_frames(
        self, fake_camera, fifo, number_of, caplog, place
    ):
        source, limits = Source(SourceKind.URL, fake_camera.url), CaptureLimits(start_s=8.0)
        with closing(LiveCamera(source, "cam", command=fifo.command, limits=limits)) as camera:
            camera.wait_for_first_frame(PATIENCE_S)
            hung = camera.pid
            fifo(place)
            if place != "grab":
                os.kill(hung, signal.SIGKILL)
            assert until(lambda: camera.restarts >= (1 if place == "grab" else 2))
            assert until(lambda: not is_running(hung))
            assert camera.read(0.0) is None
            assert until(lambda: said(caplog) == ["lost"])
            fresh = len(fake_camera.sent_s)
            fifo(None)
            assert until(lambda: (f := camera.read(0.2)) and number_of(f) >= fresh)
            assert until(lambda: said(caplog) == ["lost", "back"])
        if place == "grab":
            assert "no sign of life" in caplog.text

    def test_inside_ffmpeg_is_killed_too(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        source = Source(SourceKind.URL, str(tmp_path / "fifo"))
        with closing(LiveCamera(source, "cam")) as camera:
            assert until(lambda: camera.restarts >= 1)
            hung = until(lambda: camera.pid)
        assert until(lambda: not is_running(hung))


class TestACaptureProcess:
    def test_that_is_stopped_is_replaced(self, camera, number_of, fake_camera):
        os.kill(camera.pid, signal.SIGSTOP)
        begin_s = time.monotonic()
        stopped = camera.pid
        assert until(lambda: camera.restarts == 1)
        assert time.monotonic() - begin_s >= CaptureLimits().silence_s - 0.5
        assert until(lambda: not is_running(stopped))
        fresh = len(fake_camera.sent_s)
        assert until(lambda: (f := camera.read(0.2)) and number_of(f) >= fresh)

    def test_that_is_killed_is_replaced_at_once_and_indices_go_on(self, camera):
        for _ in range(2):
            last = camera.read(PATIENCE_S)
            os.kill(camera.pid, signal.SIGKILL)
            while (frame := camera.read(PATIENCE_S)).time_s < last.time_s + 0.5:
                assert frame.index > last.index
                assert frame.time_s > last.time_s
            assert frame.index > last.index
        assert until(lambda: camera.restarts == 2)

    def test_that_was_stopped_for_a_moment_gives_no_old_frame(self, camera, fake_camera, number_of):
        for _ in range(3):
            os.kill(camera.pid, signal.SIGSTOP)
            time.sleep(1.2)
            stopped = len(fake_camera.sent_s)
            os.kill(camera.pid, signal.SIGCONT)
            while number_of(frame := camera.read(PATIENCE_S)) < stopped:
                age_s = uptime_s() - fake_camera.sent_s[number_of(frame)]
                assert age_s < 1.0

    def test_ends_with_the_camera(self, camera):
        pid = camera.pid
        for _ in range(2):
            camera.close()
        assert camera.ended
        assert camera.read(1.0) is None
        assert until(lambda: not Path(f"/proc/{pid}").exists())  # it was reaped

    @pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
    def test_that_cannot_start_is_tried_again_and_leaves_nothing(self, program):
        used = descriptors()
        source = Source(SourceKind.URL, "http://127.0.0.1:9/")
        with closing(LiveCamera(source, "cam", command=(program,))) as camera:
            said = camera.wait_for_first_frame(SOON_S)
        assert said.startswith("no picture from cam after")
        assert "process" in said
        assert descriptors() <= used

    @pytest.mark.parametrize("words", ["zzzz", "!ValueError: what"])
    def test_that_talks_nonsense_is_replaced(self, words, caplog):
        speak = f"import sys, time; sys.stdout.write({words!r}); sys.stdout.flush(); time.sleep(99)"
        source = Source(SourceKind.URL, "http://127.0.0.1:9/")
        with closing(
            LiveCamera(source, "cam", command=(sys.executable, "-S", "-c", speak))
        ) as camera:
            assert until(lambda: camera.restarts >= 2)
        assert ("ValueError: what" in caplog.text) == ("!" in words)

    def test_that_does_not_die_at_once_is_buried_later(self, fake_camera):
        source = Source(SourceKind.URL, fake_camera.url)
        with closing(LiveCamera(source, "cam", limits=CaptureLimits(kill_s=0.0))) as camera:
            camera.wait_for_first_frame(PATIENCE_S)
            first = camera.pid
            for _ in range(2):
                killed = camera.pid
                os.kill(killed, signal.SIGKILL)
                assert until(lambda: camera.pid not in (None, killed))  # noqa: B023
            assert until(lambda: not Path(f"/proc/{first}").exists())

    def test_that_nothing_can_kill_is_not_joined_by_ever_more(self, monkeypatch):
        """As with a driver that never returns: the kernel keeps its process."""
        monkeypatch.setattr(live_camera._Child, "reap", lambda self, patience_s: False)
        started = []
        monkeypatch.setattr(
            live_camera._Child, "kill", lambda self: started.append(self._process.kill())
        )
        source = Source(SourceKind.URL, "http://127.0.0.1:9/")
        limits = CaptureLimits(max_unkillable=2, unkillable_retry_s=0.1)
        with closing(LiveCamera(source, "cam", command=("/bin/false",), limits=limits)) as camera:
            assert until(lambda: camera.restarts == limits.max_unkillable)
            time.sleep(5 * limits.unkillable_retry_s)
            assert camera.restarts == limits.max_unkillable

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_whose_watcher_breaks_down_is_never_silent(self, monkeypatch):
        monkeypatch.setattr(LiveCamera, "_watch", lambda self, child: 1 / 0)
        with (
            closing(LiveCamera(Source(SourceKind.URL, "http://127.0.0.1:9/"), "cam")) as camera,
            pytest.raises(CameraError, match="thread that reads cam broke down"),
        ):
            camera.read(PATIENCE_S)


class TestAFirstFrame:
    def test_that_does_not_come_is_told_with_the_cause(self, fake_camera):
        fake_camera.mode = "locked"
        source = Source(SourceKind.URL, fake_camera.url)
        with closing(LiveCamera(source, "cam", "the password")) as camera:
            assert until(lambda: camera._why)
            said = camera.wait_for_first_frame(0.1)
        assert said.startswith("no picture from cam after")
        assert ": it refuses user or password; asked again only after 30 s" in said
        assert "check that it is on" not in said  # nothing but the password is wrong

    def test_of_a_camera_that_is_back_and_refuses_is_told(self, fake_camera, caplog):
        source = Source(SourceKind.URL, fake_camera.url)
        with closing(LiveCamera(source, "cam")) as camera:
            camera.wait_for_first_frame(PATIENCE_S)
            fake_camera.mode = "close"
            assert until(lambda: said(caplog)[-1:] == ["lost"])
            fake_camera.mode = "locked"
            assert until(lambda: "no picture from cam: it refuses user" in caplog.text)


# Reads a camera and writes down the number of each picture and when it was had.
READER = """
import sys, time
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.camera.live_camera import LiveCamera
from mask_gate.gate.camera.source import Source, SourceKind
sys.path.insert(0, sys.argv[2])
from fake_camera import number_in
camera = LiveCamera(Source(SourceKind.URL, sys.argv[1]), "cam")
camera.wait_for_first_frame(60)
print(camera.pid, flush=True)
while True:
    asked_s = uptime_s()
    frame = camera.read(0.1)
    now_s = uptime_s()
    if frame is not None:
        print(number_in(frame.image), asked_s, now_s, now_s - frame.time_s, flush=True)
"""


def test_nothing_in_the_current_folder_is_run(fake_camera, tmp_path, monkeypatch):
    for module in ("json", "gate", "mask_gate"):
        (tmp_path / f"{module}.py").write_text("open('canary', 'w').close()")
    monkeypatch.chdir(tmp_path)
    camera = LiveCamera(Source(SourceKind.URL, fake_camera.url), "cam")
    try:
        camera.wait_for_first_frame(60)
    finally:
        camera.close()
    assert not (tmp_path / "canary").exists()


class TestAReaderAsAProcess:
    @pytest.fixture
    def reader(self, fake_camera):
        """A process that reads; its capture process is told first."""
        process = subprocess.Popen(
            [sys.executable, "-c", READER, fake_camera.url, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        yield process, int(process.stdout.readline())
        process.kill()
        process.wait()
        process.stdout.close()

    @pytest.mark.parametrize("order", ["reader first", "capture first"])
    def test_suspended_as_a_whole_gets_no_old_frame_afterwards(self, reader, fake_camera, order):
        process, capture = reader
        both = [process.pid, capture] if order == "reader first" else [capture, process.pid]
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(SUSPEND_S)
        resumed_s, before = uptime_s(), len(fake_camera.sent_s)
        for pid in both:
            os.kill(pid, signal.SIGCONT)
        after = 0
        while after < 10:
            number, *times_s = process.stdout.readline().split()
            asked_s, now_s, age_s = map(float, times_s)
            true_age_s = now_s - fake_camera.sent_s[int(number)]
            if asked_s >= resumed_s:
                assert true_age_s < 1.0
                assert age_s < 1.0
                after += int(number) >= before
            elif true_age_s >= 1.0:  # in hand at the suspend: it tells its age, and is refused
                assert age_s >= 1.0

    def test_killed_outright_leaves_no_capture_process_behind(self, reader):
        process, capture = reader
        process.kill()
        assert until(lambda: not is_running(capture))
