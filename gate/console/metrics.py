"""Metrics: the states of all doors in the format of Prometheus."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mask_gate.gate.console.counts import LATENCY_BUCKETS_S
from mask_gate.gate.console.door_pages import DoorContext
from mask_gate.gate.console.door_state import DoorState
from mask_gate.gate.domain import DENIALS, FAULTS, Reason, State
from mask_gate.gate.system.version import installed_version
from mask_gate.models.labels import CLASS_NAMES


class Metrics(Collector):
    """Collects everything that is measured when it is asked for; each sample names its door.

    Args:
        contexts: the doors.
    """

    def __init__(self, contexts: Sequence[DoorContext]) -> None:
        self._contexts = contexts
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In the exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Each metric with its samples."""
        gauge, counter = self._gauge, self._counter
        yield _build_info()
        yield gauge(
            "up", "Whether the gate says how the door is", lambda state: state.live.is_fresh
        )
        yield gauge("door_open", "Whether the door is open", lambda state: state.live.is_open)
        yield gauge(
            "locked_down",
            "Whether a guard locked the door down",
            lambda state: state.lockdown is not None,
        )
        yield gauge("camera_fps", "Frames judged per second", lambda state: state.live.fps)
        yield gauge(
            "slow", "Whether the detector cannot keep its rate", lambda state: state.live.is_slow
        )
        yield gauge("faces", "Faces in the newest frame", lambda state: state.live.faces)
        viewers = _labelled("console_viewers", "Viewers of live pictures")
        for context in self._contexts:
            viewers.add_metric([context.gate], float(context.pictures.viewers))
        yield viewers
        yield gauge(
            "service_uptime_seconds", "Since the console began", lambda state: state.uptime_s
        )
        yield counter("frames", "Frames judged", lambda state: state.live.frames)
        yield self._latency()
        yield from self._states()
        yield counter("openings", "Openings of the door", lambda state: state.totals.openings)
        yield counter(
            "let_in",
            "Openings by a guard's hand, which are openings too",
            lambda state: state.totals.signals["allow", Reason.LET_IN.value],
        )
        yield self._by_reason("denials", "People turned away", DENIALS)
        yield self._by_reason("faults", "Locks because the gate was out of order", FAULTS)
        yield self._people()

    def _states(self) -> Iterator[Metric]:
        states = _labelled("state", "1 for the state the gate is in", "state")
        parts = _labelled(
            "part_up", "Whether a part does its work; absent while nobody knows", "part"
        )
        for context in self._contexts:
            live = context.state.live
            for state in State:
                states.add_metric([context.gate, state], live.state is state)
            for part, health in live.health.items():
                if health != "unknown":
                    parts.add_metric([context.gate, part], health != "problem")
        yield states
        yield parts

    def _people(self) -> Metric:
        family = CounterMetricFamily(
            "mask_gate_people",
            "People seen, by what most of their votes said",
            labels=["gate", "label"],
        )
        for context in self._contexts:
            for label in CLASS_NAMES:
                family.add_metric([context.gate, label], context.state.totals.people[label])
        return family

    def _gauge(self, name: str, text: str, value: Callable[[DoorState], float]) -> Metric:
        family = _labelled(name, text)
        for context in self._contexts:
            family.add_metric([context.gate], float(value(context.state)))
        return family

    def _counter(self, name: str, text: str, value: Callable[[DoorState], float]) -> Metric:
        family = CounterMetricFamily(f"mask_gate_{name}", text, labels=["gate"])
        for context in self._contexts:
            family.add_metric([context.gate], value(context.state))
        return family

    def _by_reason(self, name: str, text: str, reasons: frozenset[Reason]) -> Metric:
        family = CounterMetricFamily(f"mask_gate_{name}", text, labels=["gate", "reason"])
        for context in self._contexts:
            for reason in sorted(reasons):
                counted = context.state.totals.signals["deny", str(reason)]
                family.add_metric([context.gate, str(reason)], counted)
        return family

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            "mask_gate_latency_seconds", "From the picture to the decision", labels=["gate"]
        )
        bounds = (*map(str, LATENCY_BUCKETS_S), "+Inf")
        for context in self._contexts:
            so_far, buckets = 0, []
            for bound, count in zip(bounds, context.state.totals.latency_buckets, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            family.add_metric([context.gate], buckets, context.state.totals.latency_sum_s)
        return family


def _build_info() -> Metric:
    family = GaugeMetricFamily(
        "mask_gate_build_info", "1, with what runs here", labels=["version", "python"]
    )
    family.add_metric([installed_version(), platform.python_version()], 1.0)
    return family


def _labelled(name: str, text: str, *more: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mask_gate_{name}", text, labels=["gate", *more])
