"""The check before the detector: which frames are live pictures, and which lock the door."""

import math
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mask_gate.gate.camera.frame_check import FrameCheck, FrameCheckConfig, measure
from mask_gate.gate.domain import Frame, Reason

FPS = 25
SIZE_HW = (120, 160)


def scene(seed=0, size_hw=SIZE_HW):
    """A textured picture, another one for each seed, [H, W, 3] uint8."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(blocks, size_hw[::-1], interpolation=cv2.INTER_NEAREST)


def uniform(grey, size_hw=SIZE_HW):
    return np.full((*size_hw, 3), grey, np.uint8)


def live(image, seed):
    """The picture as a sensor gives it: never twice the same."""
    noise = np.random.default_rng(seed).integers(-3, 4, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


class Viewer:
    """Feeds pictures to a frame check at a steady rate and collects what it says."""

    def __init__(self, **fields):
        self.frame_check = FrameCheck(FrameCheckConfig(**fields))
        self.count = 0

    def show(self, image, fps=FPS):
        self.count += 1
        return self.frame_check.inspect(Frame(image, self.count / fps, self.count))


@pytest.fixture
def viewer():
    viewer = Viewer()
    assert viewer.show(scene(99)) is None
    return viewer


class TestLivePictures:
    def test_a_live_scene_is_no_fault_and_no_repeat(self, viewer):
        for seed in range(50):
            assert viewer.show(live(scene(), seed)) is None
            assert not viewer.frame_check.repeated

    def test_the_very_first_frame_may_be_good(self):
        assert Viewer().show(scene()) is None

    def test_a_picture_that_is_a_view_of_another_is_as_good(self, viewer):
        wide = live(scene(5, (SIZE_HW[0], 2 * SIZE_HW[1])), 1)
        assert viewer.show(wide[:, ::2]) is None
        assert not viewer.frame_check.repeated

    def test_a_frame_is_never_written_to(self, viewer):
        image = scene(3)
        image.flags.writeable = False
        viewer.show(image)

    def test_every_real_photograph_is_a_picture(self, real_data):
        config = FrameCheckConfig()
        paths = sorted((real_data / "images").iterdir())[::20]
        assert paths
        for path in paths:
            brightness, deviation, sharpness = measure(cv2.imread(str(path)))
            assert config.black_level < brightness < config.white_level
            assert deviation > config.flat_deviation
            assert sharpness > config.min_sharpness


class TestDullPictures:
    @pytest.mark.parametrize(
        ("name", "image"),
        [
            ("black", uniform(0)),
            ("black with noise", live(uniform(2), 1)),
            ("white", uniform(255)),
            ("white with noise", live(uniform(254), 1)),
            ("grey", uniform(128)),
            ("grey with noise", live(uniform(128), 1)),
            ("green, as a decoder without data gives", np.uint8([0, 135, 0]) + uniform(0)),
        ],
    )
    def test_a_single_frame_without_a_picture_is_a_fault_at_once(self, viewer, name, image):
        assert viewer.show(image) is Reason.BAD_IMAGE
        assert viewer.show(scene(1)) is None, f"a fault from {name} outlived its frame"

    @pytest.mark.parametrize("fps", [5, 25, 60])
    def test_a_defocused_picture_is_a_fault_only_when_it_lasts(self, fps):
        viewer = Viewer(bad_image_s=2.0)
        blurred = cv2.GaussianBlur(scene(), (0, 0), 15)
        answers = [viewer.show(live(blurred, seed), fps) for seed in range(3 * fps)]
        assert answers == [None] * (2 * fps) + [Reason.BAD_IMAGE] * fps

    def test_a_hand_over_the_lens_is_a_fault_when_it_lasts(self):
        viewer = Viewer(bad_image_s=0.0)
        shade = np.linspace(20, 60, SIZE_HW[1])[None, :, None] * np.array([0.6, 0.7, 1.0])
        covered = np.broadcast_to(shade, (*SIZE_HW, 3)).astype(np.uint8)
        assert viewer.show(live(covered, 1)) is Reason.BAD_IMAGE

    def test_one_sharp_frame_begins_the_patience_with_blur_anew(self, viewer):
        blurred = cv2.GaussianBlur(scene(), (0, 0), 15)
        for round_ in range(4):
            for seed in range(FPS):
                assert viewer.show(live(blurred, 100 * round_ + seed)) is None
            assert viewer.show(live(scene(), round_)) is None


class TestCorruptFrames:
    @pytest.mark.parametrize(
        "image",
        [
            None,
            [[1, 2, 3]],
            scene()[..., 0],
            np.dstack([scene(), scene()[..., :1]]),
            scene()[..., :2],
            scene().astype(np.float32),
            scene().astype(np.int16),
            scene()[:0],
            scene()[:, :0],
            scene()[:1, :1],
            scene()[None],
        ],
    )
    def test_what_is_no_picture_is_a_fault_and_not_an_exception(self, viewer, image):
        assert viewer.show(image) is Reason.BAD_IMAGE
        assert viewer.show(scene(1)) is None

    def test_too_large_a_picture_is_refused_before_anything_is_computed(self, viewer):
        giant = np.broadcast_to(np.uint8(7), (20_000, 20_000, 3))
        assert viewer.show(giant) is Reason.BAD_IMAGE

    def test_a_sudden_change_of_size_is_a_fault_for_one_frame(self, viewer):
        assert viewer.show(scene(1, (480, 640))) is Reason.BAD_IMAGE
        assert viewer.show(scene(2, (480, 640))) is None
        assert viewer.show(scene(3)) is Reason.BAD_IMAGE

    def test_after_it_patience_with_blur_begins_anew(self):
        viewer = Viewer(bad_image_s=1.0)
        small = cv2.GaussianBlur(scene(), (0, 0), 15)
        large = cv2.resize(small, None, fx=1.5, fy=1.5)
        answers = [viewer.show(live(small, seed), 10) for seed in range(10)]
        answers += [viewer.show(live(large, seed), 10) for seed in range(10)]
        assert answers == [None] * 10 + [Reason.BAD_IMAGE] + [None] * 9

    def test_a_corrupt_frame_in_between_does_not_hide_the_change_of_size(self, viewer):
        assert viewer.show(None) is Reason.BAD_IMAGE
        assert viewer.show(scene(1, (480, 640))) is Reason.BAD_IMAGE

    @pytest.mark.parametrize("width", [161, 162, 163, 167])
    def test_sizes_that_are_no_multiple_of_eight_bytes_are_read_to_the_last_pixel(self, width):
        viewer = Viewer()
        image = scene(1, (121, width))
        viewer.show(image)
        changed = image.copy()
        changed[-1, -1, -1] ^= 1
        viewer.show(changed)
        assert not viewer.frame_check.repeated
        viewer.show(changed.copy())
        assert viewer.frame_check.repeated


class TestFrozen:
    @pytest.mark.parametrize("time_s", [1.0, 0.5, math.nan, math.inf, -math.inf])
    def test_a_time_stamp_that_does_not_advance_is_a_fault_at_once(self, time_s):
        frame_check = FrameCheck(FrameCheckConfig())
        assert frame_check.inspect(Frame(scene(1), 1.0, 1)) is None
        assert frame_check.inspect(Frame(scene(2), time_s, 2)) is Reason.FROZEN
        assert frame_check.inspect(Frame(scene(3), 1.1, 3)) is None

    @pytest.mark.parametrize("fps", [5, 25, 100])
    def test_identical_pixels_are_frozen_after_the_same_time_at_any_frame_rate(self, fps):
        viewer = Viewer(frozen_s=1.0)
        answers = [viewer.show(scene().copy(), fps) for _ in range(3 * fps)]
        assert answers == [None] * (fps + 1) + [Reason.FROZEN] * (2 * fps - 1)

    def test_until_then_every_repetition_is_marked_as_no_new_picture(self, viewer):
        image = scene(1)
        viewer.show(image)
        assert not viewer.frame_check.repeated
        for _ in range(5):
            assert viewer.show(image.copy()) is None
            assert viewer.frame_check.repeated

    def test_one_changed_pixel_is_a_new_picture(self, viewer):
        image = scene(1)
        for index in range(2 * FPS):
            image = image.copy()
            image[index, index, 1] ^= 1
            assert viewer.show(image) is None
            assert not viewer.frame_check.repeated

    def test_a_camera_that_writes_over_its_own_buffer_is_still_seen_to_move(self, viewer):
        buffer = scene(1)
        for index in range(2 * FPS):
            buffer[index, 0, 0] ^= 1
            assert viewer.show(buffer) is None
            assert not viewer.frame_check.repeated

    @settings(max_examples=100, deadline=None)
    @given(
        changes=st.dictionaries(
            st.integers(0, 120 * 160 * 3 - 1), st.integers(1, 255), min_size=1, max_size=4
        )
    )
    def test_no_change_of_a_few_bytes_within_one_word_goes_unseen(self, changes):
        viewer, image = Viewer(), scene(1, (120, 160))
        viewer.show(image)
        base = min(changes) // 8 * 8
        changed = image.copy()
        for place, value in changes.items():
            changed.reshape(-1)[base + place % 8] ^= value
        viewer.show(changed)
        assert viewer.frame_check.repeated == np.array_equal(image, changed)


class TestLooped:
    def test_a_clip_played_again_is_frozen_within_its_first_frames(self, viewer):
        clip = [live(scene(), seed) for seed in range(3 * FPS)]
        assert {viewer.show(image) for image in clip} == {None}
        answers = [viewer.show(image.copy()) for image in clip]
        assert answers == [None, None] + [Reason.FROZEN] * (len(clip) - 2)

    def test_not_one_frame_of_a_replay_counts_as_a_new_picture(self, viewer):
        clip = [live(scene(), seed) for seed in range(10)]
        for image in clip:
            viewer.show(image)
        for image in clip:
            viewer.show(image.copy())
            assert viewer.frame_check.repeated

    def test_live_pictures_after_a_replay_are_live(self, viewer):
        clip = [live(scene(), seed) for seed in range(10)]
        for image in clip * 2:
            viewer.show(image)
        assert viewer.show(live(scene(), 1000)) is None
        assert not viewer.frame_check.repeated

    def test_a_single_chance_repeat_is_no_fault(self, viewer):
        for seed in (1, 2, 3, 1, 4, 5, 2, 6):
            assert viewer.show(live(scene(), seed)) is None

    def test_after_the_window_a_picture_may_come_again(self):
        viewer = Viewer(loop_window_s=2.0)
        clip = [live(scene(), seed) for seed in range(3 * FPS)]
        for image in clip * 2:
            assert viewer.show(image) is None

    def test_zero_switches_the_search_for_loops_off_but_not_that_for_frozen_ones(self):
        viewer = Viewer(loop_window_s=0.0)
        clip = [live(scene(), seed) for seed in range(10)]
        for image in clip * 3:
            assert viewer.show(image) is None
            assert not viewer.frame_check.repeated
        answers = [viewer.show(clip[0]) for _ in range(2 * FPS)]
        assert answers[-1] is Reason.FROZEN

    def test_memory_is_bounded_and_the_oldest_are_forgotten_first(self):
        viewer = Viewer(loop_memory=20)
        clip = [live(scene(), seed) for seed in range(30)]
        for image in clip:
            viewer.show(image)
        viewer.show(clip[0])
        assert not viewer.frame_check.repeated
        viewer.show(clip[-1])
        assert viewer.frame_check.repeated


def test_a_frame_of_vga_costs_well_under_a_millisecond():
    images = [live(scene(0, (480, 640)), seed) for seed in range(30)]
    viewer, spent_s = Viewer(), []
    for image in images:
        began = time.thread_time()  # the time of this thread alone: other load does not count
        viewer.show(image)
        spent_s.append(time.thread_time() - began)
    assert np.quantile(spent_s, 0.25) < 0.001


class TestConfig:
    @pytest.mark.parametrize(
        "fields",
        [
            {"frozen": 1.0},
            {"frozen_s": 0.0},
            {"frozen_s": math.inf},
            {"loop_frames": True},
            {"black_level": 250.0},
        ],
    )
    def test_typos_and_absurd_values_are_refused(self, fields):
        with pytest.raises(ValidationError):
            FrameCheckConfig(**fields)
