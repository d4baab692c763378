"""The processor: what the kernel says of it decides which engines there are."""

import pytest

from mask_gate.gate.detector import processor
from mask_gate.gate.detector.processor import cpu_name, has_vnni

N100 = "processor\t: 0\nmodel name\t: Intel(R) N100\nflags\t\t: fpu sse2 avx2 avx_vnni\n"
HASWELL = "processor\t: 0\nmodel name\t: Intel(R) i5-4570\nflags\t\t: fpu sse2 avx2\n"
ARM = "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd asimddp\n"


@pytest.fixture
def says(tmp_path, monkeypatch):
    def tell(text):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(processor, "_CPUINFO", path)

    return tell


@pytest.mark.parametrize(("text", "expected"), [(N100, True), (HASWELL, False), (ARM, False)])
def test_products_of_8_bit_numbers_are_exact_with_vnni_only(says, text, expected):
    says(text)
    assert has_vnni() is expected


def test_processors_of_the_same_name_with_other_abilities_are_told_apart(says):
    says(N100)
    with_vnni = cpu_name()
    assert with_vnni.startswith("Intel(R) N100 (")
    says(N100.replace(" avx_vnni", ""))
    assert cpu_name() != with_vnni


@pytest.mark.parametrize("text", ["", "no colon\n"])
def test_a_kernel_that_says_nothing_knows_of_no_vnni(says, text):
    says(text)
    assert cpu_name().startswith("unknown (")
    assert not has_vnni()


def test_a_system_without_the_file_knows_of_no_vnni(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    assert cpu_name().startswith("unknown (")
    assert not has_vnni()
