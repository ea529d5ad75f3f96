"""What one request may take of the service, and all of them together."""

from dataclasses import dataclass, fields

from partialfc.errors import ConfigError

HELD_REQUESTS = 8  # bodies of the largest size that may be in memory at once
LONGEST_TIMEOUT = 86_400  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a service; each is an option of `partialfc serve`, with the same name.

    Raises ConfigError for a value that is too small or too large, and where a request's images would never
    fit the queue.

    Attributes:
        max_image_bytes: Of one encoded image.
        max_request_bytes: Of a request's whole body.
        max_pixels: Of one image, by its header.
        max_images: Of one request.
        max_batch: Images in one call of the model, at most.
        max_wait_ms: How long a call that is not full waits for images that are being decoded.
        queue: Images that may be decoded or wait for the model; more are answered 503.
        timeout: Seconds to read a head or a body, to embed images, to search or change the gallery, and for a
            client to take a part of its answer.
    """

    max_image_bytes: int = 10_000_000
    max_request_bytes: int = 32_000_000
    max_pixels: int = 25_000_000
    max_images: int = 64
    max_batch: int = 32
    max_wait_ms: float = 2.0
    queue: int = 256
    timeout: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value, name = getattr(self, each.name), option(each.name)
            if each.name == "max_wait_ms":
                if not 0 <= value <= 1000:
                    raise ConfigError(f"{name} is {value:g}: it must be 0 to 1000")
            elif not value > 0:
                raise ConfigError(f"{name} is {value:g}: it must be above 0")
        if self.timeout > LONGEST_TIMEOUT:
            raise ConfigError(f"--timeout is {self.timeout:g}: it must be at most {LONGEST_TIMEOUT}, a day")
        if self.queue < self.max_images:
            raise ConfigError(
                f"--queue is {self.queue}: it must be at least --max-images, {self.max_images}, or a full "
                "request is never answered"
            )

    @property
    def longest_seconds(self) -> float:
        """What a request may take: its body, its embeddings, and the search or the change after them."""
        return 3 * self.timeout

    @property
    def held_bytes(self) -> int:
        """What bodies that are being read or decoded may take together."""
        return HELD_REQUESTS * self.max_request_bytes


def option(name: str) -> str:
    """The option of `partialfc serve` for a limit."""
    return "--" + name.replace("_", "-")
