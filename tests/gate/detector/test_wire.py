"""The language between gate and detector's process: whole, by number, and proof against rubbish."""

import contextlib
import fcntl
import mmap
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.detector.wire import (
    MAX_FACES,
    FrameMemory,
    Message,
    MessageKind,
    MessageReader,
    Question,
    QuestionReader,
    WireError,
    pack_answer,
    pack_message,
    pack_question,
    unpack_answer,
)
from mask_gate.models.detections import Detections

messages = st.builds(
    Message,
    kind=st.sampled_from(MessageKind),
    number=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=200),
)


def detections(count, seed=0):
    dice = np.random.default_rng(seed)
    return Detections(
        dice.normal(0, 1000, (count, 4)).astype(np.float32),
        dice.random(count, np.float32),
        dice.integers(-(2**40), 2**40, count),
        dice.random(count, np.float32),
    )


@pytest.fixture
def memory():
    made = FrameMemory.create(max_pixels=640 * 480)
    yield made
    os.close(made.descriptor)


class TestAnswers:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 100, MAX_FACES])
    def test_come_back_to_the_bit(self, count):
        told = detections(count)
        heard = unpack_answer(pack_answer(told))
        for name in ("boxes_xyxy", "scores", "labels", "margins"):
            ours, theirs = getattr(told, name), getattr(heard, name)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)

    def test_keep_numbers_that_are_none_for_others_to_refuse(self):
        told = detections(1)
        told.scores[0], told.boxes_xyxy[0, 0] = np.nan, np.inf
        heard = unpack_answer(pack_answer(told))
        assert np.isnan(heard.scores[0])
        assert np.isinf(heard.boxes_xyxy[0, 0])

    def test_of_more_faces_than_any_picture_has_are_not_sent(self):
        with pytest.raises(ValueError, match="1001 faces, expected at most 1000"):
            pack_answer(detections(MAX_FACES + 1))

    @given(st.binary(max_size=300))
    def test_are_whole_faces(self, payload):
        if len(payload) % 32:
            with pytest.raises(WireError, match="32 bytes a face"):
                unpack_answer(payload)
        else:
            assert len(unpack_answer(payload)) == len(payload) // 32


class TestMessages:
    @given(said=st.lists(messages, max_size=5), piece=st.integers(1, 100))
    def test_come_whole_and_in_order_however_the_pipe_cuts_them(self, said, piece):
        stream = b"".join(pack_message(m.kind, m.number, m.payload) for m in said)
        reader, heard = MessageReader(), []
        for start in range(0, len(stream), piece):
            heard += reader.feed(stream[start : start + piece])
        assert heard == said

    @given(st.binary(min_size=1, max_size=400))
    def test_rubbish_is_refused_or_waited_out(self, rubbish):
        reader = MessageReader()
        with contextlib.suppress(WireError):
            assert not [m for m in reader.feed(rubbish) if m.kind not in MessageKind]

    @given(rubbish=st.binary(min_size=17, max_size=60), said=messages)
    def test_rubbish_after_a_message_does_not_spoil_it(self, rubbish, said):
        reader = MessageReader()
        stream = reader.feed(pack_message(said.kind, said.number, said.payload) + rubbish)
        assert next(stream) == said

    @pytest.mark.parametrize(
        "header",
        [b"mgd2" + bytes(16), b"mgd1\x09" + bytes(15), b"mgd1\x02" + bytes(11) + b"\xff" * 4],
        ids=["another language", "another kind", "four gigabytes"],
    )
    def test_a_header_that_nobody_writes_is_refused_at_once(self, header):
        with pytest.raises(WireError, match="expected a message, got b'mgd"):
            list(MessageReader().feed(header))

    def test_words_stay_on_one_line(self):
        assert Message(MessageKind.LOG, 0, b"one\ntwo\r\n\xff").text == "one two \\xff"


questions = st.builds(
    Question,
    number=st.integers(0, 2**64 - 1),
    size_hw=st.tuples(st.integers(0, 9999), st.integers(0, 9999)),
    offset=st.integers(0, 2**64 - 1),
)


@contextlib.contextmanager
def heard(data, *, ended=True):
    """A reader of a pipe that holds some bytes."""
    ear, mouth = os.pipe()
    os.write(mouth, data)
    if ended:
        os.close(mouth)
    yield QuestionReader(ear)
    os.close(ear)
    if not ended:
        os.close(mouth)


class TestQuestions:
    @given(asked=st.lists(questions, min_size=1, max_size=9), most=st.integers(1, 9))
    def test_that_wait_come_together_in_their_order_and_no_more_than_are_wanted(self, asked, most):
        with heard(b"".join(map(pack_question, asked)), ended=False) as reader:
            got = []
            while len(got) < len(asked):
                together = reader.read(most)
                assert len(together) == min(most, len(asked) - len(got))
                got += together
        assert got == asked

    @pytest.mark.parametrize("most", [1, 5])
    @pytest.mark.parametrize("left", [0, 1, 27])
    def test_end_with_the_pipe(self, left, most):
        with heard(pack_question(Question(1, (2, 3)))[:left]) as reader:
            assert reader.read(most) == []

    def test_that_are_none_are_refused(self):
        with heard(bytes(100)) as reader, pytest.raises(WireError, match="expected a question"):
            reader.read()


class TestTheMemory:
    def test_is_seen_on_both_sides(self, memory):
        other = FrameMemory(os.dup(memory.descriptor), writable=False)
        shown = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
        np.copyto(memory.picture((480, 640)), shown)
        np.testing.assert_array_equal(other.picture((480, 640)), shown)
        os.close(other.descriptor)

    def test_keeps_the_pictures_of_several_cameras_apart(self):
        memory = FrameMemory.create(max_pixels=100 * 100, pictures=3)
        for camera in range(3):
            memory.picture((100, 100), 30_000 * camera)[:] = camera
        for camera in range(3):
            assert (memory.picture((100, 100), 30_000 * camera) == camera).all()
        with pytest.raises(ValueError, match="a picture of up to 10000 pixels"):
            memory.picture((101, 100), 60_000)
        os.close(memory.descriptor)

    def test_cannot_be_written_by_the_reader(self, memory):
        seen = FrameMemory(memory.descriptor, writable=False).picture((480, 640))
        with pytest.raises(ValueError, match="read-only"):
            seen[0, 0, 0] = 1

    def test_cannot_be_pulled_away(self, memory):
        """Else the process that writes a frame would die of SIGBUS."""
        with pytest.raises(PermissionError):
            os.truncate(memory.descriptor, 0)
        with pytest.raises(PermissionError):
            fcntl.fcntl(memory.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)

    def test_takes_pages_only_for_what_was_shown(self):
        large = FrameMemory.create(max_pixels=100_000_000)
        large.picture((64, 64))[:] = 7
        assert os.fstat(large.descriptor).st_blocks * 512 <= 16 * mmap.PAGESIZE
        os.close(large.descriptor)

    @pytest.mark.parametrize("size_hw", [(481, 640), (0, 640), (1, 10**9)])
    def test_refuses_a_picture_that_has_no_room(self, memory, size_hw):
        with pytest.raises(ValueError, match="a picture of up to 307200 pixels"):
            memory.picture(size_hw)
