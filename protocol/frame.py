"""One picture on its way from a source to an answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB, upright."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture, and what tells it from the others of its stream.

    Attributes:
        name: of its file without the suffix; for videos and cameras with a running number. Outputs are named so.
        frame_id: unique in its stream, 0 to 2**64 - 1; also the COCO ``image_id``.
        picture: (H, W, 3) uint8, RGB, upright.
        capture_time: microseconds since the Unix epoch at which the frame was read.
        duration: seconds until the next frame of a video or camera; None for a picture, and where the rate is unknown.
    """

    name: str
    frame_id: int
    picture: Picture
    capture_time: int = 0
    duration: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture, in pixels."""
        height, width = self.picture.shape[:2]
        return height, width
