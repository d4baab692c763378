"""The tracker: names that stay with their faces, in time rather than in frames."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mask_gate.gate.decision.tracker import Tracker, TrackerConfig
from mask_gate.gate.errors import ModelError
from mask_gate.models.boxes import pairwise_iou_xyxy
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel

HERE = (100.0, 100.0, 200.0, 220.0)
THERE = (400.0, 100.0, 500.0, 220.0)


def found(*boxes_xyxy, score=0.9, label=MaskLabel.WITH_MASK, margin=0.8):
    count = len(boxes_xyxy)
    return Detections(
        np.array(boxes_xyxy, np.float32).reshape(-1, 4),
        np.full(count, score, np.float32),
        np.full(count, label, np.int64),
        np.full(count, margin, np.float32),
    )


def both(first, second):
    return Detections(
        *(
            np.concatenate([getattr(first, name), getattr(second, name)])
            for name in ("boxes_xyxy", "scores", "labels", "margins")
        )
    )


def moved(box_xyxy, dx, dy=0.0):
    x1, y1, x2, y2 = box_xyxy
    return (x1 + dx, y1 + dy, x2 + dx, y2 + dy)


@pytest.fixture
def tracker():
    return Tracker(TrackerConfig())


class TestBirthAndLife:
    def test_no_face_is_no_track(self, tracker):
        assert tracker.update(Detections.empty(), 1.0) == ()

    def test_one_sure_face_begins_one_track(self, tracker):
        (track,) = tracker.update(found(HERE), 1.0)
        assert track.box_xyxy == HERE
        assert (track.first_seen_s, track.last_seen_s) == (1.0, 1.0)
        (seen,) = track.sightings
        assert (seen.time_s, seen.label) == (1.0, MaskLabel.WITH_MASK)
        assert (seen.score, seen.margin) == pytest.approx((0.9, 0.8))

    def test_a_doubtful_face_begins_none(self, tracker):
        assert tracker.update(found(HERE, score=0.15), 1.0) == ()

    @pytest.mark.parametrize("label", [MaskLabel.WITHOUT_MASK, MaskLabel.MASK_WEARED_INCORRECT])
    def test_one_that_violates_is_believed_to_be_a_face_earlier(self, tracker, label):
        assert tracker.update(found(HERE, score=0.14, label=label), 1.0) == ()
        (track,) = tracker.update(found(HERE, score=0.16, label=label), 1.1)
        assert track.sightings[-1].label is label
        alike = Tracker(TrackerConfig(violation_share=1.0))
        assert alike.update(found(HERE, score=0.16, label=label), 1.0) == ()

    def test_a_doubtful_face_keeps_a_track_alive_and_says_how_doubtful(self, tracker):
        (born,) = tracker.update(found(HERE), 1.0)
        (kept,) = tracker.update(found(moved(HERE, 5), score=0.15), 1.1)
        assert kept.id == born.id
        assert kept.last_seen_s == 1.1
        assert kept.sightings[-1].score == pytest.approx(0.15)

    def test_below_the_low_score_nothing_is_seen(self, tracker):
        tracker.update(found(HERE), 1.0)
        (track,) = tracker.update(found(HERE, score=0.05), 1.1)
        assert track.last_seen_s == 1.0

    def test_sure_faces_choose_before_doubtful_ones(self, tracker):
        tracker.update(found(HERE), 1.0)
        nearer, sure = found(HERE, score=0.15), found(moved(HERE, 10))
        (track,) = tracker.update(both(nearer, sure), 1.1)
        assert track.box_xyxy == moved(HERE, 10)

    def test_a_change_of_label_does_not_change_the_name(self, tracker):
        (masked,) = tracker.update(found(HERE), 1.0)
        (bare,) = tracker.update(found(HERE, label=MaskLabel.WITHOUT_MASK), 1.1)
        assert bare.id == masked.id
        assert [seen.label for seen in bare.sightings] == [
            MaskLabel.WITH_MASK,
            MaskLabel.WITHOUT_MASK,
        ]

    def test_another_face_gets_another_name(self, tracker):
        (one,) = tracker.update(found(HERE), 1.0)
        first, second = tracker.update(found(HERE, THERE), 1.1)
        assert first.id == one.id != second.id

    def test_a_face_of_quite_another_size_is_not_the_same(self, tracker):
        (near,) = tracker.update(found((100, 100, 400, 460)), 1.0)
        _, far = tracker.update(found((220, 250, 280, 310)), 1.1)
        assert far.id != near.id

    def test_a_face_that_still_overlaps_its_old_place_is_the_same(self, tracker):
        (born,) = tracker.update(found(HERE), 1.0)
        (jumped,) = tracker.update(found(moved(HERE, 64)), 1.001)  # beyond reach, IoU 0.22
        assert jumped.id == born.id

    @pytest.mark.parametrize("fps", [5, 15, 30, 100])
    def test_a_missed_face_stays_for_the_same_time_at_any_frame_rate(self, fps):
        tracker = Tracker(TrackerConfig(max_missed_s=0.7))
        tracker.update(found(HERE), 0.0)
        times = [index / fps for index in range(1, 2 * fps)]
        alive = [now for now in times if tracker.update(Detections.empty(), now)]
        assert alive == [now for now in times if now <= 0.7]

    def test_a_missed_face_keeps_its_last_box_and_sightings(self, tracker):
        for index in range(5):
            (before,) = tracker.update(found(moved(HERE, 10 * index)), index / 10)
        (missed,) = tracker.update(Detections.empty(), 0.5)
        assert missed == before

    def test_a_face_found_again_in_time_keeps_its_name(self, tracker):
        (born,) = tracker.update(found(HERE), 0.0)
        tracker.update(Detections.empty(), 0.3)
        (again,) = tracker.update(found(HERE), 0.6)
        assert again.id == born.id

    def test_a_gone_face_found_in_the_next_frame_is_somebody_new(self):
        tracker = Tracker(TrackerConfig(max_missed_s=0.5, max_gap_s=0.5))
        (born,) = tracker.update(found(HERE), 0.0)
        tracker.update(Detections.empty(), 0.4)
        (again,) = tracker.update(found(HERE), 0.8)
        assert again.id != born.id

    def test_a_walker_seen_five_times_a_second_keeps_one_name(self, tracker):
        # 1.5 m/s past a face 0.16 m (100 px) wide: almost two face widths between frames.
        ids = set()
        for index in range(8):
            ids |= {t.id for t in tracker.update(found(moved(HERE, 130.0 * index)), index / 5)}
        assert len(ids) == 1

    def test_speed_is_known_even_between_frames_further_apart_than_its_window(self):
        tracker = Tracker(TrackerConfig(reach=1.0, reach_per_s=0.0, velocity_window_s=0.4))
        ids = set()
        for index, x in enumerate([0, 90, 220, 390, 560]):  # up to 1.7 sizes at a step
            ids |= {t.id for t in tracker.update(found(moved(HERE, x)), 0.45 * index)}
        assert len(ids) == 1

    def test_only_recent_sightings_are_kept(self):
        tracker = Tracker(TrackerConfig(memory_s=1.0))
        for index in range(1000):
            (track,) = tracker.update(found(HERE), index / 100)
        assert track.first_seen_s == 0.0
        assert track.sightings[0].time_s == pytest.approx(track.last_seen_s - 1.0)
        assert len(track.sightings) <= 101


class TestTime:
    def test_a_long_gap_drops_every_track(self, tracker):
        (before,) = tracker.update(found(HERE), 0.0)
        (after,) = tracker.update(found(HERE), 0.51)
        assert after.id != before.id
        assert after.first_seen_s == 0.51

    def test_reset_forgets_faces_but_never_reuses_a_name(self, tracker):
        (before,) = tracker.update(found(HERE), 0.0)
        tracker.reset()
        (after,) = tracker.update(found(HERE), 0.1)
        assert after.id > before.id

    @pytest.mark.parametrize("bad_s", [1.0, 0.9, math.nan, math.inf, -math.inf])
    def test_time_that_does_not_advance_is_refused_and_changes_nothing(self, tracker, bad_s):
        (before,) = tracker.update(found(HERE), 1.0)
        with pytest.raises(ValueError, match="time_s: expected finite seconds after 1"):
            tracker.update(found(THERE), bad_s)
        (after,) = tracker.update(found(HERE), 1.1)
        assert after.id == before.id


class TestNonsense:
    @pytest.mark.parametrize(
        "nonsense",
        [
            found((math.nan, 100, 200, 220)),
            found((100, 100, math.inf, 220)),
            found((200, 100, 100, 220)),
            found((100, 100, 100, 220)),
            found(THERE, score=math.nan),
            found(THERE, score=1.01),
            found(THERE, score=-0.1),
            found(THERE, score=math.inf),
            found(THERE, margin=math.nan),
            found(THERE, margin=-0.5),
            found(THERE, label=3),
            found(THERE, label=-1),
            found(*[THERE] * 101),
        ],
    )
    def test_a_frame_with_one_absurd_number_is_refused_as_a_whole(self, tracker, nonsense):
        (before,) = tracker.update(found(HERE), 1.0)
        with pytest.raises(ModelError):
            tracker.update(both(found(HERE), nonsense), 1.1)
        (after,) = tracker.update(found(HERE), 1.2)
        assert after.id == before.id
        assert [seen.time_s for seen in after.sightings] == [1.0, 1.2]

    def test_a_frame_is_refused_even_if_the_absurd_face_would_not_be_looked_at(self, tracker):
        with pytest.raises(ModelError):
            tracker.update(found((math.nan,) * 4, score=0.0), 1.0)


def crossing(fps, speeds_px_s, widths_px, offset_px, hidden_iou, noise_px, seed):
    """Two faces whose paths cross after 1.5 s; yields (time, who is visible, boxes [N, 4])."""
    rng = np.random.default_rng(seed)
    width = np.array(widths_px, float)
    for index in range(3 * fps):
        now = index / fps
        x = 640 + np.array(speeds_px_s) * (now - 1.5)
        y = 400 + np.array([0.0, offset_px])
        boxes = np.stack([x - width / 2, y - width * 0.6, x + width / 2, y + width * 0.6], axis=1)
        overlap = pairwise_iou_xyxy(boxes[:1], boxes[1:])[0, 0]
        visible = [int(np.argmax(width))] if overlap > hidden_iou else [0, 1]
        yield now, visible, (boxes + rng.normal(0, noise_px, boxes.shape))[visible]


def names_before_and_after(trace):
    tracker = Tracker(TrackerConfig())
    names = {0: [], 1: []}
    for now, visible, boxes in trace:
        order = np.arange(len(visible))[:: -1 if round(now * 1000) % 2 else 1]
        tracks = tracker.update(found(*boxes[order]), now)
        for who, box in zip(visible, boxes.astype(np.float32), strict=True):
            names[who] += [t.id for t in tracks if t.box_xyxy == tuple(box.tolist())]
    return [(ids[0], ids[-1]) for ids in names.values()]


class TestCrossing:
    @settings(max_examples=30, deadline=None)
    @given(
        fps=st.sampled_from([10, 15, 25, 30]),
        first=st.integers(150, 400),
        second=st.integers(-400, -150),
        widths=st.tuples(st.integers(70, 120), st.integers(70, 120)),
        offset=st.integers(-40, 40),
        hidden_iou=st.sampled_from([0.3, 0.5]),
        seed=st.integers(0, 1000),
    )
    def test_people_who_pass_each_other_keep_their_names(
        self, fps, first, second, widths, offset, hidden_iou, seed
    ):
        trace = crossing(fps, (first, second), widths, offset, hidden_iou, 2.0, seed)
        for before, after in names_before_and_after(trace):
            assert before == after

    @pytest.mark.parametrize("fps", [10, 15, 30, 60])
    @pytest.mark.parametrize("speeds_px_s", [(300, 60), (400, 200)])
    def test_a_fast_walker_overtakes_a_slow_one(self, fps, speeds_px_s):
        trace = crossing(fps, speeds_px_s, (100, 95), 10, 0.5, 2.0, seed=fps)
        for before, after in names_before_and_after(trace):
            assert before == after


boxes = st.tuples(st.floats(0, 600), st.floats(0, 400), st.floats(1, 200), st.floats(1, 200)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=30, deadline=None)
@given(
    frames=st.lists(
        st.tuples(
            st.floats(0.001, 0.7), st.lists(st.tuples(boxes, st.floats(0, 1, width=32)), max_size=5)
        ),
        max_size=12,
    )
)
def test_whatever_comes_each_detection_has_one_track_and_each_track_one_sighting_a_frame(frames):
    config = TrackerConfig()
    tracker, now, dead, alive = Tracker(config), 0.0, set(), set()
    for pause_s, faces in frames:
        now += pause_s
        detections = Detections(
            np.array([box for box, _ in faces], np.float32).reshape(-1, 4),
            np.array([score for _, score in faces], np.float32),
            np.zeros(len(faces), np.int64),
            np.ones(len(faces), np.float32),
        )
        tracks = tracker.update(detections, now)
        ids = {track.id for track in tracks}
        assert len(ids) == len(tracks)
        assert not ids & dead, "a name was used again"
        dead |= alive - ids
        alive = ids
        for track in tracks:
            times = [seen.time_s for seen in track.sightings]
            assert times == sorted(set(times))
            assert track.last_seen_s == times[-1] <= now
            assert now - track.last_seen_s <= config.max_missed_s
        fresh = [track for track in tracks if track.last_seen_s == now]
        sure = int((detections.scores >= config.scores(None)[0]).sum())
        seen = int((detections.scores >= config.scores(None)[1]).sum())
        assert sure <= len(fresh) <= seen


def test_eight_faces_cost_at_most_two_milliseconds_a_frame():
    rng = np.random.default_rng(0)
    start = np.stack(np.meshgrid([200, 500, 800, 1100], [200, 500]), -1).reshape(-1, 2)
    tracker, spent_s = Tracker(TrackerConfig()), []
    for index in range(90):
        centre = start + 40 * index / 30 + rng.normal(0, 1, (8, 2))
        detections = found(*np.hstack([centre - 40, centre + 40]))
        began = time.thread_time()  # the time of this thread alone: other load does not count
        tracks = tracker.update(detections, index / 30)
        spent_s.append(time.thread_time() - began)
        assert len(tracks) == 8
    assert np.quantile(spent_s, 0.25) <= 0.002


class TestConfig:
    def test_typos_and_absurd_values_are_refused(self):
        for fields in [
            {"high_scor": 0.5},
            {"high_score": True},
            {"high_score": math.nan},
            {"max_missed_s": 0},
            {"max_faces": 2.5},
            {"low_score": 0.6, "high_score": 0.5},
        ]:
            with pytest.raises(ValidationError):
                TrackerConfig(**fields)

    def test_it_is_frozen(self):
        with pytest.raises(ValidationError, match="frozen"):
            TrackerConfig().high_score = 0.9
