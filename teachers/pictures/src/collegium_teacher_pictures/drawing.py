"""Scenes as PNG files, drawn with Pillow; the same scene gives the same pixels."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from collegium_teacher_pictures.digits import dots
from collegium_teacher_pictures.scenes import CELL, DOT, SIDE, Scene, Shape

SIZES = {"circle": CELL - 2, "square": 2 * CELL - 2}
"""Pixels of a shape's side."""


def draw(scene: Scene) -> bytes:
    """Return a scene as a PNG file."""
    image = Image.new("RGB", (SIDE, SIDE))
    canvas = ImageDraw.Draw(image)
    for shape in scene.shapes:
        _put(canvas, shape)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _put(canvas: ImageDraw.ImageDraw, shape: Shape) -> None:
    if shape.form in SIZES:
        end = SIZES[shape.form] - 1
        box = (shape.x, shape.y, shape.x + end, shape.y + end)
        (canvas.ellipse if shape.form == "circle" else canvas.rectangle)(box, fill=shape.colour)
    else:
        for column, row in dots(shape.value):
            left, top = shape.x + column * DOT, shape.y + row * DOT
            canvas.rectangle((left, top, left + DOT - 1, top + DOT - 1), fill=shape.colour)
