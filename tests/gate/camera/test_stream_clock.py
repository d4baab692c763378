"""How old a picture is by its stream's own stamps: live, held up, drifting, begun anew."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.camera.stream_clock import DRIFT, SETTLE_S, StreamClock

ANY_STAMP = st.none() | st.floats(allow_nan=True, allow_infinity=True)
JITTERS_S = st.lists(st.floats(0.0, 0.03), min_size=30, max_size=30)
FPS = st.sampled_from([1.0, 5.0, 10.0, 25.0, 30.0, 60.0, 200.0])
ZEROS_S = st.floats(-1e6, 2e9)


class Camera:
    """Pictures with a stamp each, which arrive after their transport, in order."""

    def __init__(self, fps=25.0, zero_s=0.0, rate=1.0, begin_s=1000.0):
        self.fps, self.zero_s, self.rate, self.begin_s = fps, zero_s, rate, begin_s
        self.count = 0
        self.arrival_s = 0.0

    def picture(self, transport_s=0.0):
        """(when it was taken, when it arrived, its stamp)."""
        taken_s = self.begin_s + self.count / self.fps
        self.count += 1
        self.arrival_s = max(self.arrival_s, taken_s + transport_s)
        return taken_s, self.arrival_s, self.zero_s + (taken_s - self.begin_s) * self.rate


def settled(camera, stream, seconds=2.0):
    """Let a stream run on time until it is believed."""
    for _ in range(max(3, round(seconds * camera.fps))):
        _, arrival_s, stamp_s = camera.picture()
        stream.taken_s(arrival_s, stamp_s)
    return stream


def age_s(stream, arrival_s, stamp_s):
    taken_s = stream.taken_s(arrival_s, stamp_s)
    return math.inf if taken_s is None else arrival_s - taken_s


class TestWhateverComes:
    @given(st.lists(st.tuples(st.floats(0.0, 100.0), ANY_STAMP), max_size=60), st.booleans())
    def test_no_picture_is_from_the_future_and_nothing_breaks(self, steps, holds):
        stream, now_s = StreamClock(holds_one_back=holds), 5.0
        for step_s, stamp_s in steps:
            now_s += step_s
            taken_s = stream.taken_s(now_s, stamp_s)
            assert taken_s is None or (math.isfinite(taken_s) and taken_s <= now_s)

    @pytest.mark.parametrize("stamp_s", [None, math.nan, math.inf, -math.inf, 1e300])
    def test_without_stamps_the_arrival_counts(self, stamp_s):
        stream = StreamClock()
        assert [stream.taken_s(t, stamp_s) for t in (3.0, 4.0, 9.0)] == [3.0, 4.0, 9.0]

    @given(ZEROS_S)
    def test_stamps_that_never_move_are_none(self, zero_s):
        stream = StreamClock()
        taken = [stream.taken_s(t / 25, zero_s) for t in range(100)]
        assert taken[0] is None  # they might still begin to move
        assert taken[10:] == [t / 25 for t in range(10, 100)]


class TestAStreamOnTime:
    @settings(max_examples=40, deadline=None)
    @given(FPS, ZEROS_S, JITTERS_S)
    def test_is_as_old_as_its_jitter(self, fps, zero_s, jitters_s):
        camera, stream = Camera(fps, zero_s), StreamClock()
        settled(camera, stream)
        for jitter_s in jitters_s:
            taken_s, arrival_s, stamp_s = camera.picture(jitter_s)
            slack_s = 2e-3 + DRIFT * (arrival_s - camera.begin_s)
            assert stream.taken_s(arrival_s, stamp_s) == pytest.approx(taken_s, abs=slack_s)

    @settings(max_examples=10, deadline=None)
    @given(st.floats(-0.9 * DRIFT, 0.9 * DRIFT), ZEROS_S)
    def test_stays_on_time_for_days_though_the_clocks_drift_apart(self, drift, zero_s):
        camera, stream = Camera(1.0, zero_s, 1.0 + drift), StreamClock()
        for hour in range(24 * 4):
            camera.count = hour * 3600
            for _ in range(2):
                _, arrival_s, stamp_s = camera.picture()
                old_s = age_s(stream, arrival_s, stamp_s)
        assert old_s < 0.01

    def test_its_times_always_advance(self):
        camera, stream, times = Camera(), StreamClock(), []
        for number in range(500):
            _, arrival_s, stamp_s = camera.picture(0.3 * abs(math.sin(number)))
            if (taken_s := stream.taken_s(arrival_s, stamp_s)) is not None:
                times.append(taken_s)
        assert len(times) > 400
        assert times == sorted(set(times))

    def test_one_held_back_by_the_decoder_is_a_step_older(self):
        camera, stream = Camera(5.0), StreamClock(holds_one_back=True)
        settled(camera, stream)
        _, arrival_s, stamp_s = camera.picture()
        assert age_s(stream, arrival_s, stamp_s) == pytest.approx(0.2, abs=1e-3)


class TestAStreamThatIsHeldUp:
    @settings(max_examples=40, deadline=None)
    @given(FPS, ZEROS_S, st.floats(0.1, 30.0), JITTERS_S, st.floats(-1e-4, 1e-4))
    def test_shows_at_least_the_delay(self, fps, zero_s, delay_s, jitters_s, drift):
        camera, stream = Camera(fps, zero_s, 1.0 + drift), StreamClock()
        settled(camera, stream)
        for jitter_s in jitters_s:
            taken_s, arrival_s, stamp_s = camera.picture(delay_s + jitter_s)
            slack_s = 2e-3 + 2 * DRIFT * (arrival_s - camera.begin_s)
            assert age_s(stream, arrival_s, stamp_s) >= arrival_s - taken_s - slack_s

    def test_is_not_forgotten_with_time(self):
        camera, stream = Camera(5.0), StreamClock()
        settled(camera, stream)
        for _ in range(5 * 200):
            _, arrival_s, stamp_s = camera.picture(3.0)
            old_s = age_s(stream, arrival_s, stamp_s)
        assert old_s > 2.9

    def test_that_falls_behind_ever_so_slowly_is_noticed(self):
        camera, stream = Camera(), StreamClock()
        settled(camera, stream)
        for number in range(25 * 100):  # 1 % slower than the camera
            _, arrival_s, stamp_s = camera.picture(0.01 * number / 25)
            old_s = age_s(stream, arrival_s, stamp_s)
        assert old_s > 0.9

    def test_is_fresh_again_at_once_when_it_has_caught_up(self):
        camera, stream = Camera(), StreamClock()
        settled(camera, stream)
        camera.arrival_s += 3.0  # nothing came through for so long; then everything at once
        old_s = []
        for _ in range(100):
            taken_s, arrival_s, stamp_s = camera.picture(0.0)
            assert age_s(stream, arrival_s, stamp_s) == pytest.approx(arrival_s - taken_s, abs=0.01)
            old_s.append(arrival_s - taken_s)
        assert old_s[0] > 2.9
        assert old_s[-1] < 0.01

    def test_with_a_stamp_missing_here_and_there_stays_what_it_is(self):
        camera, stream = Camera(), StreamClock()
        settled(camera, stream)
        for number in range(100):
            _, arrival_s, stamp_s = camera.picture()
            known = number % 7 != 0
            old_s = age_s(stream, arrival_s, stamp_s if known else None)
            assert old_s == pytest.approx(0.0 if known else 0.04, abs=0.01)


class TestABeginning:
    @settings(max_examples=40, deadline=None)
    @given(st.floats(0.2, 5.0), st.floats(1.5, 50.0), st.sampled_from([10.0, 25.0, 60.0]))
    def test_pictures_kept_for_a_new_viewer_are_not_believed(self, kept_s, speed, fps):
        camera, stream = Camera(fps), StreamClock()
        connected_s = camera.begin_s + kept_s
        believed = 0
        for number in range(round((kept_s * 3 + 3) * fps)):
            taken_s, _, stamp_s = camera.picture()
            arrival_s = max(taken_s, connected_s + number / fps / speed)
            old_s = age_s(stream, arrival_s, stamp_s)
            assert old_s == math.inf or arrival_s - taken_s < 0.1
            believed += old_s < 0.5
        assert believed > fps

    @given(FPS)
    def test_a_live_one_is_believed_soon(self, fps):
        camera, stream = Camera(fps), StreamClock()
        first_s = camera.begin_s
        while True:
            _, arrival_s, stamp_s = camera.picture()
            if stream.taken_s(arrival_s, stamp_s) is not None:
                break
        assert arrival_s - first_s <= max(SETTLE_S + 1.01 / fps, 1 / fps)

    def test_stamps_that_begin_to_move_late_are_taken_from_there(self):
        stream = StreamClock()
        for t in range(50):
            stream.taken_s(t / 25, 0.0)
        assert stream.taken_s(2.0, 0.01) is None
        ages_s = [age_s(stream, 2.0 + t / 25, 0.01 + t / 25) for t in range(1, 50)]
        assert ages_s[-30:] == pytest.approx([0.0] * 30, abs=1e-3)


class TestStampsThatAreOdd:
    @given(st.floats(0.05, 1e6))
    def test_a_jump_back_is_a_beginning(self, jump_s):
        camera, stream = Camera(), StreamClock()
        settled(camera, stream)
        camera.zero_s -= jump_s
        ages_s = []
        for _ in range(25):
            _, arrival_s, stamp_s = camera.picture()
            ages_s.append(age_s(stream, arrival_s, stamp_s))
        assert ages_s[0] == math.inf
        assert ages_s[-10:] == pytest.approx([0.0] * 10, abs=2e-3)

    @given(st.floats(0.2, 50.0))
    def test_a_jump_ahead_is_doubted_for_a_moment(self, jump_s):
        camera, stream = Camera(), StreamClock()
        settled(camera, stream)
        camera.zero_s += jump_s
        ages_s = []
        for _ in range(25):
            _, arrival_s, stamp_s = camera.picture()
            ages_s.append(age_s(stream, arrival_s, stamp_s))
        assert ages_s[:5] == [math.inf] * 5
        assert ages_s[-10:] == pytest.approx([0.0] * 10, abs=2e-3)

    @pytest.mark.parametrize("stamp", ["same", "none"])
    def test_that_stop_make_pictures_grow_old(self, stamp):
        camera, stream = Camera(), StreamClock()
        settled(camera, stream)
        _, arrival_s, last_s = camera.picture()
        stream.taken_s(arrival_s, last_s)
        for number in range(1, 100):
            _, arrival_s, _ = camera.picture()
            old_s = age_s(stream, arrival_s, last_s if stamp == "same" else None)
            assert old_s == pytest.approx(number / 25, abs=0.01)

    def test_in_milliseconds_are_no_clock(self):
        camera, stream = Camera(rate=1000.0), StreamClock()
        settled(camera, stream)
        _, arrival_s, stamp_s = camera.picture()
        assert age_s(stream, arrival_s, stamp_s) == 0.0

    def test_counted_at_another_speed_than_the_camera_has_are_no_clock_in_the_end(self):
        camera, stream = Camera(rate=0.9), StreamClock()
        settled(camera, stream)
        _, arrival_s, stamp_s = camera.picture()
        assert age_s(stream, arrival_s, stamp_s) > 0.15  # it looks like a stream that falls behind
        camera, stream = Camera(rate=1.1), StreamClock()
        settled(camera, stream, seconds=700)
        _, arrival_s, _ = camera.picture()
        assert age_s(stream, arrival_s, None) == 0.0
