"""Draw assets/wiring: how a relay holds a strike or a maglock, and what frees the door besides.

    python assets/make_wiring.py

Each picture is one loop of current, from the supply and back to it; the way out opens that loop, or
bridges the relay, whatever this software does.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "wiring"
WIDTH, HEIGHT = 860, 430
TOP, BOTTOM = 130, 330
STYLE = (
    "text{font:15px system-ui,'DejaVu Sans',sans-serif;fill:#16181e}"
    ".t{font-size:19px;font-weight:700}.s{font-size:13px;fill:#444}"
    ".w{fill:none;stroke:#16181e;stroke-width:2.5;stroke-linejoin:round}"
    ".b{fill:#fff;stroke:#16181e;stroke-width:2}.g{fill:#e7f4ef;stroke:#009e73;stroke-width:2}"
    ".d{fill:#16181e}.c{fill:#fff;stroke:#16181e;stroke-width:2}"
)


class Drawing:
    """Parts on one sheet."""

    def __init__(self, title: str, about: str) -> None:
        self._parts: list[str] = []
        self._title = title
        self.text(30, 40, title, "t")
        self.text(30, 64, about, "s")

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Texts."""
        self._parts.append(
            f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def wire(self, *points: tuple[float, float]) -> None:
        """A wire from point to point."""
        path = " L".join(f"{x} {y}" for x, y in points)
        self._parts.append(f'<path class="w" d="M{path}"/>')

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "b"
    ) -> None:
        """A part with its name."""
        self._parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        )
        first = y + height / 2 - 9 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            self.text(x + width / 2, first + 18 * number, line, "s" if number else "", "middle")

    def contact(self, x: float, y: float, name: str, *, closed: bool, about: str) -> None:
        """A contact in a wire from left to right, 70 wide, drawn as it is at rest."""
        left, right = x, x + 70
        for at in (left, right):
            self._parts.append(f'<circle class="c" cx="{at}" cy="{y}" r="5"/>')
        tip = (right - 4, y - 2) if closed else (right - 6, y - 26)
        self.wire((left + 4, y - 3), tip)
        self.text(x + 35, y - 36, name, "", "middle")
        self.text(x + 35, y + 26, about, "s", "middle")

    def link(self, x: float, y: float, end: float) -> None:
        """What moves a contact."""
        self._parts.append(f'<path class="w" stroke-dasharray="5 5" d="M{x} {y} V{end}"/>')

    def dot(self, x: float, y: float) -> None:
        """A joint of wires."""
        self._parts.append(f'<circle class="d" cx="{x}" cy="{y}" r="4.5"/>')

    def save(self, name: str) -> None:
        """Write the sheet."""
        FOLDER.mkdir(exist_ok=True)
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
            f"<title>{escape(self._title)}</title><style>{STYLE}</style>"
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>' + "".join(self._parts)
        )
        (FOLDER / f"{name}.svg").write_text(text + "</svg>\n", encoding="utf-8")


def supply(sheet: Drawing) -> None:
    """12 V at the left edge, with its two wires begun."""
    sheet.box(30, 195, 110, 70, "supply", "12 V DC, fused")
    sheet.wire((85, 195), (85, TOP))
    sheet.wire((85, 265), (85, BOTTOM))
    sheet.text(95, 186, "+")
    sheet.text(95, 284, "−")


def gate(sheet: Drawing, x: float) -> None:
    """The gate, beside the contact that it moves."""
    sheet.box(x - 30, 200, 130, 56, "mask-gate", "drives the relay", kind="g")
    sheet.link(x + 35, 200, TOP + 6)


def diode(sheet: Drawing, x: float) -> None:
    """Across a coil: it swallows the spark that the coil makes when it is switched off."""
    sheet.wire((x, TOP), (x, 205))
    sheet.wire((x, 255), (x, BOTTOM))
    sheet.wire((x - 12, 245), (x + 12, 245), (x, 215), (x - 12, 245))
    sheet.wire((x - 12, 215), (x + 12, 215))
    sheet.wire((x, 205), (x, 215))
    sheet.wire((x, 245), (x, 255))
    sheet.dot(x, TOP)
    sheet.dot(x, BOTTOM)
    sheet.text(x, BOTTOM + 20, "diode 1N4007", "s", "middle")


def coil(sheet: Drawing, x: float, *lines: str) -> None:
    """A lock at the right edge."""
    sheet.wire((x, TOP), (x, 195))
    sheet.box(x - 60, 195, 120, 70, *lines)
    sheet.wire((x, 265), (x, BOTTOM))


def strike() -> None:
    """Fail-secure: current unlocks."""
    sheet = Drawing(
        "Strike, fail-secure: locked without current",
        "The relay's NO contact gives current, and unlocks. The exit button bridges it. The latch "
        "must open by its handle from inside.",
    )
    supply(sheet)
    sheet.wire((85, TOP), (245, TOP))
    sheet.contact(250, TOP, "relay: COM to NO", closed=False, about="")
    gate(sheet, 250)
    sheet.wire((325, TOP), (560, TOP), (760, TOP))
    sheet.wire((200, TOP), (200, 380), (395, 380))
    sheet.dot(200, TOP)
    sheet.contact(400, 380, "exit button, NO", closed=False, about="inside, in sight")
    sheet.wire((475, 380), (520, 380), (520, TOP))
    sheet.dot(520, TOP)
    coil(sheet, 760, "strike", "fail-secure")
    diode(sheet, 600)
    # the lower wire passes over the button's wires without touching them
    sheet.wire((85, BOTTOM), (190, BOTTOM))
    sheet.wire((190, BOTTOM), (194, 322), (206, 322), (210, BOTTOM))
    sheet.wire((210, BOTTOM), (510, BOTTOM))
    sheet.wire((510, BOTTOM), (514, 322), (526, 322), (530, BOTTOM))
    sheet.wire((530, BOTTOM), (760, BOTTOM))
    sheet.save("strike")


def maglock() -> None:
    """Fail-safe: current holds."""
    sheet = Drawing(
        "Maglock, fail-safe: free without current",
        "All contacts are closed at rest and in one line: fire panel, break-glass, exit button or "
        "relay, each frees the door alone.",
    )
    supply(sheet)
    sheet.wire((85, TOP), (125, TOP))
    for x, name, about in (
        (130, "fire alarm", "NC, by the panel"),
        (255, "break-glass", "NC, at the door"),
        (380, "exit button", "NC, inside"),
    ):
        sheet.contact(x, TOP, name, closed=True, about=about)
        sheet.wire((x + 75, TOP), (x + 120, TOP))
    sheet.contact(505, TOP, "relay: COM to NC", closed=True, about="")
    gate(sheet, 505)
    sheet.wire((580, TOP), (780, TOP))
    diode(sheet, 655)
    coil(sheet, 780, "maglock", "holds by current")
    sheet.wire((85, BOTTOM), (780, BOTTOM))
    sheet.text(
        430, 385,
        "gate.yaml: energised: unlocked. An energised relay opens its NC contact and frees the "
        "door.", "s", "middle",
    )  # fmt: skip
    sheet.save("maglock")


def exit_button() -> None:
    """The way out, by itself."""
    sheet = Drawing(
        "Exit button: never through the PC",
        "It breaks the current of the lock itself. The gate cannot prevent it.",
    )
    supply(sheet)
    sheet.wire((85, TOP), (245, TOP))
    sheet.contact(250, TOP, "exit button, NC pole", closed=True, about="breaks the lock's current")
    sheet.wire((325, TOP), (495, TOP))
    sheet.contact(500, TOP, "relay: COM to NC", closed=True, about="")
    gate(sheet, 500)
    sheet.wire((575, TOP), (760, TOP))
    coil(sheet, 760, "maglock", "holds by current")
    sheet.wire((85, BOTTOM), (760, BOTTOM))
    sheet.text(430, 385, "Push: no current, door free. No software is in this line.", "", "middle")
    sheet.save("exit-button")


def fire_contact() -> None:
    """The alarm frees the door."""
    sheet = Drawing(
        "Fire alarm: its contact stands before everything else",
        "The panel's contact opens with the alarm, and also when its cable is cut. It takes the "
        "current of every lock behind it.",
    )
    supply(sheet)
    sheet.wire((85, TOP), (245, TOP))
    sheet.contact(250, TOP, "fire panel, NC", closed=True, about="opens with the alarm")
    sheet.wire((325, TOP), (420, TOP), (495, TOP))
    sheet.contact(500, TOP, "relay: COM to NC", closed=True, about="")
    gate(sheet, 500)
    sheet.wire((575, TOP), (760, TOP))
    coil(sheet, 760, "maglock", "holds by current")
    sheet.wire((85, BOTTOM), (760, BOTTOM))
    sheet.text(
        430,
        385,
        "A strike that is locked without current needs a handle that opens it from inside.",
        "",
        "middle",
    )  # fmt: skip
    sheet.save("fire-contact")


def main() -> int:
    """Draw all four."""
    for draw in (strike, maglock, exit_button, fire_contact):
        draw()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
