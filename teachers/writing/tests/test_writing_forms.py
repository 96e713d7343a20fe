"""Domains of one form, or of some."""

import pytest
from pydantic import ValidationError

from collegium_teacher_writing.forms import COMBINATIONS, NAMES, combination
from collegium_teacher_writing.source import WritingTasks


@pytest.mark.parametrize("name", NAMES)
def test_one_form_alone_is_a_domain_with_enough_tasks(name):
    source = WritingTasks({"data": "generated", "forms": [name], "train": 800, "heldout": 100})
    tasks = [*source.tasks("train"), *source.tasks("heldout")]
    assert len(tasks) == 900
    assert {task.prompt.partition(", ")[2] for task in tasks} == {f"{name.replace('+', ', ')}: "}


def test_names_are_those_of_the_combinations_in_order():
    assert tuple(combination(name) for name in NAMES) == COMBINATIONS


def test_several_forms_all_occur():
    source = WritingTasks({"data": "generated", "forms": ["capitals", "quoted"]})
    assert {task.prompt.partition(", ")[2] for task in source.tasks("train")} == {"capitals: ", "quoted: "}


def test_answers_are_the_right_and_the_forgetful_one_of_every_training_task():
    source = WritingTasks({"data": "generated", "train": 50, "heldout": 10})
    shown = {(each.task.id, each.quality): each.completion for each in source.answers()}
    assert len(shown) == 100
    assert all(shown[task.id, "right"] == task.reference for task in source.tasks("train"))
    assert all(shown[task.id, "form-forgotten"] != task.reference for task in source.tasks("train"))


def test_an_unknown_form_is_refused():
    with pytest.raises(ValidationError, match="forms"):
        WritingTasks({"forms": ["italics"]})
