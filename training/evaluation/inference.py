"""Inference over labelled images: a network and samples in, results for the metrics out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.models.letterbox import Letterbox
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.nms import suppress
from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.metrics import ImageResult

BATCH_SIZE = 8


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
            yield from network.predict(batch).cpu().numpy()
    finally:
        network.train(was_training)


def results_of(
    network: DetectionNetwork,
    samples: Sequence[Sample],
    input_size: int,
    device: torch.device,
    score_threshold: float = 0.001,
    one_label: bool = False,
) -> list[ImageResult]:
    """Truth and detections of every sample, in the image's own pixels.

    Args:
        network: the detector.
        samples: labelled images.
        input_size: side of the letterboxed square.
        device: where the network is.
        score_threshold: lowest score kept; low, because average precision ranks them all.
        one_label: as in `models.nms.suppress`.
    """
    images = [sample.image for sample in samples]
    predictions = predictions_of(network, images, input_size, device)
    return [
        _result(sample, rows, input_size, score_threshold, one_label)
        for sample, rows in zip(samples, predictions, strict=True)
    ]


def results_of_engine(
    engine: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    samples: Sequence[Sample],
    input_size: int,
    score_threshold: float = 0.001,
) -> list[ImageResult]:
    """As `results_of`, of anything that takes a letterboxed square to predictions."""
    return [
        _result(
            sample,
            engine(Letterbox(sample.size_hw, input_size).image(sample.image)),
            input_size,
            score_threshold,
            one_label=False,
        )
        for sample in samples
    ]


def _result(
    sample: Sample,
    predictions: NDArray[np.float32],
    input_size: int,
    score_threshold: float,
    one_label: bool,
) -> ImageResult:
    found = suppress(predictions, score_threshold, one_label=one_label)
    boxes = Letterbox(sample.size_hw, input_size).inverse_boxes(found.boxes_xyxy)
    detections = type(found)(boxes, found.scores, found.labels, found.margins)
    return ImageResult(sample.name, sample.boxes_xyxy, sample.labels, detections, sample.size_hw)
