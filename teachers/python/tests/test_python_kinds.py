"""Domains of one type of argument, and the further slices that make them large enough."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from collegium_teacher_python.source import PythonTasks

ONE_KIND = [
    {"kinds": ["int"], "largest": 12},
    {"kinds": ["str"], "more_slices": True},
    {"kinds": ["list"], "more_slices": True},
]


@pytest.mark.parametrize("options", ONE_KIND, ids=lambda options: options["kinds"][0])
def test_one_type_alone_is_a_domain_with_enough_tasks(options):
    source = PythonTasks(options)
    train, heldout = source.tasks("train"), source.tasks("heldout")
    assert {task.prompt.partition(":")[0] for task in [*train, *heldout]} == set(options["kinds"])
    assert len(train) >= 300
    assert len(heldout) >= 80
    read = {text.partition(" = ")[2] for text in source.texts()}
    assert read.isdisjoint(task.reference for task in heldout)


@pytest.mark.parametrize("options", ONE_KIND[1:], ids=lambda options: options["kinds"][0])
def test_python_passes_the_references_with_further_slices_and_fails_the_reversed(options):
    source = PythonTasks(options)
    answers = source.answers()
    script = ["def run(code):", "    try:", "        exec(code, {})", "    except Exception:", "        return 0",
              "    return 1"]  # fmt: skip
    for each in answers:
        code = "\n".join([each.task.data["prefix"] + each.completion, *each.task.data["tests"]])
        script.append(f"print(run({code!r}))")
    done = subprocess.run(
        [sys.executable, "-I", "-"], input="\n".join(script), capture_output=True, text=True, check=True
    )
    assert [line == "1" for line in done.stdout.split()] == [each.quality == "right" for each in answers]
    assert set("".join(source.texts())) <= set(source.alphabet)


def test_further_slices_are_written_as_a_person_would():
    source = PythonTasks({"kinds": ["str"], "more_slices": True})
    written = {task.prompt: task.reference for split in ("train", "heldout") for task in source.tasks(split)}
    assert written["str: last 3, reverse = "] == "x[-3:][::-1]"
    assert written["str: cut 2, every 2 = "] == "x[:-2][::2]"
    assert written["str: drop 7, triple = "] == "x[7:]*3"


def test_answers_are_both_orders_of_every_training_program():
    source = PythonTasks()
    answers = source.answers()
    assert len(answers) == 2 * len(source.tasks("train"))
    assert {each.completion for each in answers if each.quality == "right"} == {
        task.reference for task in source.tasks("train")
    }


def test_an_unknown_or_missing_type_is_refused():
    with pytest.raises(ValidationError, match="kinds"):
        PythonTasks({"kinds": ["float"]})
    with pytest.raises(ValidationError, match="kinds"):
        PythonTasks({"kinds": []})
