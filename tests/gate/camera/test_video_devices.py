"""Cameras of a machine, asked as their drivers are, with a driver that the test plays."""

import errno
import struct

import pytest

from mask_gate.gate.camera.video_devices import VideoMode, video_devices

QUERYCAP, FORMATS, SIZES, INTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
MJPG, YUYV = 0x47504A4D, 0x56595559
CAPTURE, METADATA, OWN = 1, 0x00800000, 0x80000000


class Driver:
    """Answers as `linux/videodev2.h` says; an index that is too large is EINVAL."""

    def __init__(self, capabilities=CAPTURE):
        self.capabilities = capabilities
        self.sizes = {
            MJPG: [(1, 1920, 1080), (1, 640, 480)],
            YUYV: [(3, 48, 800, 16, 32, 600, 16)],
        }
        self.intervals = [(1, 1, 15), (1, 1, 30), (1, 2, 15)]

    def __call__(self, descriptor, number, question):
        words = struct.unpack_from("=4I", question)
        if number == QUERYCAP:
            texts = struct.pack("=16s32s32s", b"uvcvideo", b"HD Webcam", b"usb-1")
            return texts + struct.pack("=3I12x", 5, CAPTURE | METADATA | OWN, self.capabilities)
        try:
            if number == FORMATS:
                code = list(self.sizes)[words[0]]
                return struct.pack("=III32sI16x", words[0], words[1], 0, b"name", code)
            if number == SIZES:
                how, *rest = self.sizes[words[1]][words[0]]
                return struct.pack("=III", *words[:2], how) + struct.pack(
                    f"={len(rest)}I", *rest
                ).ljust(32, b"\0")
            if number == INTERVALS:
                how, *rest = self.intervals[words[0]]
                return struct.pack("=IIIIIII24x", *words, how, *rest)
        except IndexError:
            raise OSError(errno.EINVAL, "Invalid argument") from None
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")


@pytest.fixture
def devices(tmp_path):
    """Makes a folder like /dev: nodes, and links to them by the name of their folder."""

    def make(*nodes, **links):
        for node in nodes:
            (tmp_path / node).touch()
        for kind, (name, node) in links.items():
            folder = tmp_path / "v4l" / kind.replace("_", "-")
            folder.mkdir(parents=True)
            (folder / name).symlink_to(tmp_path / node)
        return tmp_path

    return make


def test_a_camera_says_what_it_offers(devices):
    (camera,) = video_devices(devices("video0"), Driver())
    assert camera.card == "HD Webcam"
    assert camera.modes == (
        VideoMode("MJPG", 1920, 1080, (30.0, 15.0, 7.5)),
        VideoMode("MJPG", 640, 480, (30.0, 15.0, 7.5)),
        VideoMode("YUYV", 800, 600, (30.0, 15.0, 7.5)),  # the largest of a range
    )
    assert not camera.keeps_its_name


def test_names_that_stay_are_taken_by_the_cameras_own_number_first(devices):
    folder = devices(
        "video0", "video2", "video10",
        by_id=("usb-cam-index0", "video2"), by_path=("pci-0-usb-1-index0", "video10"),
    )  # fmt: skip
    (folder / "v4l" / "by-path" / "pci-0-usb-2-index0").symlink_to(folder / "video2")
    found = video_devices(folder, Driver())
    assert [str(camera.source.relative_to(folder)) for camera in found] == [
        "video0",
        "v4l/by-id/usb-cam-index0",
        "v4l/by-path/pci-0-usb-1-index0",
    ]
    assert [camera.keeps_its_name for camera in found] == [False, True, True]


def test_a_node_that_sends_no_pictures_is_left_out(devices):
    assert video_devices(devices("video0", "video1"), Driver(METADATA)) == []


def test_what_cannot_be_asked_says_why(devices):
    (camera,) = video_devices(devices("video0"))
    assert "is no camera" in camera.fault
    (folder := devices() / "video0").unlink()
    folder.symlink_to("nothing")
    (camera,) = video_devices(devices())
    assert "cannot be opened" in camera.fault
    assert camera.modes == ()


def test_a_driver_that_never_ends_is_not_asked_for_ever(devices):
    driver = Driver()
    driver.sizes = {MJPG: [(1, 640, 480)] * 1000}
    driver.intervals = [(1, 1, 30)] * 1000
    (camera,) = video_devices(devices("video0"), driver)
    assert 0 < len(camera.modes) <= 64
    assert camera.modes[0].rates_fps == (30.0,)
