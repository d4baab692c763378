"""Image files: told by content, refused by name, decoded upright and to the last byte."""

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mask_gate.training.data.image_file import MAX_PIXELS, decode_image, image_size_wh
from mask_gate.training.errors import DataError

rng = np.random.default_rng(0)
PICTURE = cv2.resize(rng.integers(0, 255, (5, 7, 3)).astype(np.uint8), (70, 50))
ENCODED = {
    suffix: cv2.imencode(suffix, PICTURE)[1].tobytes()
    for suffix in (".jpg", ".png", ".webp", ".bmp")
}


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def fault(data):
    with pytest.raises(DataError) as caught:
        decode_image(data, "a.jpg")
    (problem,) = caught.value.problems
    return str(problem)


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("suffix", ENCODED)
def test_every_accepted_format_decodes_to_bgr(suffix):
    image = decode_image(ENCODED[suffix], "a")
    assert image.shape == (50, 70, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - PICTURE).mean() < 6
    assert image_size_wh(ENCODED[suffix], "a") == (70, 50)


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_lossless_formats_come_back_bit_for_bit(suffix):
    np.testing.assert_array_equal(decode_image(ENCODED[suffix], "a"), PICTURE)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA"])
def test_grey_palette_and_transparent_pngs_become_bgr(mode):
    data = saved(Image.fromarray(PICTURE[..., ::-1]).convert("RGB").convert(mode), format="PNG")
    assert decode_image(data, "a").shape == (50, 70, 3)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"quality": 30}, {"restart_marker_rows": 1}]
)
def test_jpegs_of_every_common_kind_decode(options):
    data = saved(Image.fromarray(PICTURE), format="JPEG", **options)
    assert decode_image(data, "a").shape == (50, 70, 3)


def test_what_cameras_append_after_a_jpeg_is_fine():
    assert decode_image(ENCODED[".jpg"] + b"trailing bytes", "a").shape == (50, 70, 3)


def test_a_photo_with_a_second_one_for_its_screen_is_the_first():
    """MPO: what phones and stereo cameras write as .jpg."""
    pair = [Image.fromarray(PICTURE[..., ::-1]), Image.new("RGB", (8, 8))]
    data = saved(pair[0], format="MPO", save_all=True, append_images=pair[1:])
    assert decode_image(data, "a").shape == (50, 70, 3)


@pytest.mark.parametrize("quality", [100, 80])
def test_both_kinds_of_webp_are_measured_from_their_header(quality):
    data = saved(Image.fromarray(PICTURE), format="WEBP", lossless=quality == 100, quality=quality)
    assert image_size_wh(data, "a") == (70, 50)
    assert decode_image(data, "a").shape == (50, 70, 3)


# Group 2: nothing there, or not all of it


def test_an_empty_file_is_told():
    assert fault(b"") == "a.jpg: empty file; get the file again from where it came"


@pytest.mark.parametrize("suffix", ENCODED)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_cut_off_file_is_refused(suffix, share):
    data = ENCODED[suffix]
    assert "truncated" in fault(data[: int(len(data) * share)])


def test_a_flipped_bit_in_a_png_is_seen():
    data = bytearray(ENCODED[".png"])
    data[len(data) // 2] ^= 1
    assert "damaged" in fault(bytes(data))


@pytest.mark.parametrize("suffix", ENCODED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_decoded_or_refused_and_never_crashes(suffix, data):
    broken = bytearray(ENCODED[suffix])
    for _ in range(data.draw(st.integers(1, 5))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert decode_image(bytes(broken), "a").ndim == 3


@given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM"]))
def test_any_bytes_are_refused_in_one_sentence(junk, start):
    with pytest.raises(DataError):
        decode_image(start + junk, "a")


# Group 3: something else


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<!DOCTYPE html><html>404</html>", "an HTML or XML document"),
        (b"\n  <html>", "an HTML or XML document"),
        (saved(Image.new("P", (4, 4)), format="GIF"), "a GIF image"),
        (saved(Image.new("RGB", (4, 4)), format="TIFF"), "a TIFF image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\3\4....", "a zip archive"),
        (b"RIFF....AVI ", "a sound or video file"),
        (b"\0\0\0\x18ftypheic", "a HEIC, AVIF or MP4 file"),
        (b"hello", "no image of a known format"),
        (saved(Image.new("CMYK", (4, 4)), format="JPEG"), "a CMYK JPEG"),
        (saved(Image.fromarray(np.zeros((4, 4), np.uint16)), format="PNG"), "16 bits a channel"),
        (cv2.imencode(".png", np.zeros((4, 4, 3), np.uint16))[1].tobytes(), "16 bits a channel"),
    ],
)
def test_other_formats_are_named_and_the_accepted_ones_listed(data, kind):
    text = fault(data)
    assert kind in text
    assert text.endswith("save it as an 8-bit JPEG, PNG, WebP or BMP image")


@pytest.mark.parametrize(
    ("kind", "name"), [("PNG", "an animated PNG"), ("WEBP", "an animated WebP")]
)
def test_animations_are_refused(kind, name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], format=kind, save_all=True, append_images=frames[1:], duration=50)
    assert name in fault(data)


# Group 4: orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_in_every_format(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(PICTURE[..., ::-1])
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(stored, format=kind, exif=exif, **options)
    image = decode_image(data, "a")
    assert image_size_wh(data, "a") == (image.shape[1], image.shape[0])
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    if orientation in turns:
        expected = np.array(Image.fromarray(expected).transpose(turns[orientation]))
    assert np.abs(image[..., ::-1].astype(int) - expected).max() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_odd_exif_says_nothing():
    for tiff in (b"XX", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x05"):
        body = b"Exif\0\0" + tiff
        segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        data = ENCODED[".jpg"][:2] + segment + ENCODED[".jpg"][2:]
        assert image_size_wh(data, "a") == (70, 50)
        np.testing.assert_array_equal(decode_image(data, "a"), decode_image(ENCODED[".jpg"], "a"))


# Group 5: bombs


def test_a_bomb_is_refused_by_its_header_before_it_is_decoded():
    side = 30_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    assert f"the image exceeds max_pixels {MAX_PIXELS}" in fault(data)


def test_an_image_a_little_too_large_is_refused_with_its_size():
    header = struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    assert f"8000x8000 pixels exceeds max_pixels {MAX_PIXELS}" in fault(data)


def test_an_image_without_pixels_is_refused():
    header = struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    assert "truncated or damaged" in fault(data)
