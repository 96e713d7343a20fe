"""Pictures as a vision-language model reads them: its processor, the tokens that stand for them, and their features.

A picture stands in a prompt as one placeholder token, in the ids that a model reads as many as its features have. Only
the placeholders of pictures that are there get features: one that the model itself samples is a token as any other.

Shapes: ``B`` sequences, ``T`` tokens, ``I`` pictures of ``C`` channels, ``D`` width.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor, PretrainedConfig, PreTrainedModel

from collegium.errors import DataError, PolicyError

REMEMBERED = 256
"""Processed pictures that are kept: 0.35 GB at 336 pixels a side."""
READ = {"input_ids", "attention_mask", "pixel_values"}
"""What a processor may give a model."""
INSTALL = "pip install 'collegium[vision]'"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as its processor made it.

    Args:
        pixels: ``[C, H, W]``.
        tokens: How many tokens stand for it.
    """

    pixels: Tensor
    tokens: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of some rows, and where their features go.

    Args:
        pixels: ``[I, C, H, W]``.
        slots: ``[B, T]`` bool, the tokens that stand for them, in row-major order.
    """

    pixels: Tensor
    slots: Tensor


class Vision:
    """What a model's processor makes of pictures.

    Args:
        processor: A `transformers` processor of text and pictures.
        token_id: The placeholder's id.
    """

    def __init__(self, processor: Any, token_id: int) -> None:
        self.processor = processor
        self.token_id = token_id
        self.read = lru_cache(maxsize=REMEMBERED)(self._read)

    @classmethod
    def load(cls, path: str | Path, config: PretrainedConfig) -> Vision:
        """Load the processor from a model's folder or hub name.

        Raises:
            PolicyError: If it cannot be loaded, or the model's configuration names no placeholder.
        """
        check_pillow()
        try:
            processor = AutoProcessor.from_pretrained(str(path))  # type: ignore[no-untyped-call]  # transformers
        except Exception as error:
            raise PolicyError(
                f"the processor of the vision-language model {str(path)!r} cannot be loaded: "
                f"{type(error).__name__}: {error}",
                fix="its folder needs the files that AutoProcessor reads, such as processor_config.json",
            ) from error
        return cls(processor, placeholder_id(config))

    @property
    def placeholder(self) -> str:
        """The text that a picture stands in a prompt as."""
        return str(self.processor.tokenizer.convert_ids_to_tokens(self.token_id))

    def _read(self, image: bytes) -> Picture:
        """Process a picture; `read` remembers the latest ones."""
        given = self.processor(text=self.placeholder, images=[decoded(image)], return_tensors="pt")
        if unknown := sorted(set(given) - READ):
            raise PolicyError(
                f"{type(self.processor).__name__} gives the model {', '.join(unknown)} beside the pixels, which the "
                "core does not pass on",
                fix="use a model that reads pixel_values alone, such as LLaVA 1.5",
            )
        tokens = int((given["input_ids"] == self.token_id).sum())
        return Picture(given["pixel_values"][0], tokens)

    def expanded(self, ids: Sequence[int], images: Sequence[bytes], name: str) -> tuple[list[int], list[int]]:
        """Replace each placeholder by as many as its picture has tokens.

        Args:
            ids: Of a text with one placeholder per picture.
            images: The pictures, in order.
            name: What errors call the text.

        Returns:
            The ids, and the positions of the pictures' tokens among them.

        Raises:
            DataError: If there are more or fewer placeholders than pictures.
        """
        found = sum(each == self.token_id for each in ids)
        if found != len(images):
            raise DataError(
                f"{name!r} has {len(images)} pictures and {found} placeholders {self.placeholder!r}, expected one each",
                fix=f"write {self.placeholder!r} into the prompt where each picture stands",
            )
        made: list[int] = []
        slots: list[int] = []
        waiting = iter(images)
        for each in ids:
            count = self.read(next(waiting)).tokens if each == self.token_id else 1
            if each == self.token_id:
                slots += range(len(made), len(made) + count)
            made += [each] * count
        return made, slots

    def leading(self, tokens: Tensor, images: Sequence[Sequence[bytes]]) -> Pictures | None:
        """Return the pictures of rows, which their first placeholders stand for; None where there is none.

        Args:
            tokens: ``[B, T]`` int64, expanded.
            images: Each row's pictures.
        """
        if not any(images):
            return None
        counts = torch.tensor([sum(self.read(image).tokens for image in row) for row in images], device=tokens.device)
        marks = tokens == self.token_id
        slots = marks & (marks.cumsum(dim=1) <= counts[:, None])
        return self.at(slots, [image for row in images for image in row])

    def at(self, slots: Tensor, images: Sequence[bytes]) -> Pictures | None:
        """Return pictures whose tokens are known, ``[B, T]`` bool; None where there is none."""
        if not images:
            return None
        return Pictures(torch.stack([self.read(image).pixels for image in images]).to(slots.device), slots)

    @cached_property
    def blank(self) -> Picture:
        """A grey picture."""
        from PIL import Image

        file = io.BytesIO()
        Image.new("RGB", (64, 64), (128, 128, 128)).save(file, "PNG")
        return self._read(file.getvalue())


def model_inputs(model: PreTrainedModel, tokens: Tensor, pictures: Pictures | None) -> Mapping[str, Tensor]:
    """Return what the model reads in place of its tokens: the ids, or embeddings with the pictures' features in them.

    Raises:
        PolicyError: If there are more or fewer features than tokens for them.
    """
    if pictures is None:
        return {"input_ids": tokens}
    embedded: Tensor = model.get_input_embeddings()(tokens)
    features = features_of(model, pictures.pixels).to(embedded.dtype)
    if len(features) != int(pictures.slots.sum()):
        raise PolicyError(
            f"{type(model).__name__} makes {len(features)} features of {len(pictures.pixels)} pictures, and "
            f"{int(pictures.slots.sum())} tokens stand for them",
            fix="score with a model whose processor cuts pictures into as many tokens as the one that sampled",
        )
    return {"inputs_embeds": embedded.masked_scatter(pictures.slots[..., None], features)}


def features_of(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    """Return the features of pictures ``[I, C, H, W]`` in the language model's width, all in a row ``[*, D]``."""
    body: Any = model.base_model
    found = body.get_image_features(pixel_values=pixels.to(model.dtype), return_dict=True).pooler_output
    return torch.cat([each.flatten(0, -2) for each in found])


def freeze_unread(model: PreTrainedModel, vision: Vision) -> None:
    """Freeze what a picture's features do not depend on, such as a tower's last norm: it would never get a gradient."""
    weights = [weight for _, weight in model.base_model.named_parameters() if weight.requires_grad]
    with torch.enable_grad():
        total = features_of(model, vision.blank.pixels[None].to(model.device)).sum()
    reached = torch.autograd.grad(total, weights, allow_unused=True)
    decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]  # transformers
    text = {id(weight) for weight in decoder.parameters()}
    gradients: Sequence[Tensor | None] = reached
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is None and id(weight) not in text:
            weight.requires_grad = False


def placeholder_id(config: PretrainedConfig) -> int:
    """Return the id that stands for a picture.

    Raises:
        PolicyError: If the configuration does not say.
    """
    for name in ("image_token_id", "image_token_index"):
        if (found := getattr(config, name, None)) is not None:
            return int(found)
    raise PolicyError(
        f"{type(config).__name__} names no image_token_id: where pictures stand in a prompt is unknown",
        fix="use an architecture whose pictures stand in the text, such as llava",
    )


def check_pillow() -> None:
    """Check that pictures can be read at all.

    Raises:
        PolicyError: If Pillow is not installed.
    """
    if find_spec("PIL") is None:
        raise PolicyError("a vision-language model reads its pictures with Pillow, which is not installed", fix=INSTALL)


def decoded(image: bytes) -> Any:
    """Decode a PNG file in memory.

    Raises:
        DataError: If it is none.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(image), formats=["PNG"]).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"a task's picture of {len(image)} bytes cannot be read as PNG: {error}", fix="give whole PNG files"
        ) from error


def refuse_pictures(images: Iterable[Sequence[bytes]], reader: str) -> None:
    """Refuse pictures in the name of something that reads text alone.

    Raises:
        PolicyError: If there is one.
    """
    count = sum(map(bool, images))
    if count:
        raise PolicyError(
            f"{reader} reads text alone, and {count} of the prompts have pictures",
            fix="start from a vision-language model (such as model: {architecture: llava} in pretrain), or leave the "
            "domains with pictures out",
        )
