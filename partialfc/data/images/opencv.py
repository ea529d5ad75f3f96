"""OpenCV as `cv2`; on a machine without it, the first use of it says so.

JPEGs that have the size they are asked for, and are not augmented, need none of it.
"""

import functools
from typing import Any

from partialfc.errors import MissingExtraError

try:
    import cv2
except ImportError as missing:
    REASON = str(missing)

    class _Missing:
        def __getattr__(self, name: str) -> Any:
            raise MissingExtraError(
                f"OpenCV cannot be imported ({REASON}): pip install opencv-python-headless. Without it only "
                "JPEGs are read, and only as they are: of the size asked for, not augmented"
            )

    cv2 = _Missing()  # type: ignore[assignment]

__all__ = ["cv2", "silence_opencv"]


@functools.cache
def silence_opencv() -> None:
    """It prints lines of its own about what an error names already, such as a damaged image."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
