"""The section data, with data.augment."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from partialfc.config.section import ConfigPath, Place, Places, Section


def _check_channels(value: object) -> object:
    if isinstance(value, bool | float):  # Literal compares by ==, and True == 1.0 == 1
        raise ValueError("must be 1 or 3")
    return value


class AugmentConfig(Section):
    """Random changes to each training image; all are off by default.

    Built by training/builders/data.py, `build_loader_from`.
    """

    flip: bool = Field(False, description="Mirror left and right with a probability of one half.")
    shift: float = Field(0.0, ge=0, le=1, description="Largest shift, as a fraction of the image's size.")
    scale: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="Largest relative change of size: 0.1 means 0.9 to 1.1 times.",
    )
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, in degrees, in either direction.")
    fill: int | None = Field(
        None,
        ge=0,
        le=255,
        description="Value of pixels that a move uncovers; null: the mean of the image's edges.",
    )
    brightness: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of all values: 0.2 means 0.8 to 1.2 times."
    )
    contrast: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of each value's distance from mid-grey."
    )
    saturation: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of a colour's distance from its grey."
    )
    low_resolution: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that an image is shrunk and then enlarged to its size again.",
    )
    low_resolution_size: float = Field(
        0.25,
        gt=0,
        le=1,
        description="The smallest size that an image is shrunk to, as a fraction of image_size.",
    )


class DataConfig(Section):
    """The training images.

    Built by training/builders/data.py, `open_training_source` and `build_loader_from`.
    """

    train: Places = Field(
        description="The images: a folder with a folder per class, a RecordIO file (.rec), a text list "
        "(.txt) with `path label` on each line, tar shards of WebDataset (such as "
        "shard-{000..127}.tar), parquet files, or a folder of Hugging Face's datasets library; lists, "
        "shards and parquet files also behind a URL; or a list of several of these, whose classes of the "
        "same name are one. See docs/how-to/sources.md.",
    )
    root: ConfigPath | None = Field(
        None,
        description="Of a text list: the folder that its paths are relative to; null: the list's own.",
    )
    class_depth: int = Field(
        1,
        ge=0,
        description="Of an image folder: how many levels below data.train the class folders are. Images in "
        "folders within a class folder belong to that class. 0: each folder that holds images itself is a "
        "class, on whatever level.",
    )
    only: ConfigPath | None = Field(
        None,
        description="A text file with the key of an image on each line, such as cats/3.jpg in a folder or 17 "
        "in a .rec: no others are taken. Classes without images then have no id.",
    )
    leave_out: ConfigPath | None = Field(
        None, description="As only, of images that are not taken. What follows a tab is a comment."
    )
    num_classes: int | None = Field(
        None,
        ge=1,
        le=1 << 53,
        description="Number of classes C, at least as many as the data has, and more than the largest label; "
        "null: as many as the data says.",
    )
    image_size: int = Field(112, ge=1, description="Height and width of the backbone's input, in pixels.")
    max_pixels: int = Field(
        64_000_000,
        ge=1,
        description="An image whose header claims more pixels (height x width) is a bad record: it is not "
        "decoded, since that could take all memory.",
    )
    channels: Annotated[Literal[1, 3], BeforeValidator(_check_channels)] = Field(
        3, description="3 for RGB, 1 for grey."
    )
    sampler: Literal["shuffle", "identities", "half_identities"] = Field(
        "shuffle",
        description="What a batch holds. shuffle: every image once an epoch, in random order; identities: "
        "images_per_identity images of each of as many identities as train.batch_size has room for, as "
        "losses on pairs and triplets need; half_identities: two images of each of train.batch_size / 4 "
        "identities, and as many images in random order, as head.name: pool needs.",
    )
    images_per_identity: int | None = Field(
        None,
        ge=1,
        description="With sampler: identities, the images of each identity in a batch; it must divide "
        "train.batch_size. An identity with fewer gives some of them more than once.",
    )
    loader: Literal["auto", "plain", "dali"] = Field(
        "auto",
        description="What decodes the images. dali: NVIDIA DALI, on the GPU where there is one; plain: the "
        "worker processes; auto: dali where it is installed and the run is on a GPU, else "
        "plain.",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Processes per rank that read data, and threads of DALI; 0: the training process reads "
        "itself.",
    )
    max_bad_records: int = Field(
        0,
        ge=0,
        description="How many records that cannot be decoded a rank may skip. Each is replaced by the next "
        "one. One more ends the run.",
    )
    augment: AugmentConfig = AugmentConfig()
    timeout_seconds: float = Field(
        120.0,
        gt=0,
        description="Seconds to wait for a batch; when they are over, the run ends with an error.",
    )

    @property
    def places(self) -> tuple[Place, ...]:
        """What `train` names, one or several."""
        return self.train if isinstance(self.train, tuple) else (self.train,)

    @property
    def shown(self) -> str:
        """What `train` names, for messages."""
        return ", ".join(map(str, self.places))

    @model_validator(mode="after")
    def _check_sampler(self) -> Self:
        if self.sampler == "identities" and self.images_per_identity is None:
            raise ValueError("sampler: identities needs images_per_identity, such as 4")
        if self.sampler != "identities" and self.images_per_identity is not None:
            raise ValueError(
                f"images_per_identity is {self.images_per_identity}, but only sampler: identities uses it; "
                f"sampler is {self.sampler}"
            )
        return self
