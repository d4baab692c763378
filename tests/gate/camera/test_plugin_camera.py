"""A camera of another package: what it gives is taken, what it does wrong is a lost picture."""

import numpy as np
import pytest

from mask_gate.gate.camera.plugin_camera import PluginCapture, open_plugin, plugin_of
from mask_gate.gate.camera.source import Source, SourceKind, parse_source
from mask_gate.gate.errors import ConfigError

PICTURE = np.zeros((90, 160, 3), np.uint8)


class Camera:
    def __init__(self, *gives):
        self.gives = list(gives)
        self.closed = False

    def read(self):
        one = self.gives.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    ("words", "name", "settings"),
    [
        ("plugin:pylon", "pylon", {}),
        ("plugin:pylon:", "pylon", {"address": ""}),
        ("plugin:pylon:10.0.0.7:8", "pylon", {"address": "10.0.0.7:8"}),
    ],
)
def test_its_words_say_which_and_what_it_is_made_with(words, name, settings):
    source = parse_source(words)
    assert source.kind is SourceKind.PLUGIN
    assert plugin_of(source) == (name, settings)


@pytest.mark.parametrize("words", ["plugin:", "plugin::x", "plugin:a b"])
def test_without_a_name_there_is_none(words):
    with pytest.raises(ConfigError, match="expected plugin:NAME"):
        parse_source(words)


def test_a_picture_is_as_old_as_it_is_when_it_comes():
    capture = PluginCapture(Camera(PICTURE, None, OSError("cable")))
    assert capture.grab() is not None
    assert capture.retrieve() is PICTURE
    assert not capture.has_clock
    assert capture.grab() is None
    assert capture.grab() is None  # it is opened again
    capture.release()


@pytest.mark.parametrize("given", ["picture", 7, PICTURE.astype(float), [[0]]])
def test_what_is_no_picture_is_not_taken_for_one(given):
    capture = PluginCapture(Camera(given))
    capture.grab()
    assert capture.retrieve() is None


def test_letting_go_closes_it_where_it_can_be_closed():
    camera = Camera()
    PluginCapture(camera).release()
    assert camera.closed
    PluginCapture(object()).release()


def test_one_that_nobody_brings_is_a_fault_of_the_configuration():
    with pytest.raises(ConfigError, match="brings a camera plug-in none"):
        open_plugin(Source(SourceKind.PLUGIN, "none"))
