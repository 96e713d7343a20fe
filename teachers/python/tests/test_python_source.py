"""The python task source: splits, demonstrations, and tests that tell right from wrong when Python runs them."""

import ast
import subprocess
import sys
from collections import Counter
from importlib.metadata import entry_points

import pytest
from pydantic import ValidationError

from collegium import Completion, DataError
from collegium_teacher_python.programs import TESTS
from collegium_teacher_python.source import PythonTasks


@pytest.fixture(scope="module")
def source():
    return PythonTasks()


def passes(pairs):
    """Run ``(completion, task)`` pairs in one Python process; say of each whether all the task's tests pass."""
    script = "\n".join(
        [
            "def run(code):",
            "    try:",
            "        exec(code, {})",
            "    except Exception:",
            "        return '0'",
            "    return '1'",
            *(f"print(run({program(completion, task)!r}))" for completion, task in pairs),
        ]
    )
    done = subprocess.run([sys.executable, "-I", "-"], input=script, capture_output=True, text=True, check=True)
    return [line == "1" for line in done.stdout.split()]


def program(completion, task):
    return "\n".join([task.data["prefix"] + completion, *task.data["tests"]])


def test_the_entry_point_offers_the_task_source_without_loading_it():
    (entry,) = (e for e in entry_points(group="collegium") if e.name == "python")
    (component,) = entry.load().register_tasks()
    assert component.name == "python"
    assert component.target == "collegium_teacher_python.source:PythonTasks"


def test_no_heldout_program_is_trained_on(source):
    heldout = {task.prompt for task in source.tasks("heldout")}
    assert heldout.isdisjoint(task.prompt for task in source.tasks("train"))
    assert heldout.isdisjoint(demonstration.task.prompt for demonstration in source.demonstrations())
    assert not any(text.startswith(prompt) for text in source.texts() for prompt in heldout)
    assert 120 <= len(heldout) <= 160
    assert 500 <= len(source.tasks("train")) <= 650


@pytest.mark.parametrize("options", [{}, {"largest": 12}, {"largest": 5, "longest": 4}, {"heldout_share": 0.5}])
def test_no_heldout_right_answer_is_written_in_training_right_or_wrong(options):
    source = PythonTasks(options)
    right = {task.reference for task in source.tasks("heldout")}
    read = {text.partition(" = ")[2] for text in source.texts()}
    assert right.isdisjoint(demonstration.completion for demonstration in source.demonstrations())
    assert right.isdisjoint(read)


@pytest.mark.parametrize("options", [{}, {"largest": 12}, {"heldout_share": 0.5}])
def test_a_pair_of_steps_is_on_one_side_only_in_whatever_order_and_for_whatever_type(options):
    source = PythonTasks(options)
    heldout, train = ({steps_of(task) for task in source.tasks(split)} for split in ("heldout", "train"))
    assert heldout.isdisjoint(train)
    assert all(len(pair) == 2 for pair in heldout | train)


def steps_of(task):
    return frozenset(task.prompt.partition(": ")[2].removesuffix(" = ").split(", "))


def test_prompts_and_ids_are_unique_within_the_source(source):
    tasks = [*source.tasks("train"), *source.tasks("heldout")]
    assert len({task.prompt for task in tasks}) == len({task.id for task in tasks}) == len(tasks)


def test_python_passes_every_reference_and_fails_the_reversed_steps(source):
    tasks = [*source.tasks("train"), *source.tasks("heldout")]
    assert all(passes([(task.reference, task) for task in tasks]))
    demonstrations = source.demonstrations()
    judged = passes([(demonstration.completion, demonstration.task) for demonstration in demonstrations])
    assert judged == [demonstration.quality == "right" for demonstration in demonstrations]


def test_no_constant_and_no_bare_argument_passes_even_two_tests(source):
    for task in source.tasks("heldout"):
        calls = [ast.parse(test).body[0].test for test in task.data["tests"]]
        arguments = [ast.literal_eval(call.left.args[0]) for call in calls]
        expected = [ast.literal_eval(call.comparators[0]) for call in calls]
        assert len({repr(value) for value in expected}) == len(expected) == TESTS
        assert all(argument != value for argument, value in zip(arguments, expected, strict=True))


def test_about_a_third_of_the_demonstrations_are_right(source):
    count = Counter(demonstration.quality for demonstration in source.demonstrations())
    assert set(count) == {"right", "reversed"}
    assert 0.3 < count["right"] / count.total() < 0.4


def test_every_kind_of_argument_is_on_both_sides(source):
    for split in ("train", "heldout"):
        assert {task.prompt.partition(":")[0] for task in source.tasks(split)} == {"int", "str", "list"}


def test_programs_are_written_as_a_person_would():
    by_prompt = {task.prompt: task.reference for split in ("train", "heldout") for task in PythonTasks().tasks(split)}
    assert by_prompt["int: add 3, mul 4 = "] == "(x+3)*4"
    assert by_prompt["int: mul 4, add 3 = "] == "x*4+3"
    assert by_prompt["int: add 3, square = "] == "(x+3)**2"
    assert by_prompt["list: sort, first 3 = "] == "sorted(x)[:3]"
    assert by_prompt["list: add 3, sum = "] == "sum([v+3 for v in x])"
    assert by_prompt["list: sum, add 3 = "] == "sum(x)+3"


def test_everything_is_written_in_the_alphabet_and_short(source):
    texts = [*source.texts(), *(task.prompt + task.reference for task in source.tasks("heldout"))]
    assert set("".join(texts)) <= set(source.alphabet)
    assert max(len(demonstration.completion) for demonstration in source.demonstrations()) <= 24


def test_the_same_config_gives_the_same_tasks_and_demonstrations(source):
    again = PythonTasks(source.config)
    assert again.tasks("heldout") == source.tasks("heldout")
    assert again.demonstrations() == source.demonstrations()
    assert PythonTasks({"seed": 1}).demonstrations() != source.demonstrations()


def test_a_program_stays_on_its_side_when_there_are_more_of_them(source):
    larger = PythonTasks({"largest": 12})
    assert {task.id for task in source.tasks("heldout")} < {task.id for task in larger.tasks("heldout")}


def test_options_that_leave_a_split_empty_are_refused():
    with pytest.raises(DataError, match=r"no heldout task with largest=9.*heldout_share=1e-09"):
        PythonTasks({"heldout_share": 1e-9}).tasks("heldout")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError, match="repeat\n"):
        PythonTasks({"repeat": 2})


def test_the_code_verifier_agrees_with_the_demonstrations_quality(source):
    verifier = installed_verifier(source.verifier)
    shown = source.demonstrations()[:24]
    verdicts = verifier.verify_batch([Completion(d.completion) for d in shown], [d.task for d in shown])
    assert [verdict.value for verdict in verdicts] == [float(d.quality == "right") for d in shown]


def installed_verifier(name):
    """The verifier of that name from whatever distribution offers it; skipped where none is installed."""
    for entry in entry_points(group="collegium"):
        for component in getattr(entry.load(), "register_verifiers", list)():
            if component.name == name:
                module, _, attribute = component.target.partition(":")
                return getattr(__import__(module, fromlist=[attribute]), attribute)()
    pytest.skip(f"no installed distribution offers the verifier {name!r}")
