"""From a picture file to the network's input, exactly as detectron2's test transform does it, without detectron2."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from keyfpn.protocol.frame import Picture

from .errors import PictureError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Preprocessor:
    """Resizes pictures to the network's input size.

    A picture is always RGB here; :meth:`to_input` orders the channels as the detector wants them.

    Attributes:
        short_side: of the network's input, in pixels; 0 leaves pictures as they are, as in detectron2's configs.
        long_side_max: where the longer side would be above this, it decides instead.
        channel_order: ``RGB`` or ``BGR``.
    """

    short_side: int
    long_side_max: int
    channel_order: str

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Preprocessor:
        """Of a detectron2 config's test transform."""
        settings = config["INPUT"]
        return cls(int(settings["MIN_SIZE_TEST"]), int(settings["MAX_SIZE_TEST"]), str(settings["FORMAT"]))

    def network_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """The network input's (height, width) for a picture of (height, width), before padding.

        As detectron2's ``ResizeShortestEdge``, in the same order of the same float operations.

        Raises:
            PictureError: a picture so thin that a side would be 0.
        """
        if not self.short_side:
            return image_size
        factor, (height, width) = self.short_side / min(image_size), map(float, image_size)
        if height < width:
            height, width = float(self.short_side), factor * width
        else:
            height, width = factor * height, float(self.short_side)
        if max(height, width) > self.long_side_max:
            factor = self.long_side_max / max(height, width)
            height, width = height * factor, width * factor
        size = int(height + 0.5), int(width + 0.5)
        if not all(size):
            found = f"{image_size[0]} x {image_size[1]} pixels (height x width), which gives {size[0]} x {size[1]}"
            raise PictureError("size of a picture", "one that can be resized to the network's input", found)
        return size

    def resize(self, picture: Picture) -> Picture:
        """Resize (H, W, 3) uint8 to :meth:`network_size`, PIL bilinear."""
        return resize(picture, self.network_size((picture.shape[0], picture.shape[1])))

    def to_input(self, picture: Picture) -> NDArray[np.uint8]:
        """Turn a picture of network size, (H, W, 3) uint8 RGB, into what the network takes: (3, H, W) uint8."""
        ordered = picture[:, :, ::-1] if self.channel_order == "BGR" else picture
        return np.ascontiguousarray(ordered.transpose(2, 0, 1))


def resize(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize (H, W, 3) uint8 to (height, width) with PIL's bilinear filter."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


def read_picture(source: Path | bytes) -> Picture:
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
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def picture_size(path: Path) -> tuple[int, int]:
    """The (height, width) of a picture file, upright, from its header alone.

    Raises:
        PictureError: as :func:`read_picture`.
    """
    with _as_picture_error(str(path)), Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
        return (image.width, image.height) if turned else (image.height, image.width)


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """The pictures among files and folders: files as they are named, folders by suffix, sorted, not recursive.

    Raises:
        PictureError: a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise PictureError(str(path), f"pictures ({', '.join(SUFFIXES)}) in this folder", "none")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise PictureError(str(path), "a file or folder", "nothing of that name")
    return found


@contextmanager
def _as_picture_error(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise PictureError(name, "a picture", "no file of that name") from error
    except IsADirectoryError as error:
        raise PictureError(name, "a picture", "a folder") from error
    except UnidentifiedImageError as error:
        raise PictureError(name, "a picture", "something that no picture format matches") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(name, "a picture", f"a corrupt one: {error}") from error
