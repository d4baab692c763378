"""The detector of all doors: opened as gate.yaml and what is known of the machine say."""

import pytest

from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file
from mask_gate.gate.detector.engines import engine_options
from mask_gate.gate.runtime.parts import open_detector
from mask_gate.gate.runtime.run_mode import RunMode
from mask_gate.models.shipped import BUNDLED_WEIGHTS

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch, tmp_path):
    """One that was found to take 200 ms for a picture of 512 px."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    options = engine_options(BUNDLED_WEIGHTS, "cpu", EngineKind.ONNX)
    known = {EngineKind.ONNX: 200.0}
    EngineChoice(choice_file()).remember(options.identity, options.kinds, known)


@pytest.mark.parametrize(
    ("own", "size"), [({}, 320), ({"input_size": 416}, 416)], ids=["by the machine", "by gate.yaml"]
)
def test_the_input_size_is_that_of_gate_yaml_or_what_the_machine_bears(own, size):
    config = GateConfig.model_validate({"detector": {"device": "cpu", "engine": "onnx", **own}})
    with open_detector(config, RunMode()) as detector:
        assert detector.engine_name.endswith(f", {size} px")
