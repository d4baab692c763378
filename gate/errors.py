"""Every error the gate raises on purpose, with the exit code its command ends with.

GateError
├── ConfigError   2  a flag, file or value the operator gave is wrong
├── CameraError   3  no picture: absent, refused, ended where it must not end
├── ModelError    4  weights missing, damaged, or not a model of ours
│   └── LateAnswerError  the detector's answer about one picture comes too late to count
└── OutputError   5  relay, hook or recording cannot do its work
    ├── AuditError   what happens at the door cannot be recorded
    └── OwnedError   another process keeps the door
"""

from typing import ClassVar

INTERRUPTED = 130
"""Exit code after Ctrl-C, which is no error."""


class GateError(Exception):
    """Base of all; the message is one sentence that names the thing and the mend."""

    exit_code: ClassVar[int] = 1


class ConfigError(GateError, ValueError):
    """A flag, file or value the operator gave is wrong."""

    exit_code = 2


class CameraError(GateError, OSError):
    """No picture can be had from the camera."""

    exit_code = 3


class ModelError(GateError, ValueError):
    """The weights are missing, damaged, or not a model this gate can trust."""

    exit_code = 4


class LateAnswerError(ModelError):
    """The detector has not answered about a picture in time; the next one may fare better."""


class OutputError(GateError, OSError):
    """A relay, hook or recording cannot do its work."""

    exit_code = 5


class AuditError(OutputError):
    """What happens at the door cannot be recorded, so that it must not open."""


class OwnedError(OutputError):
    """Another process keeps the door, and this one must not touch it while that one works.

    Args:
        said: the message.
        works: whether the other one answers.
    """

    def __init__(self, said: str, *, works: bool = True) -> None:
        super().__init__(said)
        self.works = works
