"""Whether the gate in this container is well: `healthcheck.py GATE_YAML` ends 0 or 1."""

from __future__ import annotations

import ssl
import sys
import urllib.request
from pathlib import Path

from mask_gate.gate.config.schema import load_config
from mask_gate.gate.errors import GateError

LIMIT_S = 5.0


def main(path: Path) -> int:
    """Ask the console, where there is one; without it, that the gate runs is all that is known."""
    try:
        console = load_config(path).console
    except GateError as error:
        print(error, file=sys.stderr)
        return 1
    if not console.enabled:
        return 0
    scheme = "http" if console.tls_certificate is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(console.host, console.host)
    host = f"[{host}]" if ":" in host else host
    # We ask ourselves on our own machine: nobody stands between, whatever name the certificate has.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{scheme}://{host}:{console.port}/healthz"
    request = urllib.request.Request(url, headers={"Host": "localhost"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S, context=context) as answer:
            print(answer.read().decode())
    except OSError as error:  # of which a 503 is one
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
