"""Write docs/events.schema.json, the JSON schema of events.

python assets/make_event_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from mask_gate.gate.event_schema import event_schema

PATH = Path(__file__).resolve().parents[1] / "docs" / "events.schema.json"


def main() -> int:
    """Write the file."""
    PATH.write_text(json.dumps(event_schema(), indent=1) + "\n", encoding="utf-8")
    print(f"{PATH}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
