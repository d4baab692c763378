"""A machine booted by a real systemd: processes of its own, our files with a layer over them.

systemd is process 1 of a namespace of its own; its root is the running system's with a layer in
memory over it, so that users, units and configuration come and go with it. What stays are a few
empty control groups.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "assets" / "systemd" / "mask-gate.service"
SYSTEMD = "/lib/systemd/systemd"
_BOOT_S = 60.0

_BOOT = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layer/upper,workdir=$1/layer/work" "$1/root"
mkdir -p "$1/root/var/lib/mask-gate" "$1/root/opt/mask-gate" "$1/root/etc/mask-gate"
mount --bind "$1/state" "$1/root/var/lib/mask-gate"
mount --bind "$1/etc" "$1/root/etc/mask-gate"
for folder in run tmp; do mount -t tmpfs tmpfs "$1/root/$folder"; done
mount -t proc proc "$1/root/proc"
for folder in sys dev; do mount --rbind "/$folder" "$1/root/$folder"; done
chmod a+rx "$1/root/root"
ln -s "$3" "$1/root/opt/mask-gate/.venv"
cp "$1"/units/*.service "$1"/units/*.target "$1/root/etc/systemd/system/"
cp -r "$1/units/mask-gate.service.d" "$1/root/etc/systemd/system/"
for group in video dialout gpio; do chroot "$1/root" groupadd --force --system "$group"; done
chroot "$1/root" useradd --system --user-group mask-gate
exec chroot "$1/root" /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  "$2" --system --unit=entrance.target --log-target=null
"""

_TARGET = "[Unit]\nAllowIsolate=yes\n"

_HERE = """\
[Service]
# The interpreter of these tests may lie in a home folder.
ProtectHome=no
# Drivers of cameras are no matter here.
DevicePolicy=auto
DeviceAllow=
"""
"""What differs from the shipped unit, as an operator would write it with `systemctl edit`."""


def why_not():
    """Why no such machine can be booted here; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, to boot a systemd of its own"
    if Path("/run/systemd/system").exists():
        return "its systemd would share control groups with this machine's own: take a container"
    missing = [name for name in ("unshare", "nsenter", "useradd") if shutil.which(name) is None]
    if missing or not Path(SYSTEMD).exists():
        return "needs systemd, util-linux and passwd: apt-get install systemd util-linux passwd"
    return ""


class Machine:
    """A machine with the shipped unit installed and not yet started.

    Args:
        folder: an empty one; `state` in it is /var/lib/mask-gate of the machine, `etc` is
            /etc/mask-gate.
    """

    def __init__(self, folder: Path) -> None:
        self.state, self.etc, units = folder / "state", folder / "etc", folder / "units"
        for path in (self.state, self.etc, units, folder / "layer", folder / "root"):
            path.mkdir()
        shutil.copy(UNIT, units)
        (units / "entrance.target").write_text(_TARGET)
        (units / "mask-gate.service.d").mkdir()
        (units / "mask-gate.service.d" / "here.conf").write_text(_HERE)
        words = (folder, SYSTEMD, sys.prefix)
        self._process = subprocess.Popen(
            [
                *("unshare", "--fork", "--pid", "--mount", "--kill-child"),
                *("sh", "-c", _BOOT, "boot", *words),
            ],
            start_new_session=True,
        )
        self._root = folder / "root"

    def __enter__(self) -> Machine:
        deadline_s = time.monotonic() + _BOOT_S
        while self.systemctl("is-system-running", check=False) not in ("running", "degraded"):
            assert self._process.poll() is None, "systemd did not boot"
            assert time.monotonic() < deadline_s, "systemd did not come up"
            time.sleep(0.2)
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # process 1 takes all others with it
        self._process.wait()

    def systemctl(self, *words: str, check: bool = True) -> str:
        """Run systemctl in the machine; what it says, without line ends."""
        below = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        children = below.read_text().split()
        if not children:
            return ""
        ran = subprocess.run(
            [
                *("nsenter", "--target", children[0], "--mount", "--pid"),
                *("chroot", self._root, "systemctl", *words),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout.strip()

    def of_gate(self, key: str) -> str:
        """A property of the gate's service, such as ActiveState."""
        return self.systemctl("show", "--value", "--property", key, "mask-gate", check=False)
