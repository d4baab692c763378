"""Every error that the models raise on purpose, with the exit code a command ends with.

MaskGateError
├── ModelFileError   4  a file of weights is missing, damaged, or not one of ours
├── DeviceError      2  see networks/device.py
└── ConfigFileError  2  see files/strict_yaml.py

Training adds its own below the same base; any other exception is a bug and keeps its traceback.
"""

from typing import ClassVar


class MaskGateError(Exception):
    """Base of all; the message says what was expected, what came and what to do."""

    exit_code: ClassVar[int] = 2


class ModelFileError(MaskGateError, ValueError):
    """A file of weights, or what stands in it, cannot be used.

    Also a ValueError: whoever reads values from elsewhere and refuses wrong ones refuses these.
    """

    exit_code = 4
