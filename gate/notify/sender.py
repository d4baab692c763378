"""Sender: the process that sends one message to every service of a file, by apprise.

It reads one object of JSON: `urls_file`, and with it `title` and `body`, or neither, to check the
file only. It answers with one: `fault`, a sentence; or how many services have `delivered` the
message, and which have `failed`. Addresses, which hold passwords, are never part of it.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.secret_file import read_secret


def answer_to(order: dict[str, str]) -> dict[str, object]:
    """Send what is ordered, or check the file."""
    try:
        lines = read_secret(order["urls_file"]).decode().splitlines()
    except UnicodeDecodeError:
        return {"fault": f"{order['urls_file']}: is no text"}
    except OutputError as error:
        return {"fault": str(error)}
    import apprise

    services = {}
    for number, line in enumerate(lines, start=1):
        url = line.strip()
        if not url or url.startswith("#"):
            continue
        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if service is None:
            what = "is no address of a service that apprise knows"
            return {"fault": f"{order['urls_file']}: line {number} {what}"}
        services[f"line {number} ({service.service_name})"] = service
    if not services:
        return {"fault": f"{order['urls_file']}: holds no address"}
    if "body" not in order:
        return {}
    failed = [
        name
        for name, service in services.items()
        if not service.notify(body=order["body"], title=order["title"])
    ]
    return {"delivered": len(services) - len(failed), "failed": failed}


def main() -> int:
    """Carry out one order."""
    mouth = os.dup(1)
    os.dup2(2, 1)
    logging.disable()  # apprise tells addresses; what failed is told by us
    order = json.loads(sys.stdin.buffer.read())
    if "body" in order:
        os.nice(19)  # whatever else this machine does comes first
    answer = answer_to(order)
    os.write(mouth, json.dumps(answer).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
