"""MqttDiscovery: what Home Assistant is told, so that it shows a gate without being configured.

Only sensors: a `lock` of Home Assistant would need a topic for commands, and there is none.
"""

from __future__ import annotations

import hashlib
import json
import re

from mask_gate.gate.domain import Reason, State, door_state
from mask_gate.gate.system.version import installed_version
from mask_gate.models.labels import MaskLabel

Entity = dict[str, object]


_PEOPLE = {
    MaskLabel.WITH_MASK: "Mask worn properly",
    MaskLabel.WITHOUT_MASK: "No mask",
    MaskLabel.MASK_WEARED_INCORRECT: "Mask worn wrongly",
}


def discovery_messages(
    prefix: str, root: str, gate: str, console_url: str | None = None
) -> dict[str, str]:
    """The messages, by topic, for the broker to keep.

    Args:
        prefix: where Home Assistant looks, mostly `homeassistant`.
        root: the topic that everything about the gate is below.
        gate: name of the door.
        console_url: where a browser finds the guard's console.
    """
    node, version = _node(gate), installed_version()
    shared = {
        "availability_topic": f"{root}/availability",
        "device": {
            "identifiers": [f"mask_gate_{node}"],
            "name": f"mask-gate {gate}",
            "model": "mask-gate",
            "sw_version": version,
            **({} if console_url is None else {"configuration_url": console_url}),
        },
        "origin": {"name": "mask-gate", "sw_version": version},
    }
    return {
        f"{prefix}/{platform}/mask_gate_{node}/{key}/config": json.dumps(
            {
                "state_topic": f"{root}/{key}",
                **entity,
                "unique_id": f"mask_gate_{node}_{key}",
                **shared,
            }
        )
        for platform, key, entity in _entities(root)
    }


def _node(gate: str) -> str:
    """A gate's name in the letters that topics of discovery may have, another for each gate."""
    plain = re.sub("[^A-Za-z0-9_-]", "_", gate)
    if plain == gate:
        return plain
    return f"{plain}_{hashlib.sha256(gate.encode()).hexdigest()[:8]}"


def _entities(root: str) -> list[tuple[str, str, Entity]]:
    """Platform, key and settings of each; the state is in the topic of the key's name."""
    return [
        (
            "binary_sensor",
            "door",
            {
                "name": "Lock",
                "device_class": "lock",
                "payload_on": door_state(is_open=True),
                "payload_off": door_state(is_open=False),
            },
        ),
        ("binary_sensor", "camera", {"name": "Camera", **_problem()}),
        ("binary_sensor", "service", {"name": "Out of order", **_problem()}),
        ("binary_sensor", "speed", {"name": "Slow", **_problem("slow")}),
        ("sensor", "state", {"name": "State", **_one_of(list(State))}),
        ("sensor", "reason", {"name": "Reason", **_one_of(list(Reason))}),
        *(
            ("sensor", key, {"name": name, **_counter(root, key)})
            for key, name in [
                ("openings", "Openings"),
                ("denials", "Denials"),
                *((label.name.lower(), name) for label, name in _PEOPLE.items()),
            ]
        ),
    ]


def _problem(word: str = "problem") -> Entity:
    return {
        "device_class": "problem",
        "entity_category": "diagnostic",
        "payload_on": word,
        "payload_off": "ok",
        "value_template": "{{ 'None' if value == 'unknown' else value }}",
    }


def _one_of(words: list[State] | list[Reason]) -> Entity:
    return {"device_class": "enum", "options": [word.value for word in words]}


def _counter(root: str, key: str) -> Entity:
    return {
        "state_class": "total_increasing",
        "state_topic": f"{root}/counters",
        "value_template": f"{{{{ value_json.{key} }}}}",
    }
