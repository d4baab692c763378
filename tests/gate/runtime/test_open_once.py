"""What all doors share is opened once, whoever asks first, and a fault is everybody's."""

import contextlib
import time

import pytest

from mask_gate.gate.errors import ModelError
from mask_gate.gate.runtime.open_once import OpenOnce
from mask_gate.gate.system.threads import DOOR, DoorThread


class Thing:
    """Counts how often it is opened and closed."""

    def __init__(self, fault=None):
        self.opened = self.closed = 0
        self.fault = fault
        self.door = None

    @contextlib.contextmanager
    def open(self):
        self.opened += 1
        self.door = DOOR.get()
        time.sleep(0.05)  # long enough for others to ask meanwhile
        if self.fault is not None:
            raise self.fault
        yield self
        self.closed += 1


def ask_from_threads(once, count=4):
    answers = []

    def ask():
        DOOR.set("north")
        try:
            answers.append(once.get())
        except ModelError as error:
            answers.append(error)

    threads = [DoorThread(ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_many_who_ask_get_the_same_thing():
    thing = Thing()
    once = OpenOnce(thing.open)
    assert ask_from_threads(once) == [thing] * 4
    assert thing.opened == 1
    once.close()
    assert thing.closed == 1


def test_its_fault_is_told_to_everybody_and_it_is_not_tried_again():
    fault = ModelError("no weights")
    thing = Thing(fault)
    once = OpenOnce(thing.open)
    assert ask_from_threads(once) == [fault] * 4
    with pytest.raises(ModelError, match="no weights"):
        once.get()
    assert thing.opened == 1
    once.close()


def test_it_belongs_to_no_door():
    thing = Thing()
    ask_from_threads(OpenOnce(thing.open), count=1)
    assert thing.door == ""


def test_one_that_nobody_asked_for_is_neither_opened_nor_closed():
    thing = Thing()
    OpenOnce(thing.open).close()
    assert (thing.opened, thing.closed) == (0, 0)
