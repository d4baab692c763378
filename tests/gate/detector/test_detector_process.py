"""The detector's process with every fault it can have: the right answer comes, or none does.

Processes, pipes and signals are real. Most tests run `faulty_detector.py`, which serves through
the same loop as the real one; the last ones run the bundled detector.
"""

import contextlib
import importlib.util
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mask_gate.gate.detector.child import worker_command
from mask_gate.gate.detector.detector_process import DetectorProcess
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.gate.system.processes import RestartBudget
from mask_gate.models.files.digest_file import write_digest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("faulty_detector.py")
FAULTS = int(os.environ.get("MASK_GATE_FAULTS", "4"))
"""Of the storm; `MASK_GATE_FAULTS=100` is a long look, on a machine that does nothing else."""

PATIENCE_S = 60.0
BACK_S = 10.0 if FAULTS >= 100 else PATIENCE_S


def load_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faulty = load_script(SCRIPT)
Fault, frame, right = faulty.Fault, faulty.frame, faulty.answers
NOBODY = faulty.NOBODY


def passes(detect, point):
    """A self-test that asks nothing."""
    return []


def wait_until(condition, what="the condition"):
    deadline = time.monotonic() + PATIENCE_S
    while not (met := condition()):
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.01)
    return met


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def ask_until_answered(process, value=1):
    """Ask frame after frame; seconds until one was answered, and what was said before."""
    began_s, said = time.monotonic(), []
    while True:
        try:
            assert right(process(frame(value)), value)
        except ModelError as error:
            said.append(str(error))
        else:
            return time.monotonic() - began_s, said
        assert time.monotonic() - began_s < PATIENCE_S, said[-1]
        time.sleep(0.02)


def quick_budget(**rule):
    return RestartBudget(**({"first_pause_s": 0.01} | rule))


@pytest.fixture(scope="module")
def start():
    """Starts processes that are ended after the last test of this file at the latest."""
    made = []

    def make(mode="serves", *arguments, selftest=passes, budget=None, cameras=1, **limits):
        command = [sys.executable, str(SCRIPT), mode, *map(str, arguments)]
        limits = ProcessLimits(**({"result_s": PATIENCE_S, "hang_s": PATIENCE_S} | limits))
        made.append(DetectorProcess(command, selftest, limits, budget or quick_budget(), cameras))
        return made[-1]

    yield make
    for process in made:
        process.close()


@pytest.fixture(scope="module")
def process(start):
    """One process for all tests after which it still serves."""
    return start()


class TestAnAnswer:
    def test_comes_back_number_by_number(self, process):
        for value in (0, 1, 99, NOBODY):
            assert right(process(frame(value)), value)
        assert (process.model_id, process.engine_name) == ("sha256:faulty", "faulty by test")

    def test_belongs_to_frames_of_any_size_and_memory_layout(self, process):
        for value, size_hw in enumerate([(200, 200), (1080, 1920), (300, 201), (2160, 3840)]):
            assert right(process(frame(value, size_hw=size_hw)), value)
        wide = frame(5, size_hw=(200, 400))
        assert right(process(Frame(wide.image[:, ::2], 0.0, 0)), 5)
        assert right(process(Frame(np.asfortranarray(wide.image), 0.0, 0)), 5)

    @pytest.mark.parametrize(
        ("image", "complaint"),
        [
            (np.zeros((2161, 3840, 3), np.uint8), "up to 8294400 pixels"),
            (np.zeros((200, 0, 3), np.uint8), "a picture of"),
            (np.zeros((200, 200), np.uint8), r"\[H, W, 3\] uint8"),
            (np.zeros((200, 200, 4), np.uint8), r"\[H, W, 3\] uint8"),
            (np.zeros((200, 200, 3), np.float32), r"\[H, W, 3\] uint8"),
        ],
        ids=["too large", "empty", "grey", "BGRA", "floats"],
    )
    def test_is_refused_for_what_is_no_picture(self, process, image, complaint):
        with pytest.raises(ModelError, match=complaint):
            process(Frame(image, 0.0, 0))
        assert right(process(frame(3)), 3)

    def test_is_not_disturbed_by_what_libraries_print(self, process):
        pid = process.pid
        assert right(process(frame(4, Fault.PRINTS)), 4)
        assert right(process(frame(5)), 5)
        assert process.pid == pid


class TestALie:
    @pytest.mark.parametrize(
        ("fault", "complaint"),
        [
            (Fault.RAISES, r"the detector failed \(RuntimeError: CUDA error: device-side assert"),
            (Fault.NAN, "corners that are not finite"),
            (Fault.INFINITE, "corners that are not finite"),
            (Fault.SCORE_ABOVE_1, "score outside 0..1"),
            (Fault.SCORE_BELOW_0, "margin outside 0..1"),
            (Fault.CLASS_7, "class outside 0..2"),
            (Fault.CLASS_MINUS_1, "class outside 0..2"),
            (Fault.NO_AREA, "box without area"),
            (Fault.OUTSIDE, "outside of a picture of 200 x 200"),
            (Fault.OTHER_SHAPES, r"expected shape \(1,\) to match"),
            (Fault.NO_DETECTIONS, "the detector failed"),
            (Fault.FACES_150, "150 faces, expected at most 100"),
            (Fault.FACES_100000, "100000 faces, expected at most 1000"),
        ],
    )
    def test_costs_its_frame_and_no_other(self, process, fault, complaint):
        pid = process.pid
        for value in (8, 9):
            with pytest.raises(ModelError, match=complaint):
                process(frame(value, fault))
        assert right(process(frame(10)), 10)
        assert process.pid == pid

    def test_three_times_in_a_row_replaces_the_process(self, start, caplog):
        process = start()
        pid = process.pid
        for _ in range(3):
            with pytest.raises(ModelError, match="not finite"):
                process(frame(1, Fault.NAN))
        wait_until(lambda: process.pid != pid)
        ask_until_answered(process)
        assert not is_alive(pid)
        assert "failed 3 frames in a row, the last so: the model gave a box" in caplog.text
        process.close()

    def test_a_crowd_is_no_reason_to_replace_it(self, process):
        pid = process.pid
        for _ in range(5):
            with pytest.raises(ModelError, match="150 faces"):
                process(frame(1, Fault.FACES_150))
        assert right(process(frame(2)), 2)
        assert process.pid == pid

    @pytest.mark.parametrize(
        "mode",
        [
            "answers the frame before",
            "answers the next frame",
            "answers twice",
            "answers half a face",
            "introduces itself again",
            "babbles",
            "promises a gigabyte",
        ],
    )
    def test_in_the_language_of_the_wire_ends_the_process(self, start, mode):
        process = start(mode)
        pid = process.pid
        accepted, said = 0, ""
        deadline = time.monotonic() + PATIENCE_S
        while "broke the protocol" not in said:
            assert time.monotonic() < deadline
            try:
                process(frame(1))
                accepted += 1
            except ModelError as error:
                said = str(error)
        assert accepted == (1 if mode == "answers twice" else 0)
        wait_until(lambda: not is_alive(pid))
        process.close()

    def test_now_and_then_is_never_believed(self, start):
        """One frame in ten fails, at random."""
        process = start("fails now and then")
        failed = 0
        for number in range(300):
            try:
                assert right(process(frame(number % 100)), number % 100)
            except ModelError:
                failed += 1
                if process.pid is None:  # three in a row are the end of a process
                    ask_until_answered(process)
        assert 10 <= failed <= 80


def ask_from(process, camera, asked, answers):
    """A thread that asks frame after frame from a camera until it is told to end."""
    ended = threading.Event()

    def ask():
        while not ended.is_set():
            try:
                answers.append(process(asked, camera))
            except ModelError as error:
                answers.append(error)
            time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()

    def end():
        ended.set()
        thread.join()

    return end


class TestSeveralCameras:
    def test_each_get_the_answer_about_their_own_picture(self, start):
        process = start(cameras=4)
        answers = [[] for _ in range(4)]
        ends = [
            ask_from(process, camera, frame(camera + 1), answers[camera]) for camera in range(4)
        ]
        wait_until(lambda: all(len(each) >= 50 for each in answers))
        for end in ends:
            end()
        for camera in range(4):
            assert all(right(found, camera + 1) for found in answers[camera])
        process.close()

    def test_are_judged_in_one_model_call_where_that_is_faster(self, start, caplog):
        process = start("runs them together", cameras=3)
        answers = [[] for _ in range(3)]
        # Two of them fail: one camera may be asked alone for ever, and the other two together.
        asked = frame(1), frame(2, Fault.NAN), frame(3, Fault.NAN)
        ends = [ask_from(process, camera, asked[camera], answers[camera]) for camera in range(3)]
        wait_until(lambda: all(len(each) >= 3 for each in answers))
        wait_until(
            lambda: "NaN" in map(str, [*answers[1], *answers[2]]), "a frame that fails among others"
        )
        for end in ends:
            end()
        assert {f"{n} frames in one call" for n in (2, 3)} & set(caplog.messages)
        assert all(right(found, 1) for found in answers[0])
        process.close()

    def test_of_which_one_gives_pictures_that_break_the_model_leave_the_others_theirs(self, start):
        """The process is not the one to blame, as long as others have sound answers."""
        process = start(cameras=2)
        pid = process.pid
        good, bad = [], []
        ends = [
            ask_from(process, 0, frame(1), good),
            ask_from(process, 1, frame(2, Fault.NAN), bad),
        ]
        wait_until(lambda: len(good) >= 30 and len(bad) >= 30)
        ends[0]()
        assert all(right(found, 1) for found in good)
        assert all("not finite" in str(error) for error in bad)
        assert process.pid == pid
        wait_until(lambda: process.pid not in (pid, None), "a new process, for nobody has answers")
        ends[1]()
        process.close()

    def test_are_without_answers_together_when_the_process_hangs_and_have_them_again(self, start):
        process = start(cameras=3, result_s=0.3, hang_s=1.0)
        pid = process.pid
        ask_until_answered(process)
        answers = [[] for _ in range(3)]
        ends = [ask_from(process, camera, frame(camera), answers[camera]) for camera in range(3)]
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: process.pid not in (pid, None), "the next process")
        wait_until(
            lambda: (
                all(
                    right(each[-1], camera)
                    for camera, each in enumerate(answers)
                    if not isinstance(each[-1], ModelError)
                )
                and not any(isinstance(each[-1], ModelError) for each in answers)
            )
        )
        for end in ends:
            end()
        assert all(any(isinstance(found, ModelError) for found in each) for each in answers)
        process.close()


class TestADelay:
    def test_is_not_waited_for_and_the_next_frame_does_not_queue_behind_it(self, start):
        process = start(result_s=0.3)
        pid = process.pid
        ask_until_answered(process)
        began_s = time.monotonic()
        with pytest.raises(ModelError, match=r"no answer in 0\.3 s; use a faster machine"):
            process(frame(40, Fault.SLEEPS, tenths=15))
        gave_up_s = time.monotonic()
        assert gave_up_s - began_s >= 0.3
        # Each is refused at once, until the late answer has come and is thrown away.
        _, said = ask_until_answered(process, 50)
        assert sum("still works on an earlier frame" in sentence for sentence in said) > 5
        assert time.monotonic() - began_s >= 1.5
        assert process.pid == pid
        process.close()

    @pytest.mark.parametrize("fault", [Fault.SLEEPS, Fault.STOPS])
    def test_beyond_measure_is_the_end_of_the_process(self, start, fault):
        process = start(result_s=0.3, hang_s=1.5)
        ask_until_answered(process)
        pid = process.pid
        with pytest.raises(ModelError, match="no answer"):
            process(frame(1, fault, tenths=250))
        wait_until(lambda: not is_alive(pid), "the kill")
        took_s, said = ask_until_answered(process, 2)
        assert took_s <= BACK_S
        told = "silent for 1.5 s; the detector is being started again", "no answer in 0.3 s"
        assert all(any(words in s for words in told) for s in said)  # a slow machine's the latter
        process.close()

    def test_at_the_first_frame_of_a_size_is_had_before_the_next_process_serves(self, start):
        """Fitting a network to pictures of a size may take longer than a camera can wait."""
        process = start("is slow at first", 2.0, result_s=0.3, hang_s=1.0)
        ask_until_answered(process)
        process.close()

    def test_is_waited_for_in_a_replay(self, start):
        process = start(result_s=None, hang_s=2.0)
        assert right(process(frame(7, Fault.SLEEPS, tenths=5)), 7)
        with pytest.raises(ModelError, match="silent for 2 s"):
            process(frame(1, Fault.STOPS))
        assert right(process(frame(8)), 8)
        process.close()


class TestADeath:
    @pytest.mark.parametrize(
        ("fault", "account"),
        [
            (Fault.EXITS, r"ended with code 3: 'something broke: out of luck'"),
            (Fault.CRASHES, r"was killed by signal 11"),
        ],
    )
    def test_is_told_and_made_good(self, start, fault, account, caplog):
        process = start()
        pid = process.pid
        with pytest.raises(ModelError, match="the detector's process"):
            process(frame(1, fault))
        took_s, _ = ask_until_answered(process, 2)
        assert took_s <= BACK_S
        assert process.pid != pid
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        death, birth = caplog.messages
        assert re.search(account, death)
        assert birth.startswith("the detector is back")
        process.close()

    def test_by_the_hand_of_another_is_made_good_without_a_frame(self, start):
        process = start()
        pid = process.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: process.pid not in (pid, None), "the next process")
        assert right(process(frame(6)), 6)
        process.close()

    def test_of_too_much_memory_comes_before_the_machine_has_none(self, start, caplog):
        process = start(max_memory_mb=200)
        pid = process.pid
        while process.pid == pid:
            with contextlib.suppress(ModelError):
                process(frame(1, Fault.GROWS))
            time.sleep(0.2)
        ask_until_answered(process)
        assert not is_alive(pid)
        assert "MiB in memory, more than 200; the detector is being started again" in caplog.text
        process.close()

    def test_six_times_is_out_of_service_until_a_later_try_succeeds(self, start):
        process = start(budget=quick_budget(window_s=600.0, retry_s=1.0))
        for _ in range(6):
            ask_until_answered(process)
            crashed_s = time.monotonic()
            with pytest.raises(ModelError):
                process(frame(1, Fault.CRASHES))
        said = wait_until(lambda: (no := refusal(process)) and "out of service" in no and no)
        assert said == (
            "the detector's process was killed by signal 11 (Segmentation fault); the detector is "
            "out of service, for it ended more than 5 times in 600 s, and is tried again every 1 s"
        )
        ask_until_answered(process)
        assert time.monotonic() - crashed_s > 1.0
        process.close()

    def test_storm(self, start):
        """Killed or stopped at random moments under a stream of frames: 0 wrong answers."""
        process = start(
            result_s=0.5, hang_s=1.0, budget=quick_budget(most=10**6, first_pause_s=0.0)
        )
        dice = random.Random(1)
        struck, answered_by = [], set()

        def strike():
            for _ in range(FAULTS):
                pid = wait_until(
                    lambda: process.pid in answered_by and process.pid, "a process to strike"
                )
                time.sleep(dice.uniform(0.0, 1.0))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, dice.choice([signal.SIGKILL, signal.SIGSTOP]))
                wait_until(lambda pid=pid: process.pid != pid, "its end")
                struck.append(pid)

        striker = threading.Thread(target=strike)
        striker.start()
        answered = outages = 0
        longest_s, good_s = 0.0, time.monotonic()
        while striker.is_alive() or not process.pid:
            value, pid = dice.randrange(100), process.pid
            try:
                assert right(process(frame(value)), value)
                answered_by.add(pid)
                now_s = time.monotonic()
                longest_s, good_s = max(longest_s, now_s - good_s), now_s
                answered += 1
            except ModelError:
                outages += 1
            time.sleep(0.005)
        ask_until_answered(process)
        print(f"{FAULTS} faults: {answered} right answers, longest outage {longest_s:.1f} s")
        assert len(struck) == FAULTS
        assert answered
        assert outages
        assert longest_s <= BACK_S
        process.close()


def refusal(process):
    """What a call says, when it says no; else nothing."""
    try:
        process(frame(1))
    except ModelError as error:
        return str(error)
    return ""


class TestTheSelfTest:
    def test_is_passed_by_each_process_before_any_answer_counts(self, start):
        asked = []

        def selftest(detect, point):
            asked.append(right(detect(frame(33)), 33))
            return []

        process = start(selftest=selftest)
        assert asked == [True]
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: len(asked) == 2)
        process.close()

    def test_not_passed_at_the_start_is_a_refusal(self, start):
        def selftest(detect, point):
            raise ModelError("the detector takes night for day and the gate refuses to start")

        with pytest.raises(ModelError, match="night for day and the gate refuses to start"):
            start(selftest=selftest)

    def test_not_passed_later_leaves_no_answers(self, start):
        verdicts = iter([None])

        def selftest(detect, point):
            if next(verdicts, ModelError("it takes night for day")) is not None:
                raise ModelError("it takes night for day")
            return []

        process = start(selftest=selftest, budget=quick_budget(most=2, retry_s=600.0))
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: "out of service" in refusal(process))
        assert refusal(process).startswith("it takes night for day; the detector is out of service")
        process.close()

    def test_remarks_are_logged_once(self, start, caplog):
        process = start(selftest=lambda detect, point: ["it is weak at night"])
        os.kill(pid := process.pid, signal.SIGKILL)
        wait_until(lambda: process.pid not in (pid, None))
        assert caplog.messages.count("it is weak at night") == 1
        process.close()

    def test_lies_are_seen_through_in_it_too(self, start):
        with pytest.raises(ModelError, match="corners that are not finite"):
            start(selftest=lambda detect, point: [str(detect(frame(1, Fault.NAN)))])


class TestTheStart:
    def test_tells_what_the_process_said(self, start):
        with pytest.raises(ModelError) as told:
            start("refuses")
        assert str(told.value) == "a.pth: damaged or not a checkpoint; copy it again"
        assert told.value.exit_code == 4

    def test_tells_how_the_process_broke(self, start):
        with pytest.raises(ModelError, match=r"code 1: 'ImportError: no torch here' before it was"):
            start("breaks")

    def test_takes_no_longer_than_it_may(self, start):
        began_s = time.monotonic()
        with pytest.raises(ModelError, match="not ready in 1 s; use a smaller model"):
            start("never gets ready", start_s=1.0)
        assert time.monotonic() - began_s < PATIENCE_S

    def test_of_something_that_is_no_program_is_a_sentence(self):
        with pytest.raises(ModelError, match=r"cannot be started \(No such file"):
            DetectorProcess(["/no/such/program"], passes, ProcessLimits(result_s=1.0))

    def test_takes_no_package_from_where_the_gate_is_started(self, tmp_path, monkeypatch):
        for package in ("gate", "models"):
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").write_text("raise SystemExit('a stranger')")
        monkeypatch.chdir(tmp_path)
        command = worker_command(Path("missing.pth"), "cpu")
        with pytest.raises(ModelError, match=r"missing\.pth: no such file"):
            DetectorProcess(command, passes, ProcessLimits(result_s=1.0))

    def test_passes_on_what_the_process_logs(self, start, caplog):
        start("warns").close()
        assert ("b.onnx was exported from another", logging.WARNING) in [
            (record.getMessage(), record.levelno) for record in caplog.records
        ]

    def test_with_other_weights_than_before_does_not_count(self, start, tmp_path):
        weights = tmp_path / "model_id"
        weights.write_text("sha256:1111")
        process = start("has the weights of", weights, budget=quick_budget(most=2, retry_s=0.5))
        weights.write_text("sha256:2222")
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: "out of service" in refusal(process))
        assert "the weights are others than at the start (sha256:2222 for" in refusal(process)
        weights.write_text("sha256:1111")
        ask_until_answered(process)
        process.close()

    def test_with_another_operating_point_than_before_does_not_count(
        self, start, operating_point, tmp_path
    ):
        brought, other = tmp_path / "point", operating_point.to_plain() | {"min_margin": 0.0}
        brought.write_text(json.dumps(operating_point.to_plain()))
        process = start("brings", brought, budget=quick_budget(most=2, retry_s=0.5))
        assert process.operating_point == operating_point
        brought.write_text(json.dumps(other))
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: "out of service" in refusal(process))
        assert "another operating point than at the start" in refusal(process)
        process.close()

    @pytest.mark.parametrize(
        "change",
        [{"min_margin": float("nan")}, {"min_margin": None}, {"face_score": 2.0}, {"classes": {}}],
    )
    def test_that_brings_an_impossible_operating_point_never_serves(
        self, start, operating_point, tmp_path, change
    ):
        brought = tmp_path / "point"
        brought.write_text(json.dumps(operating_point.to_plain() | change))
        with pytest.raises(ModelError, match="broke the protocol"):
            start("brings", brought)


class TestTheEnd:
    def test_leaves_no_process_and_no_answers(self, start):
        process = start()
        pid = process.pid
        process.close()
        process.close()
        assert not is_alive(pid)
        with pytest.raises(ModelError, match="is closed"):
            process(frame(1))

    def test_comes_also_while_a_frame_hangs(self, start):
        process = start(result_s=0.1)
        pid = process.pid
        with pytest.raises(ModelError):
            process(frame(1, Fault.STOPS))
        process.close()
        assert not is_alive(pid)

    @pytest.mark.parametrize("busy", [False, True])
    def test_of_the_gate_is_the_end_of_the_process(self, busy):
        """Killed with SIGKILL, the gate can tell nobody; the process hears its pipe end."""
        gate = subprocess.Popen(
            [sys.executable, "-c", GATE, str(SCRIPT), str(int(busy))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        pid = int(gate.stdout.readline())
        assert is_alive(pid)
        assert os.getpgid(pid) == pid  # Ctrl-C in the terminal does not reach it
        gate.kill()
        gate.communicate()
        wait_until(lambda: not is_alive(pid), "the end of the process")


GATE = """
import sys, time
sys.path.insert(0, "tests/gate/detector")
from faulty_detector import Fault, frame
from mask_gate.gate.detector.detector_process import DetectorProcess
from mask_gate.gate.detector.limits import ProcessLimits
limits = ProcessLimits(result_s=0.5, hang_s=600.0)
process = DetectorProcess([sys.executable, sys.argv[1], "serves"], lambda detect, point: [], limits)
if sys.argv[2] == "1":
    try: process(frame(1, Fault.SLEEPS, tenths=250))
    except ValueError: pass
print(process.pid, flush=True)
time.sleep(600)
"""


def test_no_process_of_the_gate_is_forked():
    """A fork of a process with threads may inherit a lock that nobody will ever release."""
    for path in (ROOT / "gate").rglob("*.py"):
        text = path.read_text()
        for word in ("multiprocessing", "os.fork", "preexec_fn", "ProcessPoolExecutor"):
            assert word not in text, f"{path}: {word}"


class TestTheRealDetector:
    def test_says_the_same_as_in_process_and_keeps_runtimes_out_of_the_gate(self):
        """Number for number, also after it was killed in between."""
        told = subprocess.run(
            [sys.executable, "-c", COMPARE],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert told.returncode == 0, told.stderr
        report = json.loads(told.stdout)
        assert report["loaded"] == []
        assert report["ours"] == report["theirs"]
        assert report["faces"] >= 4
        assert report["engine_name"] == "yolov3_lite by ONNX Runtime on cpu, 512 px"

    @pytest.mark.parametrize(
        ("weights", "device", "complaint"),
        [
            ("missing.pth", "cpu", "no such file; give a .pth checkpoint"),
            ("damaged.onnx", "cpu", "damaged or not an ONNX file"),
        ],
    )
    def test_that_cannot_be_used_is_a_sentence(self, tmp_path, weights, device, complaint):
        (tmp_path / "damaged.onnx").write_bytes(b"\x08\x00nothing of the kind")
        command = worker_command(tmp_path / weights, device)
        with pytest.raises(ModelError, match=complaint):
            DetectorProcess(command, passes, ProcessLimits(result_s=1.0))

    def test_whose_twin_was_exchanged_while_it_ran_is_not_replaced_by_one_that_runs_it(
        self, tmp_path
    ):
        """Somebody with a mind to it writes a digest for the other file, too."""
        for name in ("mask-gate-lite.pth", "mask-gate-lite.onnx", "mask-gate-lite.onnx.sha256"):
            (tmp_path / name).write_bytes((ROOT / "assets/weights" / name).read_bytes())
        twin = tmp_path / "mask-gate-lite.onnx"
        sound = twin.read_bytes()
        exchanged = bytearray(sound)
        exchanged[len(sound) // 2] ^= 0x40
        command = worker_command(tmp_path / "mask-gate-lite.pth", "cpu", EngineKind.ONNX)
        limits = ProcessLimits(result_s=PATIENCE_S, min_restart_s=PATIENCE_S)
        budget = quick_budget(most=1, retry_s=0.1)
        with contextlib.closing(DetectorProcess(command, passes, limits, budget)) as process:
            twin.write_bytes(exchanged)
            os.kill(process.pid, signal.SIGKILL)
            wait_until(lambda: "is not the file that was exported" in refusal(process))
            write_digest(twin)
            wait_until(lambda: "the weights are others than at the start" in refusal(process))
            twin.write_bytes(sound)
            write_digest(twin)
            wait_until(lambda: process.pid)


COMPARE = """
import json, os, signal, sys, time
from pathlib import Path
import cv2
from mask_gate.gate.detector.child import worker_command
from mask_gate.gate.detector.detector_process import DetectorProcess
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.domain import Frame
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.selftest import SelfTest
from mask_gate.gate.decision.vote_thresholds import VoteThresholds

weights = Path("assets/weights/mask-gate-lite.pth")
votes = VoteThresholds.of(None, None, None)
still_test = SelfTest(Path("assets/selftest"), high_score=0.2, votes=votes)
selftest = lambda detect, point: still_test(detect)
frames = [Frame(cv2.imread(str(p)), 0.0, 0) for p in sorted(Path("assets/selftest").glob("*.jpg"))]
frames += [Frame(cv2.copyMakeBorder(frames[2].image, 32, 32, 112, 112, cv2.BORDER_REFLECT), 0.0, 0)]

def numbers(found):
    return [a.tolist() for a in (found.boxes_xyxy, found.scores, found.labels, found.margins)]

limits = ProcessLimits(result_s=None, hang_s=60.0, start_s=300.0)
process = DetectorProcess(worker_command(weights, "cpu", EngineKind.ONNX), selftest, limits)
ours = [numbers(process(frame)) for frame in frames[:3]]
os.kill(pid := process.pid, signal.SIGKILL)
while process.pid == pid: time.sleep(0.01)
ours += [numbers(process(frame)) for frame in frames[3:]]
process.close()
heavy = ("torch", "onnxruntime", "mask_gate.models.files.onnx_file")
loaded = [name for name in heavy if name in sys.modules]
from mask_gate.gate.detector.detector import Detector
detector = Detector(weights, "cpu", engine=EngineKind.ONNX)
theirs = [numbers(detector(frame)) for frame in frames]
print(json.dumps({
    "loaded": loaded, "ours": ours, "theirs": theirs, "engine_name": process.engine_name,
    "faces": sum(len(boxes) for boxes, *_ in ours),
}))
"""
