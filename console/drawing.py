"""Detections drawn into their picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from keyfpn.protocol.detections import Detections

DRAWN_SCORE = 0.5
"""Objects of at least this score are drawn."""
# Tableau's ten, which most people tell apart.
_PALETTE = (
    "#4e79a7",
    "#f28e2b",
    "#e15759",
    "#76b7b2",
    "#59a14f",
    "#edc948",
    "#b07aa1",
    "#ff9da7",
    "#9c755f",
    "#bab0ac",
)


def draw(found: Detections, picture: NDArray[np.uint8]) -> Image.Image:
    """Draw each object's box with its name and score.

    Args:
        found: of the picture; those below :data:`DRAWN_SCORE` are left out.
        picture: (H, W, 3) uint8, RGB.
    """
    image = Image.fromarray(picture)
    shown = found.above(DRAWN_SCORE)
    short_side = min(picture.shape[:2])
    width, font = max(2, short_side // 200), ImageFont.load_default(max(11, short_side // 40))
    canvas = ImageDraw.Draw(image)
    # The best last, so that its label lies on top.
    for index in reversed(range(len(shown))):
        colour = _PALETTE[int(shown.classes[index]) % len(_PALETTE)]
        x0, y0, x1, y1 = map(float, shown.boxes[index])
        x1, y1 = max(x0, x1), max(y0, y1)
        canvas.rectangle((x0, y0, x1, y1), outline=colour, width=width)
        label = f"{shown.names[index]} {shown.scores[index]:.2f}"
        left, top, right, bottom = canvas.textbbox((x0 + width, y0 + width), label, font=font)
        canvas.rectangle((left - width, top - width, right + width, bottom + width), fill=colour)
        canvas.text((x0 + width, y0 + width), label, fill="black", font=font)
    return image
