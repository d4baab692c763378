"""mask-gate: the one import root of everything the distribution installs.

`gate`, `models`, `training`, `configs` and `assets` beside this file are links to the folders of
the same names at the top of the repository, so that every tool finds `mask_gate.gate` there as it
does where the package is installed.
"""
