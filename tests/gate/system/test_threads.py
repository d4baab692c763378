"""Threads of a door: what they start and say is of that door too."""

import ast

import pytest

from mask_gate.gate.system.threads import DOOR, DoorThread

OF_OTHER_PROCESSES = {
    "camera/capture_process.py",
    "console/server.py",
    "detector/engine_trial.py",
    "detector/worker.py",
}


def test_a_thread_is_of_the_door_whose_thread_started_it_and_so_are_those_it_starts():
    heard = []

    def relay():
        heard.append(DOOR.get())

    def hold(name):
        DOOR.set(name)
        helper = DoorThread(lambda: start(relay))
        helper.start()
        helper.join()

    def start(act):
        thread = DoorThread(act)
        thread.start()
        thread.join()

    doors = [DoorThread(hold, (name,)) for name in ("north", "south")]
    for door in doors:
        door.start()
    for door in doors:
        door.join()
    assert sorted(heard) == ["north", "south"]
    assert DOOR.get() == ""


@pytest.mark.parametrize("word", ["Thread", "Timer", "ThreadPoolExecutor"])
def test_no_part_of_a_door_starts_a_thread_that_would_forget_it(repo_root, word):
    users = {
        path.relative_to(repo_root / "gate").as_posix()
        for path in (repo_root / "gate").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == word
    }
    assert users <= OF_OTHER_PROCESSES
