"""The task source `pictures`: what is drawn, what is held out, who is right."""

import io
import json
import subprocess
import sys
from collections import Counter
from importlib.metadata import entry_points

import pytest
from PIL import Image
from pydantic import ValidationError

from collegium import DataError, PicturedText
from collegium_teacher_pictures.digits import LOOKALIKE, ROWS, dots
from collegium_teacher_pictures.drawing import draw
from collegium_teacher_pictures.scenes import ALPHABET, CELL, COLOURS, DOT, SIDE, Scene, Shape
from collegium_teacher_pictures.source import PictureTasks

WHITE = COLOURS[0]


@pytest.fixture(scope="module")
def source():
    return PictureTasks({"train": 600, "heldout": 150})


def pixels(image):
    """Lit pixels of a picture as ``(x, y) -> colour``."""
    opened = Image.open(io.BytesIO(image)).convert("RGB")
    assert opened.size == (SIDE, SIDE)
    lit = {(x, y): opened.getpixel((x, y)) for x in range(SIDE) for y in range(SIDE)}
    return {place: colour for place, colour in lit.items() if colour != (0, 0, 0)}


def cells(image):
    """Cells with a shape, to the number of lit pixels in each."""
    return Counter((x // CELL, y // CELL) for x, y in pixels(image))


def read_digit(image):
    """Read a digit by its dots."""
    lit = pixels(image)
    left, top = (min(place[axis] for place in lit) for axis in (0, 1))
    found = {((x - left) // DOT, (y - top) // DOT) for x, y in lit}
    for digit in ROWS:
        own = dots(digit)
        shift = min(x for x, _ in own)
        if found == {(x - shift, y) for x, y in own}:
            return digit
    raise AssertionError(found)


def answer_of(task):
    """Answer a task from its picture alone."""
    (image,) = task.images
    if "digit" in task.prompt:
        return read_digit(image)
    if "many" in task.prompt:
        return len(cells(image))
    corners = Counter((x // (2 * CELL), y // (2 * CELL)) for x, y in pixels(image))
    ((column, row),) = [corner for corner, lit in corners.items() if lit == (2 * CELL - 2) ** 2]
    return 1 + 2 * row + column


def test_the_entry_point_offers_the_task_source_without_loading_pillow():
    script = (
        "import sys, json; from importlib.metadata import entry_points as e;"
        "(p,) = (x for x in e(group='collegium') if x.name == 'pictures');"
        "(c,) = p.load().register_tasks(); print(json.dumps([c.name, 'PIL' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["pictures", False]
    assert any(entry.name == "pictures" for entry in entry_points(group="collegium"))


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_references_are_what_the_pictures_show(source, split):
    tasks = source.tasks(split)
    assert [int(task.reference) for task in tasks] == [answer_of(task) for task in tasks]
    assert len({task.images for task in tasks}) == len(tasks) == {"train": 600, "heldout": 150}[split]
    assert set(Counter(task.prompt for task in tasks).values()) == {len(tasks) // 3}


def test_no_held_out_arrangement_is_trained_on(source):
    def arrangements(split):
        return {(scene.kind, scene.arrangement) for _, scene in source._drawn[split]}

    assert arrangements("train").isdisjoint(arrangements("heldout"))
    held_out = {image for task in source.tasks("heldout") for image in task.images}
    shown = [*source.tasks("train"), *(each.task for each in source.demonstrations()), *source.pictured_texts()]
    assert all(held_out.isdisjoint(each.images) for each in shown)


def test_another_seed_moves_no_arrangement_across():
    one, other = PictureTasks({"train": 300, "heldout": 90}), PictureTasks({"train": 300, "heldout": 90, "seed": 1})
    trained = {scene.arrangement for _, scene in one._drawn["train"]}
    assert trained.isdisjoint(scene.arrangement for _, scene in other._drawn["heldout"])
    assert [task.images for task in one.tasks("train")] != [task.images for task in other.tasks("train")]


def test_the_same_options_give_the_same_pictures(source):
    again = PictureTasks({"train": 600, "heldout": 150})
    assert again.tasks("train") == source.tasks("train")
    assert again.demonstrations() == source.demonstrations()
    assert again.pictured_texts() == source.pictured_texts()


def test_a_third_is_right_and_the_rest_make_one_mistake(source):
    shown = source.demonstrations()
    right = [each for each in shown if each.quality == "right"]
    assert 0.3 < len(right) / len(shown) < 0.4
    assert all(each.completion == each.task.reference for each in right)
    for each in shown:
        if each.quality == "mistaken":
            gold = int(each.task.reference)
            wrong = {"count": gold + 1, "locate": (gold + 1) % 4 + 1, "read": LOOKALIKE[gold]}
            assert int(each.completion) == wrong[each.task.id.split("/")[1]]


@pytest.mark.parametrize(("share", "quality"), [(0.0, "mistaken"), (1.0, "right")])
def test_the_share_of_right_answers_is_an_option(share, quality):
    made = PictureTasks({"train": 30, "heldout": 3, "right_share": share}).demonstrations()
    assert {each.quality for each in made} == {quality}


def test_texts_are_a_right_caption_and_an_answered_question_of_each_drawing(source):
    texts, tasks = source.pictured_texts(), source.tasks("train")
    assert {type(each) for each in texts} == {PicturedText}
    captions, answered = texts[::2], texts[1::2]
    assert [each.images for each in captions] == [each.images for each in answered] == [task.images for task in tasks]
    said = {"count": "{} circles", "locate": "corner {}", "read": "digit {}"}
    for each, task in zip(captions, tasks, strict=True):
        assert each.text == "<image>" + said[task.id.split("/")[1]].format(task.reference)
    assert all(each.text.startswith(task.prompt) for each, task in zip(answered, tasks, strict=True))
    right = [each.text == task.prompt + task.reference for each, task in zip(answered, tasks, strict=True)]
    assert 0.3 < sum(right) / len(right) < 0.4


def test_the_alphabet_covers_prompts_and_answers(source):
    written = "".join(each.text for each in source.pictured_texts()).replace("<image>", "")
    assert set(written) <= set(ALPHABET)


def test_kinds_and_counts_are_options():
    tasks = PictureTasks({"kinds": ["count"], "most": 3, "train": 60, "heldout": 10}).tasks("train")
    assert {task.reference for task in tasks} == {"1", "2", "3"}
    assert {task.prompt for task in tasks} == {"<image>how many? "}
    other = PictureTasks({"kinds": ["read"], "train": 2, "heldout": 1, "placeholder": "<|image|>"})
    assert {task.prompt for task in other.tasks("train")} == {"<|image|>which digit? "}


def test_more_pictures_than_there_are_end_in_an_error(monkeypatch):
    monkeypatch.setattr("collegium_teacher_pictures.source.TRIES", 1)
    with pytest.raises(DataError, match="different heldout pictures of kind 'read', expected 40"):
        PictureTasks({"kinds": ["read"], "train": 1, "heldout": 40})._draw("heldout", 40)


@pytest.mark.parametrize("options", [{"kinds": []}, {"kinds": ["count", "count"]}, {"kinds": ["smell"]}, {"most": 1}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValidationError):
        PictureTasks(options)


def test_a_scene_is_drawn_where_it_says():
    scene = Scene("locate", (Shape("square", 17, 2, WHITE), Shape("circle", 1, 25, COLOURS[1])), 2, 4, "")
    lit = pixels(draw(scene))
    square = {place for place, colour in lit.items() if colour == WHITE}
    assert square == {(x, y) for x in range(17, 31) for y in range(2, 16)}
    circle = {place for place, colour in lit.items() if colour == COLOURS[1]}
    assert circle < {(x, y) for x in range(1, 7) for y in range(25, 31)}
    assert {(1, 25), (6, 30)}.isdisjoint(circle)
