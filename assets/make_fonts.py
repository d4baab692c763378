"""Cut the fonts of assets/fonts: those letters of Noto Sans CJK that the languages use.

    python assets/make_fonts.py [--source /usr/share/fonts/opentype/noto]

Noto Sans CJK (Debian: fonts-noto-cjk) is under the SIL Open Font License 1.1, as what is cut from
it stays; see assets/fonts/OFL.txt.
"""

from __future__ import annotations

import argparse
import string
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

ASSETS = Path(__file__).resolve().parent
KOREAN = 1  # in the collection: Japanese, Korean, Simplified and Traditional Chinese, Hong Kong


def main() -> int:
    """Write one font for each weight."""
    parser = argparse.ArgumentParser(description="Cut the fonts of assets/fonts.")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/fonts/opentype/noto"))
    source: Path = parser.parse_args().source
    text = (ASSETS / "languages" / "ko.yaml").read_text(encoding="utf-8")
    letters = sorted(set(text) | set(string.printable))
    for weight in ("Regular", "Bold"):
        font = TTFont(source / f"NotoSansCJK-{weight}.ttc", fontNumber=KOREAN)
        options = subset.Options(hinting=False, layout_features=[], notdef_outline=True)
        cutter = subset.Subsetter(options)
        cutter.populate(text="".join(letters))
        cutter.subset(font)
        path = ASSETS / "fonts" / f"korean-{weight.lower()}.otf"
        font.save(path)
        print(f"{path}: {path.stat().st_size} bytes, {len(font.getGlyphOrder())} glyphs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
