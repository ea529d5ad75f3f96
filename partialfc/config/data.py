"""The section data, with data.augment."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from partialfc.config.section import ConfigPath, Section


def _check_channels(value: object) -> object:
    if isinstance(value, bool | float):  # Literal compares by ==, and True == 1.0 == 1
        raise ValueError("must be 1 or 3")
    return value


class AugmentConfig(Section):
    """Random changes to each training image; all off by default."""

    flip: bool = Field(False, description="Mirror left to right with probability one half.")
    shift: float = Field(0.0, ge=0, le=1, description="Largest shift, as a fraction of the image's size.")
    scale: float = Field(0.0, ge=0, le=0.9, description="Largest relative change of size: 0.1 is 0.9 to 1.1.")
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, in degrees, either way.")
    fill: int | None = Field(
        None, ge=0, le=255, description="Value of uncovered pixels; null: the mean of the image's edges."
    )
    brightness: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of all values: 0.2 is 0.8 to 1.2."
    )
    contrast: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of the distance from mid-grey."
    )
    saturation: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of a colour's distance from its grey."
    )
    low_resolution: float = Field(
        0.0, ge=0, le=1, description="Probability that an image is shrunk and enlarged again."
    )
    low_resolution_size: float = Field(
        0.25, gt=0, le=1, description="The smallest size that it is shrunk to, as a fraction of image_size."
    )


class DataConfig(Section):
    """The training images."""

    train: ConfigPath = Field(description="A RecordIO file (.rec), or a folder with a folder per class.")
    num_classes: int | None = Field(
        None, ge=1, description="Number of classes C, at least the data's; null: the data's."
    )
    image_size: int = Field(112, ge=1, description="Height and width of the backbone's input, in pixels.")
    channels: Annotated[Literal[1, 3], BeforeValidator(_check_channels)] = Field(
        3, description="3 for RGB, 1 for grey."
    )
    loader: Literal["auto", "plain", "dali"] = Field(
        "auto",
        description="dali: NVIDIA DALI decodes, on the GPU where there is one; plain: worker processes do; "
        "auto: dali where it is installed and the run is on a GPU.",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Loader processes per rank, and DALI's threads; 0 reads in the training process itself.",
    )
    max_bad_records: int = Field(
        0,
        ge=0,
        description="How many undecodable records a rank may skip, each replaced by the next; one more ends "
        "the run.",
    )
    augment: AugmentConfig = AugmentConfig()
    timeout_seconds: float = Field(
        120.0, gt=0, description="Seconds to wait for a batch before the loader is called stuck."
    )
