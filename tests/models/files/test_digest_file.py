"""The digest beside an exported file: any other content is noticed."""

import subprocess

import pytest

from mask_gate.models.files.digest_file import check_digest, digest_file, write_digest
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.fingerprint import fingerprint, fingerprint_of, joined, shortened


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(bytes(range(256)) * 40)
    write_digest(path)
    return path


def test_a_file_that_fits_is_right_and_one_without_a_digest_is_not_known(exported):
    assert check_digest(exported, fingerprint(exported))
    digest_file(exported).unlink()
    assert not check_digest(exported, fingerprint(exported))


def test_a_single_bit_that_changed_is_noticed(exported):
    content = bytearray(exported.read_bytes())
    for place in (0, 5000, len(content) - 1):
        content[place] ^= 1
        with pytest.raises(ExportedFileError, match="damaged or was exchanged: export it again"):
            check_digest(exported, fingerprint_of(bytes(content)))
        content[place] ^= 1


@pytest.mark.parametrize("said", [b"", b"\n", b"\xff\x00", b"sha256:1", b"0" * 64, b"x" * 10**6])
def test_a_garbled_digest_fits_nothing(exported, said):
    digest_file(exported).write_bytes(said)
    with pytest.raises(ExportedFileError, match="holds another digest"):
        check_digest(exported, fingerprint(exported))


def test_it_can_be_checked_by_hand_and_by_everybody_who_may_read_the_file(exported):
    digest = digest_file(exported)
    command = ["sha256sum", "--check", digest.name]
    assert subprocess.run(command, cwd=exported.parent, capture_output=True).returncode == 0
    assert digest.stat().st_mode == exported.stat().st_mode
    assert sorted(exported.parent.iterdir()) == [exported, digest]


def test_the_bundled_twin_fits_its_digest(repo_root):
    twin = repo_root / "assets/weights/mask-gate-lite.onnx"
    assert check_digest(twin, fingerprint(twin))


def test_files_that_belong_together_are_named_by_all_of_their_fingerprints():
    both = joined(fingerprint_of(b"a"), fingerprint_of(b"b"))
    assert both != joined(fingerprint_of(b"a"), fingerprint_of(b"c"))
    assert shortened(both) == "sha256:ca978112ca1b+sha256:3e23e8160039"
