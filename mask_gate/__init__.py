"""mask-gate: the one import root of everything the distribution installs.

In a checkout, `gate`, `models`, `training`, `configs` and `assets` beside this file are links to
the folders at the top, so that every tool finds `mask_gate.gate` there. A wheel or sdist holds the
files themselves in their place: setuptools follows the links and copies what they lead to.
"""
