"""What tells that the detector's process must be replaced; all in times that are given."""

import pytest

from mask_gate.gate.detector.health import FaultCounter, SilenceWatch, StartLimit, check_memory
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.errors import ModelError

LIMITS = ProcessLimits(result_s=0.5)


class TestFaults:
    def test_three_in_a_row_are_a_broken_process(self):
        faults = FaultCounter(1, LIMITS)
        for now_s, is_sound in enumerate([False, False, True, False, False]):
            faults.note(0, is_sound, float(now_s))
            assert not faults.all_fail(float(now_s))
        faults.note(0, False, 5.0)
        assert faults.all_fail(5.0)
        assert faults.in_a_row(0) == 3

    def test_of_one_camera_are_its_pictures_while_another_one_has_sound_answers(self):
        faults = FaultCounter(3, LIMITS)  # the third one has never asked
        faults.note(0, True, 10.0)
        for _ in range(10):
            faults.note(1, False, 11.9)
        assert not faults.all_fail(11.9)
        faults.note(1, False, 12.1)  # the sound answer is too long ago
        assert faults.all_fail(12.1)


class TestSilence:
    def ask_every(self, step_s, seconds, number_at):
        """How long a process was silent when it was given up; None when it was not."""
        watch = SilenceWatch(LIMITS)
        for look in range(round(seconds / step_s)):
            try:
                watch.look(number_at(look), look * step_s)
            except ModelError:
                return look * step_s
        return None

    def test_about_one_frame_for_longer_than_the_limit_is_the_end(self):
        assert self.ask_every(0.1, 9.0, lambda look: 1) == pytest.approx(2.1, abs=0.11)

    def test_is_none_while_no_frame_waits_or_the_frames_change(self):
        assert self.ask_every(0.1, 9.0, lambda look: None) is None
        assert self.ask_every(0.1, 9.0, lambda look: look // 10) is None

    @staticmethod
    def silence_of(starved_share):
        """Until when one frame is waited for, while threads wait for the processor meanwhile.

        What they have waited is told once a second, as they get to run.
        """
        watch = SilenceWatch(LIMITS)
        for look in range(1000):
            try:
                watch.look(1, look * 0.1, starved_share * (look // 10))
            except ModelError:
                return look * 0.1
        return None

    def test_of_a_process_that_gets_no_processor_is_none_for_a_long_time(self):
        assert self.silence_of(0.0) == pytest.approx(2.1, abs=0.11)
        assert self.silence_of(0.25) == pytest.approx(2.6, abs=0.4)
        for share in (1.0, 3.0):  # several threads wait at a time
            assert self.silence_of(share) == pytest.approx(20.1, abs=3.0)

    def test_while_the_whole_machine_stood_still_is_none(self):
        """Each look counts for 0.2 s at most, however long ago the one before was."""
        assert self.ask_every(60.0, 600.0, lambda look: 1) is None


class TestStart:
    def test_may_take_what_is_configured_at_first_then_four_times_the_first(self):
        limit = StartLimit(LIMITS)
        limit.check(60.0)
        limit.learn(3.0)
        limit.check(12.0)
        with pytest.raises(ModelError, match="not ready in 12 s"):
            limit.check(12.1)

    def test_that_took_too_long_may_take_twice_the_time_the_next_time(self):
        limit = StartLimit(LIMITS)
        limit.learn(0.1)
        for allowed_s in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
            assert limit.seconds == allowed_s
            with pytest.raises(ModelError):
                limit.check(allowed_s + 0.1)


def test_too_much_memory_is_the_end():
    check_memory(4096 * 2**20, LIMITS)
    with pytest.raises(ModelError, match="had 4097 MiB in memory, more than 4096"):
        check_memory(4097 * 2**20, LIMITS)
