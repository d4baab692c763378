"""A detector that is slower than its camera: the gate says so, stays correct, and does not flap."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from mask_gate.gate.camera.frame_check import FrameCheck, FrameCheckConfig
from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.decision.tracker import Tracker, TrackerConfig
from mask_gate.gate.domain import Frame
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import LateAnswerError
from mask_gate.gate.events import EventMaker
from mask_gate.gate.runtime.loop import Gate, Limits
from mask_gate.gate.runtime.pace import SILENT_S, SPAN_S, STAYS_S, Pace
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel

FPS = 15.0
RESULT_S = 0.5


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Camera:
    """Gives the newest picture there is; those that nobody took in time are gone."""

    ended = False

    def __init__(self, clock: Clock) -> None:
        self._clock, self._index = clock, -1

    def read(self, timeout_s: float) -> Frame:
        newest = int(self._clock() * FPS + 1e-9)
        if newest <= self._index:
            newest = self._index + 1
            self._clock.now_s = newest / FPS + 1e-6
        self._index = newest
        image = np.random.default_rng(newest).integers(0, 256, (120, 160, 3), np.uint8)
        return Frame(image, newest / FPS, newest)


def face(label: MaskLabel) -> Detections:
    box = np.array([[60.0, 30.0, 100.0, 80.0]], np.float32)
    high = np.full(1, 0.9, np.float32)
    return Detections(box, high, np.array([label], np.int64), high)


class World:
    """A gate whose detector takes its time; everything but camera and detector is real.

    Attributes:
        takes_s: from now on, of one answer.
        label: what it sees in every picture.
    """

    def __init__(self, answers_per_s: float, *, jitter: float = 0.0) -> None:
        self.clock = Clock()
        self.takes_s = 1 / answers_per_s
        self.label = MaskLabel.WITH_MASK
        self.events: list[dict] = []
        self.asked_ages_s: list[float] = []
        self.turn = lambda: None
        self._jitter, self._random = jitter, random.Random(7)
        policy = PolicyConfig()
        reporter = Reporter(EventMaker("lobby", clock=self.clock), lambda scene, is_open: None)
        reporter.add_event_sink(SimpleNamespace(write=self.events.append))
        self.door = Door(DoorConfig(tick_s=0.2), self.clock, reporter.signal)
        self.gate = Gate(
            camera=Camera(self.clock),
            frame_check=FrameCheck(FrameCheckConfig()),
            detector=self._detect,
            tracker=Tracker(TrackerConfig()),
            policy=Policy(policy, looks=policy.looks()),
            controller=DoorController(self.door, reporter, self.clock, fault_hold_s=6.5),
            limits=Limits(1.0, RESULT_S, 3, policy.answers_needed_per_s),
            second_look=self._look,
            on_turn=self._turned,
        )

    def run(self, seconds: float) -> World:
        self.gate.run(lambda: False, seconds)
        return self

    def states(self) -> list[tuple[str, str]]:
        return [(e["state"], e["reason"]) for e in self.events if e["type"] != "signal"]

    def openings(self) -> list[dict]:
        return [event for event in self.events if event.get("signal") == "allow"]

    def faults(self) -> list[dict]:
        return [event for event in self.events if event["type"] == "fault"]

    def _turned(self) -> None:
        self.door.tick()
        self.turn()

    def _work(self) -> None:
        """As the real one: an answer is waited for until it is too late."""
        takes_s = self.takes_s * (1 + self._jitter * (2 * self._random.random() - 1))
        self.clock.now_s += min(takes_s, RESULT_S)
        if takes_s > RESULT_S:
            raise LateAnswerError("no answer in time")

    def _detect(self, frame: Frame) -> Detections:
        self.asked_ages_s.append(self.clock() - frame.time_s)
        self._work()
        return face(self.label)

    def _look(self, frame: Frame, box_xyxy: object) -> bool:
        self._work()
        return True


class TestAGateThatIsSlow:
    @pytest.mark.parametrize("jitter", [0.0, 0.3])
    def test_at_six_answers_a_second_opens_as_ever_and_says_that_it_is_slow(self, jitter):
        slow, quick = World(6, jitter=jitter).run(20), World(30).run(20)
        assert len(slow.openings()) == len(quick.openings())
        assert slow.faults() == quick.faults() == []
        assert slow.events[-2]["slow"] is True
        assert not any("slow" in event for event in quick.events)

    @pytest.mark.parametrize("answers_per_s", [2, 4, 6])
    @pytest.mark.parametrize("jitter", [0.0, 0.3])
    def test_does_not_come_and_go(self, answers_per_s, jitter):
        assert len(World(answers_per_s, jitter=jitter).run(60).faults()) <= 1

    @pytest.mark.parametrize("answers_per_s", [1, 2, 3])
    def test_is_locked_and_told_why_where_nothing_can_be_proved(self, answers_per_s):
        world = World(answers_per_s).run(20)
        assert world.openings() == []
        (fault,) = world.faults()
        assert fault["reason"] == "model_fault"
        assert "times a second in time, too few to prove anything (4 are needed)" in fault["detail"]
        assert world.states()[-1] == ("fault", "model_fault")

    def test_judges_the_newest_picture(self):
        assert max(World(4.5).run(10).asked_ages_s) <= 1 / FPS + 1e-6

    def test_turns_a_bare_face_away(self):
        world = World(5)
        world.label = MaskLabel.WITHOUT_MASK
        world.run(20)
        assert world.openings() == []
        assert ("deny", "no_mask") in world.states()

    def test_is_logged_once_however_often_it_comes_and_goes(self, caplog):
        world = World(6)
        world.turn = lambda: setattr(world, "takes_s", 1 / (6 if world.clock() % 20 < 10 else 30))
        world.run(55)
        assert [record.message.partition(":")[0] for record in caplog.records] == ["slow"]


class TestAStall:
    """The machine gives the detector nothing for a while."""

    @staticmethod
    def open_then_stall(stall_s: float, seconds: float) -> World:
        """A door that stands open when the detector stops answering."""
        world = World(15)
        opened_s: list[float] = []

        def turn() -> None:
            if world.door.is_open and not opened_s:
                opened_s.append(world.clock())
            stalls = bool(opened_s) and world.clock() < opened_s[0] + stall_s
            world.takes_s = 60.0 if stalls else 1 / 15

        world.turn = turn
        return world.run(seconds)

    def test_of_one_answer_is_no_fault(self):
        """Half a second unseen, and whoever stands there is judged anew: that is all."""
        world = self.open_then_stall(0.4, 12.0)
        assert world.faults() == []
        assert len(world.openings()) >= 2

    def test_renews_no_lease_and_is_told_when_that_has_ended(self):
        world = self.open_then_stall(60.0, 10.0)
        opening = world.openings()[0]
        closing = next(e for e in world.events[world.events.index(opening) + 1 :] if "signal" in e)
        assert closing["time_s"] - opening["time_s"] <= PolicyConfig().lease_s + RESULT_S
        after = world.states()[world.states().index(("allow", "compliant")) + 1 :]
        assert after == [("checking", "uncertain"), ("fault", "model_fault")]

    def test_that_is_long_is_over_only_after_a_while_of_good_answers(self):
        world = self.open_then_stall(4.0, 20.0)
        assert len(world.faults()) == 1
        fault_s = world.faults()[0]["time_s"]
        back_s = next(e["time_s"] for e in world.events if e["time_s"] > fault_s and not (
            e["type"] == "fault" or "signal" in e
        ))  # fmt: skip
        assert back_s - fault_s >= STAYS_S
        assert len(world.openings()) >= 2


class TestPace:
    def test_no_question_no_verdict(self):
        pace = Pace(4.0)
        assert (pace.is_slow, pace.is_too_slow) == (False, False)
        assert pace.per_s == float("inf")

    def test_a_slow_camera_is_no_slow_detector(self):
        pace = Pace(4.0)
        for second in range(20):
            pace.answered(second, second + 0.02)
        assert not pace.is_slow

    def test_nothing_is_said_before_enough_is_known(self):
        pace = Pace(4.0)
        pace.answered(0.0, 1.0)
        pace.answered(1.0, 1.9)
        assert not pace.is_slow
        for second in range(2, int(SPAN_S) + 2):
            pace.answered(second, second + 0.9)
        assert pace.is_too_slow

    def test_the_time_between_a_late_answer_and_the_next_question_counts_as_work(self):
        pace = Pace(4.0)
        pace.late(0.0, 0.5)
        pace.late(0.9, 0.9)
        pace.answered(1.0, 1.1)
        assert pace.per_s == pytest.approx(1 / 1.1)

    def test_a_question_long_without_answer_is_too_slow_at_once(self):
        pace = Pace(4.0)
        pace.answered(0.0, 0.1)
        pace.late(0.2, 0.7)
        assert not pace.is_too_slow
        pace.late(0.1 + SILENT_S, 0.2 + SILENT_S)
        assert pace.is_too_slow
