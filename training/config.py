"""TrainConfig: everything a training run depends on, as one frozen, strict value read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from mask_gate.models.files.strict_yaml import ConfigFileError
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.section import Section
from mask_gate.models.shipped import CONFIGS


def _class_name(name: str) -> str:
    if name not in CLASS_NAMES:
        raise ValueError(f"expected one of {', '.join(CLASS_NAMES)}, got {name!r:.40}")
    return name


ClassName = Annotated[str, AfterValidator(_class_name)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class ExperimentSection(Section):
    """Base of all parts; a number may also be given in quotes."""

    model_config = ConfigDict(strict=False)


class Focal(ExperimentSection):
    """Focal weighting of a cross-entropy (Lin et al., 2017, equation 5)."""

    gamma: NotNegative
    alpha: Fraction | None = Field(
        default=None,
        description="weight of positives; negatives get 1 - alpha; none: 1",
    )
    positives_only: bool = Field(
        default=False, description="the report's use: negatives keep plain cross-entropy"
    )


class LossConfig(ExperimentSection):
    """Which terms make the loss, and how much each counts."""

    box: Literal["mse", "ciou"] = "ciou"
    objectness: Literal["bce"] | Focal = "bce"
    classes: Literal["bce"] | Focal = "bce"
    average: Literal["per_face", "per_cell"] = Field(
        default="per_face",
        description="sums over the number of faces, or the report's means over a scale's cells",
    )
    box_gain: NotNegative = 1.0
    objectness_gain: NotNegative = 1.0
    class_gain: NotNegative = 1.0
    no_object_gain: NotNegative = Field(default=1.0, description="weight of cells without a face")
    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="one weight a class for the class term of its faces"
    )


class AssignConfig(ExperimentSection):
    """Which cells and anchors answer for which face."""

    rule: Literal["best_per_scale", "best_of_all", "several_cells", "centre"] = "best_of_all"
    ignore_iou: Fraction = Field(
        default=0.5,
        description="cells without a face whose box overlaps one by more are left alone",
    )
    max_side_ratio: PositiveFloat = Field(
        default=4.0, description="several_cells: how much an anchor's side may differ from a face's"
    )


class AugmentConfig(ExperimentSection):
    """How images are varied; every probability is per image."""

    flip: Fraction = 0.5
    mosaic: Fraction = 0.0
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0), description="range of the zoom, drawn evenly in its logarithm"
    )
    translate: Fraction = Field(default=0.0, description="shift, as a part of the input's side")
    focus: Fraction = Field(
        default=0.0, description="probability that the zoom brings one face to a size of `focus_px`"
    )
    focus_px: tuple[PositiveFloat, PositiveFloat] = (48.0, 240.0)
    hue: Fraction = Field(default=0.0, description="largest shift, as a part of the colour circle")
    saturation: Fraction = 0.0
    brightness: Fraction = 0.0
    degrade: Fraction = Field(
        default=0.0, description="blur, noise, JPEG or a coarse sensor, as cheap cameras make them"
    )
    paste: Fraction = Field(
        default=0.0, description="a rare class's face replaces a common one's of like size"
    )
    turn: Fraction = Field(
        default=0.0, description="turned by up to `turn_deg`, now and then by 90 or 180 degrees"
    )
    turn_deg: Annotated[float, Field(ge=0, le=180)] = 75.0
    light: Fraction = Field(
        default=0.0,
        description="a colour cast, another gamma, darkness with noise, grey, backlight or shadow",
    )
    large: Fraction = Field(
        default=0.0,
        description="an image alone, one of whose faces takes `large_part` of the input's side",
    )
    large_part: tuple[PositiveFloat, PositiveFloat] = (0.3, 1.0)
    report: bool = Field(
        default=False,
        description="by chance as it is, scaled by 0.7 and turned by 15 degrees, or noisy",
    )
    plain_epochs: Annotated[int, Field(ge=0)] = Field(
        default=0, description="the last epochs without mosaic, focus and paste"
    )


class DataSource(ExperimentSection):
    """Further images to learn from, in a folder with `labels.json`."""

    path: str = Field(description="the folder; as given, or below the folder of --data")
    weight: PositiveFloat = Field(
        default=1.0, description="how often each picture is shown in an epoch, on average"
    )
    by_group: bool = Field(
        default=False, description="a group of like pictures, as a video's frames, counts as one"
    )
    unknown: tuple[ClassName, ...] = Field(
        default=(),
        description="classes that its labels do not tell from the others, as in a set of two "
        "classes: they are left out of the loss of its faces",
    )


class OptimConfig(ExperimentSection):
    """How weights move."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-3
    trunk_lr_factor: NotNegative = Field(
        default=1.0, description="learning rate of transferred layers, as a part of `lr`"
    )
    weight_decay: NotNegative = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["constant", "cosine"] = "cosine"
    final_lr_fraction: Fraction = 0.02
    clip_norm: PositiveFloat | None = 10.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="0 evaluates and saves the raw weights"
    )


class Freeze(ExperimentSection):
    """Modules whose weights stand still until an epoch."""

    modules: tuple[str, ...] = Field(
        description="names or beginnings of names, as in the state dict"
    )
    until_epoch: PositiveInt | None = Field(default=None, description="none keeps them frozen")


class TrainConfig(ExperimentSection):
    """One training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    architecture: Literal["yolov3", "yolov3_tiny", "yolov3_lite"]
    start: str = Field(
        default="scratch",
        description="scratch, centerface, or a file: Darknet weights, a checkpoint, or a state "
        "dict of the widespread PyTorch layout",
    )
    seed: int = 0
    epochs: PositiveInt = 100
    batch_size: PositiveInt = 8
    accumulate: PositiveInt = Field(default=1, description="batches per step of the optimizer")
    input_size: PositiveInt = 416
    multi_scale: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="smallest and largest side, drawn anew each batch"
    )
    repeat_factor: NotNegative = Field(
        default=0.0,
        description="images of a class on fewer than this part of all are shown more often; 0: off",
    )
    epoch_images: PositiveInt | None = Field(
        default=None,
        description="images shown in an epoch, those there are again and again; none: each once",
    )
    map: dict[str, str] = Field(
        default={},
        description="what the data set's own class names mean, as mask: with_mask; person: '-' "
        "leaves such boxes out",
    )
    train_split: str = "train"
    weight: PositiveFloat = Field(
        default=1.0, description="how often each image of train_split is shown in an epoch"
    )
    data: tuple[DataSource, ...] = Field(
        default=(),
        description="learnt from beside it; near twins of the other splits are left out",
    )
    only_images_with: str | None = Field(
        default=None,
        description="learn only from images that show this class, as the report's balanced subset",
    )
    watch_split: str | None = Field(
        default="valid", description="evaluated after each epoch; none evaluates nothing"
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="which epoch becomes best.pth: by mAP on watch_split, or the last",
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="epochs without a better mAP on watch_split after which to stop; none: never",
    )
    score_threshold: Fraction = 0.001
    threads: PositiveInt | None = None
    workers: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        default="auto",
        description="processes that make batches; auto: all cores but two for a GPU, else none",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="of the network's layers: auto is bfloat16 on cards and CPUs that multiply in "
        "it, float16 on older cards, and float32 elsewhere; losses are always float32",
    )
    augment: AugmentConfig = AugmentConfig()
    assign: AssignConfig = AssignConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    freeze: tuple[Freeze, ...] = ()

    @model_validator(mode="after")
    def _parts_fit_each_other(self) -> TrainConfig:
        low, high = self.multi_scale or (self.input_size, self.input_size)
        for size in (self.input_size, low, high):
            if size % 32:
                raise ValueError(f"expected sizes that are multiples of 32, got {size}")
        if low > high:
            raise ValueError(f"multi_scale: expected the smaller size first, got {low} and {high}")
        if self.architecture == "yolov3_lite" and self.assign.rule != "centre":
            raise ValueError("yolov3_lite has one map; set assign.rule to centre")
        if self.only_images_with not in (None, *CLASS_NAMES):
            raise ValueError(
                f"only_images_with: expected one of {', '.join(CLASS_NAMES)}, "
                f"got {self.only_images_with}"
            )
        if self.patience and not self.watch_split:
            raise ValueError("patience waits for a better mAP; set watch_split to measure one")
        return self


def config_path(text: str) -> Path:
    """The file of an experiment: `text` as a path, or the name of one that comes with the program.

    Raises:
        ConfigFileError: a bare name such as `focal` that no such experiment has.
    """
    path = Path(text)
    if path.suffix or path.is_file() or path.name != text:
        return path
    shipped = sorted(file.stem for file in CONFIGS.glob("*.yaml") if file.stem != "gate")
    if text not in shipped:
        raise ConfigFileError(f"{text}: no such file; give one, or one of {', '.join(shipped)}")
    return CONFIGS / f"{text}.yaml"
