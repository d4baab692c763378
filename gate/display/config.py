"""PrivacyConfig: what gate.yaml may say of faces in what people are shown."""

from __future__ import annotations

from pydantic import Field

from mask_gate.models.section import Section


class PrivacyConfig(Section):
    """Who is shown faces. A face that the detector does not see is not blurred."""

    blur_visitor: bool = Field(
        default=False, description="blur faces on the visitor's screen, in the window and the page"
    )
    blur_guard: bool = Field(
        default=False, description="blur faces in the gate's window and the guard's console"
    )
    blur_recording: bool = Field(default=False, description="blur faces in what --record writes")
