"""From a picture file to the network's input, exactly as the detector's own test transform does it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data.detection_utils import convert_PIL_to_numpy
from detectron2.data.transforms import ResizeShortestEdge
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .errors import PictureError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff")


class Preprocessor:
    """Reads pictures and resizes them to the network's input size.

    A picture is always RGB here; :meth:`to_input` orders the channels as the detector wants them.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Take the input sizes and channel order from a detectron2 config."""
        self._resize = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
        self._format = cfg.INPUT.FORMAT

    def network_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """The network input's (height, width) for a picture of (height, width)."""
        size = ResizeShortestEdge.get_output_shape(
            *image_size, self._resize.short_edge_length[0], self._resize.max_size
        )
        return int(size[0]), int(size[1])

    def resize(self, picture: np.ndarray) -> np.ndarray:
        """Resize (H, W, 3) uint8 to :meth:`network_size`, PIL bilinear."""
        return self._resize.get_transform(picture).apply_image(picture)

    def to_input(self, picture: np.ndarray) -> Tensor:
        """Turn a picture of network size, (H, W, 3) uint8 RGB, into what the network takes: (3, H, W) uint8."""
        ordered = picture[:, :, ::-1] if self._format == "BGR" else picture
        return torch.as_tensor(np.ascontiguousarray(ordered.transpose(2, 0, 1)))


def read_picture(source: Path | bytes) -> np.ndarray:
    """Decode a picture, turned upright as its EXIF orientation says.

    Args:
        source: a file, or an encoded picture's bytes.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        PictureError: the file is missing, no picture, or cut short, or has more pixels than Pillow's limit.
    """
    name = "picture" if isinstance(source, bytes) else str(source)
    with _as_picture_error(name), Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return convert_PIL_to_numpy(ImageOps.exif_transpose(image), "RGB")


def picture_size(path: Path) -> tuple[int, int]:
    """The (height, width) of a picture file, upright, from its header alone.

    Raises:
        PictureError: as :func:`read_picture`.
    """
    with _as_picture_error(str(path)), Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
        return (image.width, image.height) if turned else (image.height, image.width)


def find_pictures(paths: list[Path]) -> list[Path]:
    """The pictures among files and folders: files as they are named, folders by suffix, sorted, not recursive.

    Raises:
        PictureError: a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise PictureError(f"{path}: expected pictures ({', '.join(SUFFIXES)}) in this folder, found none")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise PictureError(f"{path}: no such file or folder")
    return found


@contextmanager
def _as_picture_error(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise PictureError(f"{name}: no such picture") from error
    except IsADirectoryError as error:
        raise PictureError(f"{name}: expected a picture, found a folder") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: expected a picture, found something that no picture format matches") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{name}: corrupt picture: {error}") from error
