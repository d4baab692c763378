"""Metrics: the board in the words of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gate.console_board import BUCKETS_S, PARTS, Board
from gate.console_pictures import Pictures
from gate.domain import Reason, State
from gate.reporter import DENIALS, FAULTS
from models.labels import CLASS_NAMES


class Metrics(Collector):
    """Everything that is measured, at the moment it is asked for.

    Args:
        board: what is known of the gate.
        pictures: who looks.
        gate: name of the door.
    """

    def __init__(self, board: Board, pictures: Pictures, gate: str) -> None:
        self._board = board
        self._pictures = pictures
        self._gate = gate
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In the exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Each metric with its samples."""
        board = self._board
        yield self._gauge("up", "Whether the gate's loop is heard of", board.is_fresh)
        yield self._gauge("door_open", "Whether the door is open", board.is_open)
        yield self._gauge("camera_fps", "Frames judged per second", board.fps)
        yield self._gauge("faces", "Faces in the newest frame", board.faces)
        yield self._gauge("console_viewers", "Viewers of live pictures", self._pictures.viewers)
        yield self._gauge("service_uptime_seconds", "Since the console began", board.uptime_s)
        yield self._counter("frames", "Frames judged", board.frames)
        yield self._latency()
        state = GaugeMetricFamily(
            "mask_gate_state", "1 for the state the gate is in", labels=["gate", "state"]
        )
        for one in State:
            state.add_metric([self._gate, one], board.state is one)
        yield state
        parts = GaugeMetricFamily(
            "mask_gate_part_up",
            "Whether a part does its work; absent while nobody knows",
            labels=["gate", "part"],
        )
        for part in PARTS:
            if board.health[part] != "unknown":
                parts.add_metric([self._gate, part], board.health[part] == "ok")
        yield parts
        yield self._counter("openings", "Openings of the door", board.openings)
        yield self._by_reason("denials", "People turned away", DENIALS)
        yield self._by_reason("faults", "Locks because the gate was out of order", FAULTS)
        people = CounterMetricFamily(
            "mask_gate_people",
            "People seen, by what most of their votes said",
            labels=["gate", "label"],
        )
        for label in CLASS_NAMES:
            people.add_metric([self._gate, label], board.people[label])
        yield people

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"mask_gate_{name}", text, labels=["gate"])
        family.add_metric([self._gate], float(value))
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(f"mask_gate_{name}", text, labels=["gate"])
        family.add_metric([self._gate], value)
        return family

    def _by_reason(self, name: str, text: str, reasons: frozenset[Reason]) -> Metric:
        family = CounterMetricFamily(f"mask_gate_{name}", text, labels=["gate", "reason"])
        for reason in sorted(reasons):
            counted = self._board.signals["deny", str(reason)]
            family.add_metric([self._gate, str(reason)], counted)
        return family

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            "mask_gate_latency_seconds", "From the picture to the decision", labels=["gate"]
        )
        so_far, buckets = 0, []
        bounds = (*map(str, BUCKETS_S), "+Inf")
        for bound, count in zip(bounds, self._board.latency_buckets, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        family.add_metric([self._gate], buckets, self._board.latency_sum_s)
        return family
