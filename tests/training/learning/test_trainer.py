"""The trainer: it learns, it resumes to the bit, and it stops rather than save nonsense."""

import time

import numpy as np
import pytest
import torch

from mask_gate.models.files.checkpoint import load_checkpoint, save_checkpoint
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import Interrupted, TrainingError
from mask_gate.training.evaluation.inference import results_of
from mask_gate.training.evaluation.metrics import evaluate_strict
from mask_gate.training.learning.batches import BatchSource
from mask_gate.training.learning.run_check import checkpoint_bytes
from mask_gate.training.learning.start_weights import start_network
from mask_gate.training.learning.trainer import (
    LOSS_NAMES,
    Trainer,
    layer_type,
)

CPU = torch.device("cpu")
ABOUT = {"metrics": {}, "training": {}}


def config(**changes):
    base = {
        "name": "a",
        "architecture": "yolov3_tiny",
        "input_size": 64,
        "batch_size": 2,
        "epochs": 2,
        "precision": "float32",  # the same on every machine
        "augment": {"flip": 0.5, "brightness": 0.3},
        "optim": {"lr": 1e-3, "ema_decay": 0.9, "warmup_steps": 2},
    }
    return TrainConfig.model_validate(base | changes)


def trainer_of(samples, run):
    network, moved, _ = start_network(run)
    return Trainer(network, moved, BatchSource(samples, run), run, CPU)


def nothing(*_):
    pass


def never():
    return False


def train(trainer, epochs):
    while trainer.progress.epoch < epochs:
        row = {"epoch": trainer.progress.epoch + 1, **trainer.train_epoch(nothing, never)}
        trainer.finish_epoch(row)


def weights_of(trainer):
    return {name: t.clone() for name, t in trainer.network.state_dict().items()}


def assert_same(one, other):
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize(
    ("precision", "device", "layers"),
    [
        ("auto", "cuda", torch.float16),
        ("float32", "cuda", torch.float32),
        ("float32", "cpu", torch.float32),
        ("bfloat16", "cpu", torch.bfloat16),
    ],
)
@pytest.mark.parametrize("tiles", [True, False])
def test_the_layers_are_computed_in_the_type_asked_for(precision, device, layers, tiles):
    assert layer_type(precision, torch.device(device), {"amx_bf16": tiles}) is layers


def test_left_to_the_machine_it_is_bfloat16_where_the_processor_multiplies_in_it(draw_samples):
    assert layer_type("auto", CPU, {"amx_bf16": True}) is torch.bfloat16
    assert layer_type("auto", CPU, {"avx512_bf16": True}) is torch.bfloat16
    assert layer_type("auto", torch.device("cuda"), {"cuda_bf16": True}) is torch.bfloat16
    assert layer_type("auto", CPU, {"amx_bf16": False}) is torch.float32
    assert layer_type("auto", CPU, {"neon": True}) is torch.float32
    trainer = trainer_of(draw_samples(1), config(precision="auto"))
    assert trainer.layers is layer_type("auto", CPU, torch.cpu.get_capabilities())


def test_bfloat16_learns_like_float32_and_keeps_float32_weights(draw_samples):
    """The same steps from the same start: losses a few percent apart, and both fall."""
    samples, falls = draw_samples(4), {}
    for precision in ("float32", "bfloat16"):
        trainer = trainer_of(samples, config(precision=precision, epochs=8, batch_size=4))
        train(trainer, 8)
        assert {t.dtype for t in trainer.network.parameters()} == {torch.float32}
        falls[precision] = [sum(row[n] for n in LOSS_NAMES) for row in trainer.progress.history]
    assert falls["bfloat16"] == pytest.approx(falls["float32"], rel=0.1)
    assert falls["bfloat16"] != falls["float32"]
    assert falls["bfloat16"][-1] < falls["bfloat16"][0]


@pytest.mark.slow
def test_eight_images_are_learnt_by_heart(draw_samples):
    """Strict mAP@0.5 over 0.95 on the images it was shown, in under 90 s of processor time."""
    samples = draw_samples(8)
    run = config(
        input_size=128,
        batch_size=2,
        epochs=150,
        augment={"flip": 0},
        assign={"rule": "several_cells"},
        optim={"lr": 1e-3, "warmup_steps": 5},
    )
    trainer = trainer_of(samples, run)
    began, map50 = time.process_time(), 0.0
    while map50 <= 0.95 and trainer.progress.epoch < run.epochs:
        assert time.process_time() - began < 90
        train(trainer, trainer.progress.epoch + 5)
        results = results_of(trainer.evaluated_network(), samples, 128, CPU)
        map50 = float(evaluate_strict(results).scores.map50)
    assert map50 > 0.95


@pytest.mark.parametrize(
    ("stop_after", "precision"),
    [(1, "float32"), (3, "float32"), (4, "float32"), (4, "bfloat16")],
)
def test_an_interrupted_run_equals_an_uninterrupted_one_to_the_bit(
    draw_samples, tmp_path, stop_after, precision
):
    """Stopped within or between epochs, saved, loaded anew, gone on: same weights, same average."""
    samples, run = draw_samples(6, size=64), config(precision=precision)
    whole = trainer_of(samples, run)
    train(whole, run.epochs)

    first = trainer_of(samples, run)
    asked = iter([False] * (stop_after - 1) + [True] * 10)
    try:
        while True:
            first.finish_epoch({"epoch": 1.0, **first.train_epoch(nothing, lambda: next(asked))})
            if first.progress.updates >= stop_after:
                break
    except Interrupted:
        pass
    assert first.progress.updates == stop_after
    save_checkpoint(tmp_path / "last.pth", first.checkpoint(True, ABOUT))

    second = trainer_of(samples, run)
    second.resume(load_checkpoint(tmp_path / "last.pth"))
    train(second, run.epochs)
    assert_same(weights_of(whole), weights_of(second))
    assert_same(whole.average.weights, second.average.weights)
    assert whole.progress.updates == second.progress.updates


def test_the_same_seed_trains_the_same_network(draw_samples):
    samples = draw_samples(4, size=64)
    one, other = trainer_of(samples, config(epochs=1)), trainer_of(samples, config(epochs=1))
    train(one, 1)
    train(other, 1)
    assert_same(weights_of(one), weights_of(other))


def test_every_batch_steps_without_accumulation(draw_samples):
    trainer = trainer_of(draw_samples(6, size=64), config(epochs=1))
    train(trainer, 1)
    assert trainer.progress.updates == 3


@pytest.mark.parametrize(("accumulate", "updates"), [(2, 2), (3, 1), (5, 1)])
def test_accumulation_steps_every_n_batches_and_at_the_end(draw_samples, accumulate, updates):
    trainer = trainer_of(draw_samples(6, size=64), config(epochs=1, accumulate=accumulate))
    train(trainer, 1)
    assert trainer.progress.updates == updates


def without_norms(**changes):
    """A run whose network has no norm that learns, so that only gradients meet across batches."""
    return config(
        architecture="yolov3_lite",
        assign={"rule": "centre"},
        freeze=[{"modules": ["class_branch"]}],
        augment={"flip": 0},
        optim={"name": "sgd", "lr": 0.01},
        **changes,
    )


def with_uneven_faces(samples):
    """0, 1, 2, 3, 0, 1... faces an image."""
    return [
        Sample(s.image, s.boxes_xyxy[: i % 4], s.labels[: i % 4], s.name)
        for i, s in enumerate(samples)
    ]


@pytest.mark.parametrize("images", [8, 7], ids=["whole groups", "a last short group"])
def test_accumulation_equals_the_large_batch(draw_samples, images):
    """A face counts the same whether its batch holds many or few: as in one batch of them all."""
    samples = with_uneven_faces(draw_samples(images, size=64))
    large = trainer_of(samples, without_norms(batch_size=4))
    small = trainer_of(samples, without_norms(batch_size=1, accumulate=4))
    start = weights_of(large)
    train(large, 2)
    train(small, 2)
    assert large.progress.updates == small.progress.updates == 4
    theirs = weights_of(small)
    for name, tensor in weights_of(large).items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=1e-5)
    assert any(not torch.allclose(start[name], theirs[name], atol=1e-4) for name in start)


def test_the_schedule_ends_with_the_last_update(draw_samples):
    """Three batches an epoch, two at a time: two updates an epoch, the last at the lowest rate."""
    run = config(accumulate=2, optim={"lr": 1.0, "final_lr_fraction": 0.0, "warmup_steps": 0})
    trainer = trainer_of(draw_samples(6, size=64), run)
    assert trainer.total_updates == 4


def test_images_without_faces_train_too(draw_samples):
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    empty = [Sample(s.image, *none, s.name) for s in draw_samples(4, size=64)]
    trainer = trainer_of(empty, config(epochs=1))
    train(trainer, 1)
    assert all(torch.isfinite(t).all() for t in weights_of(trainer).values())


def test_a_loss_that_is_not_finite_stops_and_names_the_images(draw_samples):
    trainer = trainer_of(draw_samples(4, size=64), config(epochs=1))
    with torch.no_grad():
        trainer.network.head_outputs()[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 .* on drawn\d, drawn\d; lower"):
        trainer.train_epoch(nothing, never)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_size_of_a_checkpoint_is_known_before_it_is_written(draw_samples, tmp_path, name):
    trainer = trainer_of(draw_samples(2, size=64), config(epochs=1, optim={"name": name}))
    foretold = checkpoint_bytes(trainer.network, trainer.config)
    train(trainer, 1)
    save_checkpoint(tmp_path / "last.pth", trainer.checkpoint(True, ABOUT))
    assert (tmp_path / "last.pth").stat().st_size == pytest.approx(foretold, rel=0.02)


def test_weights_alone_cannot_be_resumed(draw_samples, tmp_path):
    trainer = trainer_of(draw_samples(2, size=64), config())
    save_checkpoint(tmp_path / "best.pth", trainer.checkpoint(False, ABOUT))
    with pytest.raises(TrainingError, match=r"resume from last\.pth"):
        trainer.resume(load_checkpoint(tmp_path / "best.pth"))


def test_frozen_layers_stand_still(draw_samples):
    trainer = trainer_of(draw_samples(2, size=64), config(epochs=1, freeze=[{"modules": ["fine"]}]))
    before = weights_of(trainer)
    train(trainer, 1)
    after = weights_of(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(name.startswith("fine.") for name in moved)


def test_the_network_that_is_evaluated_is_the_average(draw_samples):
    trainer = trainer_of(draw_samples(2, size=64), config(epochs=1))
    train(trainer, 1)
    shown = trainer.evaluated_network().state_dict()
    assert_same(dict(shown), trainer.average.weights)
    raw = trainer.network.state_dict()
    assert any(not torch.equal(shown[name], raw[name]) for name in raw)


def test_loss_falls_on_a_full_yolov3(draw_samples):
    """The report's own network, loss and assignment: finite parts that fall over a few steps."""
    run = config(
        architecture="yolov3",
        batch_size=2,
        epochs=6,
        augment={"flip": 0},
        assign={"rule": "best_per_scale"},
        loss={
            "box": "mse",
            "average": "per_cell",
            "no_object_gain": 100.0,
            "objectness": {"alpha": 0.25, "gamma": 2.0, "positives_only": True},
        },
        optim={"name": "adam", "lr": 1e-3, "schedule": "constant"},
    )
    trainer = trainer_of(draw_samples(2, size=64), run)
    totals = []
    for _ in range(6):
        means = trainer.train_epoch(nothing, never)
        totals.append(sum(means.values()))
        trainer.finish_epoch({"epoch": 1.0, **means})
    assert np.isfinite(totals).all()
    assert totals[-1] < totals[0] / 2
