"""Whoever begins at the package gets from the camera to the relay in ten files."""

import re

from mask_gate import gate


def test_the_walk_names_files_that_are_there_and_is_short(repo_root):
    walk = re.findall(r"^    (gate/\S+\.py)  ", gate.__doc__, re.MULTILINE)
    assert walk[0] == "gate/runtime/loop.py"
    assert walk[-1] == "gate/relays/guardian.py"
    assert len(walk) < 10
    for path in {*walk, *re.findall(r"`(gate/\S+\.py)`", gate.__doc__)}:
        assert (repo_root / path).is_file(), path
