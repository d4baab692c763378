"""OperatingPoint: the scores from which on a model is believed, and how often it is wrong there.

It travels inside checkpoints and exported files, which anybody may have written: what is not
complete and possible is refused, never mended.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from mask_gate.models.errors import ModelFileError
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.rate import Rate
from mask_gate.models.section import Section

MOST_FACE_SCORE = 0.5
"""A model that would call half-sure faces no faces lets people walk in unseen."""

SIZE_ORIGIN_PX = 64.0
"""Side, in pixels of the input, of a box whose objectness is not changed by its size."""
UNMEASURED_SCORE, UNMEASURED_MARGIN, UNMEASURED_FACE_SCORE = 0.35, 0.15, 0.2
"""Thresholds for models that bring no operating point: set by eye, on the demo clip."""

Score = Annotated[float, Field(gt=0, le=1)]


class OperatingPointError(ModelFileError):
    """What a file says of its operating point cannot be; the message names the value."""


class ClassPoint(Section):
    """One class.

    Attributes:
        min_score: from here on a face is believed to be of this class.
        false_accepts: faces of other classes that were believed to be of this one.
        false_rejects: faces of this class that were not.
    """

    written_by_people = False

    min_score: Score
    false_accepts: Rate
    false_rejects: Rate


class Calibration(Section):
    """How scores became probabilities: maps of logits, folded into the weights they came from.

    Attributes:
        slope, offset: of the objectness.
        size_slope: what the objectness gains each time a box is e times larger, counted from
            `SIZE_ORIGIN_PX`: networks say less surely that a large face is one.
        class_slope: of every class; one for all keeps their order.
    """

    written_by_people = False

    slope: float = Field(gt=0, le=100)
    offset: float = Field(ge=-100, le=100)
    size_slope: float = Field(default=0.0, ge=-10, le=10)
    class_slope: float = Field(gt=0, le=100)


class OperatingPoint(Section):
    """Thresholds of one model, with the errors measured there.

    Attributes:
        classes: by class name, each of the three.
        min_margin: by so much the believed class leads the next.
        face_score: from here on something is a face, whatever its class, and keeps a door shut.
        missed_faces: faces below that.
        ghosts: images with a face there where none is.
        min_face: faces counted: longer side in parts of the input square.
        calibration: what the weights have gone through; None for scores as trained.
        fitted_on: which images, in words.
        fitted_with: fingerprint of the weights whose scores were looked at; those of a training
            that had not seen these images, so not always the ones this block is found with.
    """

    written_by_people = False

    classes: dict[str, ClassPoint]
    min_margin: float = Field(ge=0, lt=1)
    face_score: float = Field(gt=0, le=MOST_FACE_SCORE)
    missed_faces: Rate
    ghosts: Rate
    min_face: float = Field(gt=0, lt=1)
    calibration: Calibration | None
    fitted_on: str = Field(min_length=1, max_length=500)
    fitted_with: str = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _complete(self) -> OperatingPoint:
        if set(self.classes) != set(CLASS_NAMES):
            raise ValueError(f"classes: expected {CLASS_NAMES}, got {tuple(self.classes)}")
        for name, point in self.classes.items():
            if point.min_score < self.face_score:
                raise ValueError(
                    f"classes.{name}.min_score: expected at least face_score "
                    f"({self.face_score:g}), got {point.min_score:g}"
                )
        return self

    def to_plain(self) -> dict[str, object]:
        """Plain values, for files."""
        return self.model_dump()

    @classmethod
    def from_plain(cls, values: object) -> OperatingPoint | None:
        """The inverse of `to_plain`; a model without an operating point says None.

        Raises:
            OperatingPointError: anything is missing, unknown, or no such number.
        """
        if values is None:
            return None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, ("operating_point", *detail["loc"])))
            got = (
                ""
                if detail["type"] in ("missing", "value_error")
                else f", got {detail['input']!r:.60}"
            )
            raise OperatingPointError(f"{where}: {detail['msg']}{got}") from None
