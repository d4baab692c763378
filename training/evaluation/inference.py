"""Inference over labelled images: a network and samples in, results for the metrics out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.models.detections import Detections
from mask_gate.models.files.checkpoint import Checkpoint
from mask_gate.models.letterbox import INPUT_STEP, MAX_INPUT, Letterbox
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.nms import suppress
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import UsageError
from mask_gate.training.evaluation.metrics import ImageResult

BATCH_SIZE = 8
LOWEST_SCORE = 0.001
"""Low, because average precision ranks whatever is found."""


@torch.inference_mode()
def predictions_of(
    network: DetectionNetwork,
    images: Sequence[NDArray[np.uint8]],
    input_size: int,
    device: torch.device,
) -> Iterator[NDArray[np.float32]]:
    """What the network says of each image, before suppression.

    Args:
        network: used in evaluation mode, which is undone afterwards.
        images: [H, W, 3] uint8 BGR each, of any sizes.
        input_size: side of the letterboxed square.
        device: where the network is.

    Yields:
        [N, 5 + C] an image (see `anchors.decode`), corners in pixels of the square.
    """
    was_training = network.training
    network.eval()
    try:
        for at in range(0, len(images), BATCH_SIZE):
            squares = np.stack(
                [
                    Letterbox((image.shape[0], image.shape[1]), input_size).image(image)
                    for image in images[at : at + BATCH_SIZE]
                ]
            )
            batch = torch.from_numpy(squares[..., ::-1].transpose(0, 3, 1, 2).copy())
            batch = batch.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
            yield from network.predict(batch).float().cpu().numpy()
    finally:
        network.train(was_training)


def results_of(
    network: DetectionNetwork,
    samples: Sequence[Sample],
    input_size: int,
    device: torch.device,
    score_threshold: float = LOWEST_SCORE,
    one_label: bool = False,
) -> list[ImageResult]:
    """Truth and detections of every sample, in the image's own pixels.

    Args:
        network: the detector.
        samples: labelled images.
        input_size: side of the letterboxed square.
        device: where the network is.
        score_threshold: lowest score kept.
        one_label: as in `models.nms.suppress`.
    """
    images = [sample.image for sample in samples]
    predictions = predictions_of(network, images, input_size, device)
    return [
        result_of(sample, rows, input_size, score_threshold, one_label)
        for sample, rows in zip(samples, predictions, strict=True)
    ]


def result_of(
    sample: Sample,
    predictions: NDArray[np.float32],
    input_size: int,
    score_threshold: float = LOWEST_SCORE,
    one_label: bool = False,
) -> ImageResult:
    """Truth and detections of one sample, from what the network says of it; see `results_of`."""
    found = suppress(predictions, score_threshold, one_label=one_label)
    detections = in_source(found, sample.size_hw, input_size)
    return ImageResult(sample.name, sample.boxes_xyxy, sample.labels, detections, sample.size_hw)


def in_source(found: Detections, size_hw: tuple[int, int], input_size: int) -> Detections:
    """Detections in pixels of the square as detections in pixels of the image."""
    boxes = Letterbox(size_hw, input_size).inverse_boxes(found.boxes_xyxy)
    return Detections(boxes, found.scores, found.labels, found.margins)


def input_size_of(checkpoint: Checkpoint, wanted: int | None) -> int:
    """The side of the square to run at: the one asked for, or the checkpoint's own.

    Raises:
        UsageError: no network here runs at it.
    """
    size = checkpoint.input_size if wanted is None else wanted
    if size not in range(INPUT_STEP, MAX_INPUT + 1, INPUT_STEP):
        raise UsageError(f"--imgsz {size}: expected a multiple of {INPUT_STEP} up to {MAX_INPUT}")
    return size
