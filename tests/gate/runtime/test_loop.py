"""The loop with the real frame check, tracker, policy and door: from what is seen to the edges."""

import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mask_gate.gate.camera.frame_check import FrameCheck, FrameCheckConfig
from mask_gate.gate.clock import ReplayClock
from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.decision.tracker import Tracker, TrackerConfig
from mask_gate.gate.domain import NO_PICTURE, Frame, Reason, SignalKind, State
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import AuditError, CameraError, ModelError
from mask_gate.gate.events import EventMaker
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import GuardianSettings
from mask_gate.gate.runtime.loop import Gate, Limits, Summary
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel

FPS = 20.0
SIZE_HW = (120, 160)
BOX = (60.0, 30.0, 100.0, 80.0)
ELSEWHERE = (10.0, 30.0, 50.0, 80.0)

MASK, BARE, NOSE = MaskLabel.WITH_MASK, MaskLabel.WITHOUT_MASK, MaskLabel.MASK_WEARED_INCORRECT
START, STOP = ("deny", "starting"), ("deny", "stopping")


def faces(*labels, boxes=(BOX, ELSEWHERE), scores=0.9, margins=0.8):
    count = len(labels)
    return Detections(
        np.array(boxes[:count], np.float32).reshape(-1, 4),
        np.full(count, scores, np.float32),
        np.array(labels, np.int64),
        np.full(count, margins, np.float32),
    )


def noise(index):
    """A picture that is live: no two are alike."""
    return np.random.default_rng(index).integers(0, 256, (*SIZE_HW, 3), np.uint8)


class Script:
    """A camera and a detector that play a list of steps, one for each frame.

    A step is what the detector answers: Detections, or an exception to raise, or a function of
    the frame. The step `LOST` is no frame at all for a while, `image=...` another picture.
    """

    def __init__(self, steps, clock, fps=FPS):
        self.steps = list(steps)
        self.clock = clock
        self.period_s = 1 / fps
        self.next_s = 0.0
        self.index = 0
        self.answer = None

    @property
    def ended(self):
        return self.index >= len(self.steps)

    def read(self, timeout_s):
        step = self.steps[self.index]
        self.index += 1
        self.next_s += self.period_s
        if step is LOST:
            self.clock.now_s = max(self.clock.now_s, self.next_s)
            return None
        if isinstance(step, CameraError):
            raise step
        image = noise(self.index)
        if isinstance(step, tuple):
            image, step = step
        self.answer = step
        return Frame(image, self.next_s, self.index)

    def detect(self, frame):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(frame) if callable(self.answer) else self.answer


LOST = object()
LIMITS = Limits(camera_s=1.0, result_s=0.5, fault_frames=3)


class Heard:
    """An output that writes down what the door says."""

    def __init__(self):
        self.signals = []
        self.events = []

    def send(self, signal, event):
        self.signals.append(signal)
        self.events.append(event)

    def close(self):
        pass

    @property
    def edges(self):
        return [(signal.kind.value, signal.reason.value) for signal in self.signals]


def for_seconds(seconds, step):
    return [step] * round(seconds * FPS)


def world(steps, clock=None, detector=None, camera=None, **options):
    """A gate on a script, with everything behind it real; nothing has happened yet."""
    clock = clock or ReplayClock()
    script = Script(steps, clock)
    heard, told, written = Heard(), [], []
    reporter = Reporter(
        EventMaker("lobby", "sha256:test"),
        lambda scene, is_open: told.append(
            (scene.decision.state.value, scene.decision.reason.value, is_open)
        ),
    )
    reporter.add_event_sink(SimpleNamespace(write=written.append))
    reporter.add(heard)
    door = Door(DoorConfig(), clock, reporter.signal)
    controller = DoorController(door, reporter, clock, fault_hold_s=6.5)
    gate = Gate(
        camera=camera or script,
        frame_check=FrameCheck(FrameCheckConfig()),
        detector=detector or script.detect,
        tracker=Tracker(TrackerConfig()),
        controller=controller,
        **({"limits": LIMITS, "policy": Policy(PolicyConfig())} | options),
    )
    return SimpleNamespace(
        gate=gate, controller=controller, heard=heard, told=told, events=written, reporter=reporter
    )


def never():
    return False


def run(steps, **options):
    """Play a script to its end."""
    played = world(steps, **options)
    played.summary = played.gate.run(never)
    return played


def allowed(played):
    return [edge for edge in played.heard.edges if edge[0] == "allow"]


class TestAnOpeningThatIsRefused:
    """What the door does not take ends the grant of the policy."""

    def test_is_not_tried_again_before_the_person_has_earned_it_anew(self):
        intents = []

        class Witness:
            def intend(self, signal, event):
                intents.append(signal.time_s)
                if len(intents) == 1:
                    raise AuditError("no row on the disk in time")

        played = world(for_seconds(6, faces(MASK)))
        played.reporter.require_record(Witness())
        played.gate.run(never)
        assert played.told[1] == ("fault", "audit_unavailable", False)
        assert len(intents) == 2
        assert intents[1] - intents[0] >= PolicyConfig().cool_down_s - 1e-6
        assert len(allowed(played)) == 1

    def test_by_an_output_leaves_the_door_locked_while_it_is_distrusted(self):
        played = world(for_seconds(3, faces(MASK)))
        played.controller.output_failed("the relay is gone")
        played.gate.run(never)
        assert allowed(played) == []
        assert {told[1] for told in played.told} == {"output_fault"}


class TestPassages:
    def test_nobody(self):
        played = run(for_seconds(1, faces()))
        assert played.heard.edges == [START, STOP]
        assert played.told == [("idle", "no_face", False)]

    def test_no_frame_at_all(self):
        played = run([])
        assert played.heard.edges == [START, STOP]
        assert played.summary == Summary(0, played.summary.seconds, ())

    def test_a_proper_mask_opens_once_and_the_door_closes_behind(self):
        played = run([*for_seconds(2, faces(MASK)), *for_seconds(2, faces())])
        assert played.heard.edges == [START, ("allow", "compliant"), ("deny", "uncertain"), STOP]
        assert (played.reporter.openings, played.reporter.denials) == (1, 0)

    def test_no_mask_is_turned_away(self):
        played = run(for_seconds(1.5, faces(BARE)))
        assert played.heard.edges == [START, ("deny", "no_mask"), STOP]
        assert (played.reporter.openings, played.reporter.denials) == (0, 1)

    def test_a_mask_under_the_nose_is_turned_away(self):
        assert run(for_seconds(1.5, faces(NOSE))).heard.edges == [
            START,
            ("deny", "mask_incorrect"),
            STOP,
        ]

    def test_everybody_must_comply(self):
        played = run(for_seconds(1.5, faces(MASK, BARE)))
        assert allowed(played) == []
        assert played.told[-1] == ("deny", "group_mixed", False)
        assert played.reporter.denials == 1

    def test_a_mask_taken_off_locks_at_once(self):
        played = run([*for_seconds(1, faces(MASK)), *for_seconds(1, faces(BARE))])
        opening, locking = played.heard.signals[1:3]
        assert (opening.kind, locking.kind) == (SignalKind.ALLOW, SignalKind.DENY)
        assert locking.time_s == pytest.approx(1.0 + 1 / FPS)  # the first bare frame

    def test_standing_there_for_ever_opens_once_within_the_hard_cap(self):
        played = run(for_seconds(8, faces(MASK)))
        opening, locking = played.heard.signals[1:3]
        assert locking.time_s - opening.time_s <= DoorConfig().max_open_s


class TestWhatIsTold:
    def test_a_line_for_each_change_of_state_reason_or_door(self):
        played = run([*for_seconds(1.5, faces(MASK)), *for_seconds(1, faces())])
        assert played.told == [
            ("checking", "uncertain", False),
            ("allow", "compliant", True),
            ("checking", "uncertain", False),
            ("idle", "no_face", False),
        ]

    def test_an_event_for_each_signal_and_each_change_of_decision(self):
        played = run([*for_seconds(1.5, faces(MASK)), *for_seconds(1, faces())])
        assert [(e["type"], e["state"], e["reason"], e["door"]) for e in played.events] == [
            ("signal", "idle", "starting", "locked"),
            ("decision", "checking", "uncertain", "locked"),
            ("signal", "allow", "compliant", "open"),
            ("decision", "allow", "compliant", "open"),
            ("signal", "checking", "uncertain", "locked"),
            ("decision", "checking", "uncertain", "locked"),
            ("decision", "idle", "no_face", "locked"),
            ("signal", "idle", "stopping", "locked"),
        ]

    def test_an_event_carries_the_people_it_is_about(self):
        played = run(for_seconds(1.5, faces(BARE)))
        event = next(e for e in played.heard.events if e["reason"] == "no_mask")
        (person,) = event["tracks"]
        assert person["label"] == "without_mask"
        assert person["votes"]["without_mask"] >= 3
        assert event["faces"] == 1
        assert event["latency_ms"] >= 0

    def test_the_summary_counts_frames_and_latencies(self):
        summary = run(for_seconds(1, faces())).summary
        assert summary.frames == FPS
        assert len(summary.latencies_s) == FPS
        assert 0 < summary.latency_ms(0.5) <= summary.latency_ms(0.95)
        assert summary.fps > 0

    def test_a_summary_of_nothing_is_zero(self):
        empty = Summary(0, 0.0, ())
        assert (empty.fps, empty.latency_ms(0.95)) == (0.0, 0.0)


class TestShow:
    def test_gets_every_judged_frame_with_its_scene(self):
        shown = []
        run(for_seconds(0.5, faces(BARE)), show=lambda frame, scene: shown.append((frame, scene)))
        assert len(shown) == 0.5 * FPS
        assert all(frame.time_s == scene.decision.time_s for frame, scene in shown)

    def test_a_lost_camera_is_shown_on_the_last_picture(self):
        shown = []
        run(
            [faces(), *for_seconds(2, LOST)], show=lambda frame, scene: shown.append((frame, scene))
        )
        frame, scene = shown[-1]
        assert frame is shown[0][0]
        assert scene.decision.reason is Reason.CAMERA_LOST

    def test_before_the_first_picture_the_fault_is_shown_on_none(self):
        """A visitor's screen says that the door is out of order, also before there is a camera."""
        shown = []
        run(for_seconds(2, LOST), show=lambda frame, scene: shown.append((frame, scene)))
        assert {frame.index for frame, _ in shown} == {NO_PICTURE}
        assert {scene.decision.reason for _, scene in shown} == {Reason.CAMERA_LOST}
        assert not any(frame.image.any() for frame, _ in shown)

    def test_a_picture_that_cannot_be_drawn_ends_the_gate_locked(self):
        def broken(frame, scene):
            if scene.decision.state is State.ALLOW:
                raise RuntimeError("cannot draw")

        played = world(for_seconds(2, faces(MASK)), show=broken)
        with pytest.raises(RuntimeError, match="cannot draw"):
            played.gate.run(never)
        assert played.heard.edges == [START, ("allow", "compliant"), STOP]


class TestCameraFaults:
    def test_silence_locks_when_the_lease_is_over_and_is_a_fault_soon(self):
        played = run([*for_seconds(1, faces(MASK)), *for_seconds(3, LOST)])
        assert played.heard.edges == [
            START,
            ("allow", "compliant"),
            ("deny", "uncertain"),
            ("deny", "camera_lost"),
            STOP,
        ]
        assert played.told[-1] == ("fault", "camera_lost", False)

    def test_evidence_from_before_the_silence_does_not_count(self):
        almost = for_seconds(0.4, faces(MASK))
        played = run([*almost, *for_seconds(1.2, LOST), *almost, *for_seconds(1.2, LOST)])
        assert allowed(played) == []

    def test_it_opens_again_when_pictures_flow_again(self):
        played = run([*for_seconds(2, LOST), *for_seconds(1, faces(MASK))])
        assert allowed(played) == [("allow", "compliant")]

    def test_one_late_frame_is_no_fault(self):
        played = run([faces(), *for_seconds(0.9, LOST), faces()])
        assert played.told == [("idle", "no_face", False)]

    def test_a_frozen_picture_never_opens(self):
        still = noise(0)
        played = run(for_seconds(5, (still, faces(MASK))))
        assert allowed(played) == []
        assert played.told[-1] == ("fault", "frozen", False)

    def test_a_picture_that_freezes_locks(self):
        still = noise(0)
        played = run([*for_seconds(1, faces(MASK)), *for_seconds(2, (still, faces(MASK)))])
        opening, locking = played.heard.signals[1:3]
        assert opening.kind is SignalKind.ALLOW
        assert locking.time_s - opening.time_s <= 2.0

    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_a_black_grey_or_white_picture_never_opens(self, grey):
        blank = np.full((*SIZE_HW, 3), grey, np.uint8)
        played = run(for_seconds(2, (blank, faces(MASK))))
        assert allowed(played) == []
        assert played.told == [("fault", "bad_image", False)]

    def test_a_damaged_clip_ends_the_run_locked(self):
        played = world([*for_seconds(1, faces(MASK)), CameraError("damaged")])
        with pytest.raises(CameraError, match="damaged"):
            played.gate.run(never)
        assert played.heard.edges == [START, ("allow", "compliant"), STOP]


NONSENSE = {
    "NaN box": faces(MASK, boxes=((float("nan"), 30.0, 100.0, 80.0),)),
    "infinite box": faces(MASK, boxes=((60.0, 30.0, float("inf"), 80.0),)),
    "inverted box": faces(MASK, boxes=((100.0, 30.0, 60.0, 80.0),)),
    "NaN score": faces(MASK, scores=float("nan")),
    "score above 1": faces(MASK, scores=1.5),
    "negative score": faces(MASK, scores=-0.1),
    "NaN margin": faces(MASK, margins=float("nan")),
    "class out of range": faces(3),
    "negative class": faces(-1),
    "too many": faces(*[MASK] * 101, boxes=[BOX] * 101),
    "an exception": RuntimeError("CUDA error: device-side assert triggered"),
    "a model error": ModelError("not finite"),
    "nothing at all": lambda frame: None,
}


class TestModelFaults:
    @pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
    def test_nonsense_never_opens_and_never_ends_the_loop(self, nonsense):
        played = run(for_seconds(2, nonsense))
        assert allowed(played) == []
        assert played.told == [("fault", "model_fault", False)]
        assert played.summary.frames == 2 * FPS

    @pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
    def test_one_frame_of_nonsense_locks_an_open_door(self, nonsense):
        played = run([*for_seconds(1, faces(MASK)), nonsense, faces(MASK), faces(MASK)])
        assert played.heard.edges == [
            START,
            ("allow", "compliant"),
            ("deny", "model_fault"),
            STOP,
        ]

    def test_evidence_must_begin_anew_after_it(self):
        almost = for_seconds(0.45, faces(MASK))
        assert allowed(run([*almost, RuntimeError(), *almost, RuntimeError(), *almost])) == []
        assert allowed(run(almost * 3)) == [("allow", "compliant")]

    def test_after_three_in_a_row_three_sound_frames_must_come(self):
        seen = []
        steps = [RuntimeError()] * 3 + [faces()] * 5
        run(steps, show=lambda frame, scene: seen.append(scene.decision.state.value))
        assert seen == ["fault"] * 5 + ["idle"] * 3

    def test_after_fewer_the_next_sound_frame_counts(self):
        seen = []
        steps = [RuntimeError(), RuntimeError(), faces()] * 2
        run(steps, show=lambda frame, scene: seen.append(scene.decision.state.value))
        assert seen == ["fault", "fault", "idle"] * 2

    def test_each_streak_is_logged_once(self, caplog):
        run([ModelError("broken")] * 5 + [faces()] * 5 + [ModelError("broken")] * 5)
        assert [record.message for record in caplog.records] == [
            "this frame counts for nothing: broken"
        ] * 2

    def test_an_answer_that_comes_late_never_opens(self):
        clock = ReplayClock()

        def slow(frame):
            clock.now_s = frame.time_s + 0.6
            return faces(MASK)

        played = run(for_seconds(5, slow), clock=clock)
        assert allowed(played) == []
        assert played.told == [("fault", "model_fault", False)]

    def test_an_answer_that_comes_in_time_does(self):
        clock = ReplayClock()

        def slow(frame):
            clock.now_s = frame.time_s + 0.4
            return faces(MASK)

        assert allowed(run(for_seconds(1, slow), clock=clock)) == [("allow", "compliant")]


class TestOutputFaults:
    def test_a_failed_output_locks_now_and_allows_nothing_for_a_while(self):
        steps = [faces(MASK)] * round(10 * FPS)
        failed_at = []

        def fail_once(frame, scene):
            if scene.decision.state is State.ALLOW and not failed_at:
                failed_at.append(frame.time_s)
                played.controller.output_failed("the allow hook ended with code 3")

        played = world(steps, show=fail_once)
        played.gate.run(never)
        kinds = [(s.kind.value, s.reason.value, s.time_s) for s in played.heard.signals]
        assert kinds[1][:2] == ("allow", "compliant")
        assert kinds[2] == ("deny", "output_fault", failed_at[0])
        later = [time_s for kind, _, time_s in kinds[2:] if kind == "allow"]
        assert later
        assert min(later) >= failed_at[0] + 6.5

    def test_it_is_logged_once_however_often_it_is_tried(self, caplog):
        played = world([])
        for _ in range(5):
            played.controller.output_failed("the deny hook ended with code 1")
        assert [record.message for record in caplog.records] == [
            "out of order: the deny hook ended with code 1"
        ]

    def test_a_lost_camera_has_no_latency_while_the_outputs_are_out_of_order_either(self):
        played = world([faces(), *for_seconds(2, LOST)])
        played.controller.output_failed("the deny hook ended with code 1")
        assert len(played.gate.run(never).latencies_s) == 1


class TestEnds:
    def test_stop_is_asked_before_every_frame(self):
        answers = iter([False, False, True])
        played = world(for_seconds(1, faces()))
        assert played.gate.run(lambda: next(answers)).frames == 2
        assert played.heard.edges == [START, STOP]

    def test_after_so_many_seconds(self):
        played = world(for_seconds(5, faces()))
        assert played.gate.run(never, seconds=1.0).frames == pytest.approx(FPS, abs=1)


class TestReplay:
    STEPS = (
        *for_seconds(2, faces(MASK)),
        *for_seconds(1, faces()),
        *for_seconds(1, faces(BARE)),
        *for_seconds(1, faces(MASK, BARE)),
        *for_seconds(3, faces(MASK)),
    )

    def test_gives_the_same_edges_at_the_same_times_every_time(self):
        first, second = (
            [(s.kind, s.reason, s.time_s, s.until_s) for s in run(self.STEPS).heard.signals]
            for _ in range(2)
        )
        assert first == second

    def test_a_lease_ends_at_its_exact_time_between_two_frames(self):
        clock = ReplayClock()
        script = [*for_seconds(1, faces(MASK)), faces(), faces()]
        camera = Script(script, clock)
        read = camera.read

        def read_with_a_gap(timeout_s):
            if camera.index == round(FPS):  # a hole in the recording
                camera.next_s += 3.3
            return read(timeout_s)

        camera.read = read_with_a_gap
        played = world([], clock=clock, camera=camera, detector=camera.detect)
        played.gate.run(never)
        locking = next(s for s in played.heard.signals[1:] if s.kind is SignalKind.DENY)
        assert locking.time_s == pytest.approx(1.0 + PolicyConfig().lease_s)


STEPS = {
    "nobody": faces(),
    "mask": faces(MASK),
    "masks": faces(MASK, MASK),
    "bare": faces(BARE),
    "nose": faces(NOSE),
    "mixed": faces(MASK, BARE),
    "unsure": faces(MASK, scores=0.3),
    "nonsense": NONSENSE["NaN score"],
    "exception": NONSENSE["an exception"],
    "still": (noise(0), faces(MASK)),
    "black": (np.zeros((*SIZE_HW, 3), np.uint8), faces(MASK)),
    "lost": LOST,
}
BROKEN = {"nonsense", "exception", "black"}
COMPLIANT = {"mask", "masks", "still"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(1, 25), st.sampled_from([*STEPS, "mask", "mask"])), max_size=8)
)
def test_whatever_happens_an_opening_is_earned_short_and_ended(trace):
    names = [name for count, name in trace for _ in range(count)]
    signals = run([STEPS[name] for name in names]).heard.signals
    assert (signals[0].reason, signals[-1].reason) == (Reason.STARTING, Reason.STOPPING)
    for signal, after in itertools.pairwise(signals):
        if signal.kind is SignalKind.ALLOW:
            assert after.kind is SignalKind.DENY
            assert after.time_s - signal.time_s <= DoorConfig().max_open_s + 1e-9
            number = round(signal.time_s * FPS)
            proof = names[number - round(PolicyConfig().min_evidence_s * FPS) : number]
            assert proof[-1] in COMPLIANT
            assert not BROKEN & set(proof)
            assert sum(name in COMPLIANT for name in proof) >= PolicyConfig().min_frames


class LiveScript:
    """A camera in real time that answers with a fresh picture whenever it is asked."""

    def __init__(self):
        self.ended = False
        self.index = 0

    def read(self, timeout_s):
        time.sleep(0.02)
        self.index += 1
        return Frame(noise(self.index), time.monotonic(), self.index)


PATIENT = replace(LIMITS, camera_s=30.0, result_s=30.0)  # so that a busy machine is no fault


class TestInRealTime:
    def test_the_door_locks_by_itself_while_the_detector_hangs(self):
        opened, locked, release = threading.Event(), threading.Event(), threading.Event()

        def detector(frame):
            if opened.is_set():
                release.wait(30.0)
            return faces(MASK)

        played = world(
            [], clock=time.monotonic, camera=LiveScript(), detector=detector, limits=PATIENT
        )
        send = played.heard.send

        def listen(signal, event):
            send(signal, event)
            if signal.kind is SignalKind.ALLOW:
                opened.set()
            elif opened.is_set():
                locked.set()

        played.heard.send = listen
        thread = threading.Thread(target=played.gate.run, args=(locked.is_set, 60.0))
        thread.start()
        try:
            assert opened.wait(30.0)
            assert locked.wait(30.0)
        finally:
            release.set()
            thread.join(30.0)
        assert played.heard.edges == [START, ("allow", "compliant"), ("deny", "uncertain"), STOP]

    def test_a_relay_script_hears_the_complete_list_of_edges(self, tmp_path):
        edges = tmp_path / "edges"
        script = tmp_path / "relay.sh"
        script.write_text(f'#!/bin/sh\necho "$1 $MASK_GATE_REASON" >> {edges}\n')
        script.chmod(0o755)
        stage = {"now": faces(MASK)}
        opened = threading.Event()
        played = world(
            [],
            clock=time.monotonic,
            camera=LiveScript(),
            detector=lambda frame: stage["now"],
            limits=PATIENT,
        )
        commands = {"kind": "command", "on_allow": str(script), "on_deny": str(script)}
        relay = GuardedRelay(
            GuardianSettings(commands, 60.0), on_fault=played.controller.output_failed
        )
        played.reporter.add(relay)

        def seen(line):
            return edges.exists() and line in edges.read_text()

        def stop():
            if seen("allow compliant"):
                stage["now"] = faces(BARE)
                opened.set()
            return seen("deny no_mask")

        played.gate.run(stop, seconds=60.0)
        relay.close()
        heard = edges.read_text().splitlines()
        assert opened.is_set()
        assert heard == [" ".join(edge) for edge in played.heard.edges]
        assert heard[0] == "deny starting"
        assert heard[1] == "allow compliant"
        assert heard[-2:] == ["deny no_mask", "deny stopping"]

    def test_a_relay_that_fails_to_open_puts_the_gate_out_of_order(self, tmp_path):
        script = tmp_path / "relay.sh"
        script.write_text('#!/bin/sh\n[ "$1" = deny ]\n')
        script.chmod(0o755)
        played = world(
            [],
            clock=time.monotonic,
            camera=LiveScript(),
            detector=lambda frame: faces(MASK),
            limits=PATIENT,
        )
        commands = {"kind": "command", "on_allow": str(script), "on_deny": str(script)}
        relay = GuardedRelay(
            GuardianSettings(commands, 60.0), on_fault=played.controller.output_failed
        )
        played.reporter.add(relay)
        played.gate.run(lambda: ("fault", "output_fault", False) in played.told, seconds=60.0)
        relay.close()
        assert played.heard.edges == [
            START,
            ("allow", "compliant"),
            ("deny", "output_fault"),
            STOP,
        ]


class TestASecondLook:
    """A face that the policy would believe is looked at once more, by the same detector."""

    def play(self, look, **options):
        policy = PolicyConfig()
        return run(
            for_seconds(3, faces(MASK)),
            policy=Policy(policy, looks=policy.looks()),
            second_look=look,
            **options,
        )

    def test_that_bears_out_opens_the_door(self):
        looks = []

        def look(frame, box_xyxy):
            looks.append((frame.time_s, box_xyxy))
            return True

        played = self.play(look)
        assert allowed(played)
        assert PolicyConfig().second_looks <= len(looks) < 3 / PolicyConfig().second_look_s

    def test_that_doubts_keeps_it_locked(self):
        assert not allowed(self.play(lambda frame, box_xyxy: False))

    def test_that_is_not_there_keeps_it_locked(self):
        assert not allowed(self.play(None))

    def test_that_fails_is_a_fault_of_the_model(self):
        def broken(frame, box_xyxy):
            raise ModelError("no answer in 0.5 s")

        played = self.play(broken)
        assert not allowed(played)
        assert ("fault", "model_fault", False) in played.told
