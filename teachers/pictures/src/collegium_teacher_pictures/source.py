"""The task source: drawings to count, locate and read; demonstrations and captions of which a third are right."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cached_property

from collegium import DataError, Demonstration, PicturedText, Split, Task, TaskSource
from collegium_teacher_pictures.config import Kind, PicturesConfig
from collegium_teacher_pictures.drawing import draw
from collegium_teacher_pictures.scenes import ALPHABET, CAPTIONS, QUESTIONS, Scene, scene_of

HELD_OUT = 5
"""One arrangement of so many is held out."""
TRIES = 200
"""Scenes drawn for each picture that is wanted, before it is given up."""


class PictureTasks(TaskSource):
    """Questions about a drawing, such as ``<image>how many? ``, answered by one number.

    Drawings are held out by their arrangement: which shapes stand in which cells. Of the demonstrations `right_share`
    are right (quality ``"right"``); the rest make their kind's one mistake (``"mistaken"``).
    """

    Config = PicturesConfig
    verifier = "math"
    alphabet = ALPHABET

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return a split's drawings, the kinds in turn."""
        return [task for task, _ in self._drawn[split]]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return an answer to every training drawing."""
        rng = random.Random(f"demonstrations {self.config.seed}")
        return [self._demonstrate(task, scene, rng) for task, scene in self._drawn["train"]]

    def pictured_texts(self) -> Sequence[PicturedText]:
        """Return every training drawing twice, as raw text: with a right caption, and with its question and an answer.

        Of the answers `right_share` are right, other ones than the demonstrations': a model that learns all of it sees
        what is drawn, and does not always say so.
        """
        rng = random.Random(f"captions {self.config.seed}")
        texts: list[PicturedText] = []
        for task, scene in self._drawn["train"]:
            caption = self.config.placeholder + CAPTIONS[scene.kind].format(scene.answer)
            answered = task.prompt_text + self._demonstrate(task, scene, rng).text
            texts += [PicturedText(text, task.images) for text in (caption, answered)]
        return texts

    def _demonstrate(self, task: Task, scene: Scene, rng: random.Random) -> Demonstration:
        if rng.random() < self.config.right_share:
            return Demonstration(task, str(scene.answer), "right")
        return Demonstration(task, str(scene.mistake), "mistaken")

    @cached_property
    def _drawn(self) -> dict[Split, list[tuple[Task, Scene]]]:
        """Both splits' tasks with their scenes."""
        sizes: dict[Split, int] = {"train": self.config.train, "heldout": self.config.heldout}
        return {split: self._draw(split, size) for split, size in sizes.items()}

    def _draw(self, split: Split, size: int) -> list[tuple[Task, Scene]]:
        kinds = self.config.kinds
        shares = [size // len(kinds) + (index < size % len(kinds)) for index in range(len(kinds))]
        by_kind = [list(self._of_kind(kind, split, share)) for kind, share in zip(kinds, shares, strict=True)]
        return [by_kind[index % len(kinds)][index // len(kinds)] for index in range(size)]

    def _of_kind(self, kind: Kind, split: Split, share: int) -> Iterator[tuple[Task, Scene]]:
        """Yield tasks of a kind, no two with the same picture, from the arrangements of their split."""
        rng = random.Random(f"pictures {self.config.seed} {split} {kind}")
        seen: set[bytes] = set()
        for _ in range(TRIES * share):
            scene = scene_of(kind, rng, self.config.most)
            if is_held_out(scene) == (split == "heldout") and (image := draw(scene)) not in seen:
                seen.add(image)
                yield self._task(scene, image, f"{split}/{kind}/{len(seen)}"), scene
            if len(seen) == share:
                return
        raise DataError(
            f"found only {len(seen)} different {split} pictures of kind {kind!r}, expected {share}",
            fix=f"ask for fewer: lower {split}",
            owner="collegium-teacher-pictures",
        )

    def _task(self, scene: Scene, image: bytes, name: str) -> Task:
        prompt = self.config.placeholder + QUESTIONS[scene.kind]
        return Task(name, prompt, str(scene.answer), images=(image,))


def is_held_out(scene: Scene) -> bool:
    """Tell on which side an arrangement is; no seed moves it across."""
    digest = hashlib.sha256(f"{scene.kind} {scene.arrangement}".encode()).digest()
    return int.from_bytes(digest[:8]) % HELD_OUT == 0
