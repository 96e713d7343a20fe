"""The arithmetic task source: splits, demonstrations, data files."""

import gzip
import json
import os
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import ValidationError

from collegium import Completion, DataError
from collegium_teacher_arithmetic.equations import HELDOUT_FILE, TRAIN_FILE
from collegium_teacher_arithmetic.source import ArithmeticTasks

SHARED = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).parents[3].parent / "shared" / "data")


@pytest.fixture
def generated():
    return ArithmeticTasks({"data": "generated", "train": 600, "heldout": 100})


@pytest.fixture
def gsm8k():
    if not (SHARED / TRAIN_FILE).exists() and not os.environ.get("CI"):
        pytest.skip("the real data is not here")
    return ArithmeticTasks({"data": str(SHARED)})


@pytest.fixture(params=["generated", "gsm8k"])
def source(request):
    return request.getfixturevalue(request.param)


def keys(tasks):
    """Keys of the tasks' expressions, worked out from the prompts, equal for commuted additions."""
    return {(tuple(sorted(p[:-1].split("+"))) if "+" in p else p) for p in (task.prompt for task in tasks)}


def calculate(task):
    """The answer by Python's own arithmetic."""
    expression = task.prompt.removesuffix("=")
    left, sign, right = expression.partition("+" if "+" in expression else "-")
    return int(left) + int(right) if sign == "+" else int(left) - int(right)


def test_the_entry_point_offers_the_task_source_without_loading_it():
    (entry,) = (e for e in entry_points(group="collegium") if e.name == "arithmetic")
    (component,) = entry.load().register_tasks()
    assert component.name == "arithmetic"
    assert component.target == "collegium_teacher_arithmetic.source:ArithmeticTasks"


def test_no_heldout_expression_is_trained_on_not_even_commuted(source):
    trained = [*source.tasks("train"), *(demonstration.task for demonstration in source.demonstrations())]
    assert keys(source.tasks("heldout")).isdisjoint(keys(trained))
    texts = {text.partition("=")[0] + "=" for text in source.texts()}
    assert texts.isdisjoint(task.prompt for task in source.tasks("heldout"))


def test_prompts_and_ids_are_unique_within_the_source(source):
    tasks = [*source.tasks("train"), *source.tasks("heldout")]
    assert len({task.prompt for task in tasks}) == len({task.id for task in tasks}) == len(tasks)


def test_references_are_right_and_right_demonstrations_end_in_them(source):
    assert all(int(task.reference) == calculate(task) for task in source.tasks("heldout"))
    for demonstration in source.demonstrations():
        is_right = int(demonstration.completion.rpartition(";")[2]) == calculate(demonstration.task)
        assert is_right == (demonstration.quality != "no-carry"), demonstration


def test_about_a_third_of_the_demonstrations_that_tell_are_right(source):
    count = Counter(demonstration.quality for demonstration in source.demonstrations())
    assert set(count) == {"right", "no-carry", "either"}
    assert 0.28 < count["right"] / (count["right"] + count["no-carry"]) < 0.42


def test_rl_tasks_are_those_that_forgetting_to_carry_gets_wrong(source):
    of_demonstrations = {d.task.prompt for d in source.demonstrations() if d.quality != "either"}
    assert {task.prompt for task in source.tasks("train")} == of_demonstrations


def test_everything_is_written_in_the_alphabet(source):
    texts = [*source.texts(), *(d.task.prompt + d.completion for d in source.demonstrations())]
    assert set("".join([*texts, *(task.prompt for task in source.tasks("heldout"))])) <= set(source.alphabet)


def test_the_same_config_gives_the_same_tasks_and_demonstrations(source):
    again = ArithmeticTasks(source.config)
    assert again.tasks("train") == source.tasks("train")
    assert again.tasks("heldout") == source.tasks("heldout")
    assert again.demonstrations() == source.demonstrations()


def test_the_seed_changes_the_generated_expressions_but_never_their_side():
    one, other = (ArithmeticTasks({"data": "generated", "train": 600, "heldout": 100, "seed": seed}) for seed in (0, 1))
    assert one.tasks("train") != other.tasks("train")
    assert keys(one.tasks("train")).isdisjoint(keys(other.tasks("heldout")))


def test_real_tasks_come_from_gsm8k_and_say_so(gsm8k):
    assert str(SHARED) in gsm8k.origin
    assert [path.name for path in gsm8k.files()] == [TRAIN_FILE, HELDOUT_FILE]
    assert len(gsm8k.tasks("train")) > 1000
    assert len(gsm8k.tasks("heldout")) >= 80
    assert "48+24=" in {task.prompt for task in gsm8k.tasks("train")}  # the file's first worked answer: 48+24=72


def test_generated_tasks_say_so_and_read_no_file(generated):
    assert generated.origin == "generated"
    assert not generated.files()


def test_auto_takes_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    write_rows(tmp_path, TRAIN_FILE, ["<<57+68=125>>"])
    write_rows(tmp_path, HELDOUT_FILE, ["<<68+57=125>> <<29+4=33>>"])
    monkeypatch.setenv("COLLEGIUM_DATA", str(tmp_path))
    source = ArithmeticTasks()
    assert [task.prompt for task in source.tasks("train")] == ["57+68="]
    assert [task.prompt for task in source.tasks("heldout")] == ["29+4="]


def test_auto_finds_a_shared_folder_beside_a_parent_and_else_generates(tmp_path, monkeypatch):
    monkeypatch.delenv("COLLEGIUM_DATA", raising=False)
    inside = tmp_path / "project" / "deeper"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert ArithmeticTasks().folder is None
    folder = tmp_path / "shared" / "data"
    folder.mkdir(parents=True)
    write_rows(folder, TRAIN_FILE, ["<<57+68=125>>"])
    assert ArithmeticTasks().folder is None  # half of the files is not the data
    write_rows(folder, HELDOUT_FILE, ["<<29+4=33>>"])
    assert ArithmeticTasks().folder == folder


def test_equations_that_are_wrong_too_large_or_negative_are_left_out(tmp_path):
    write_rows(tmp_path, TRAIN_FILE, ["<<57+68=126>> <<1000+68=1068>> <<5-18=-13>> <<3*18=54>> <<95-17=78>>"])
    write_rows(tmp_path, HELDOUT_FILE, ["<<29+4=33>>"])
    assert [task.prompt for task in ArithmeticTasks({"data": str(tmp_path)}).tasks("train")] == ["95-17="]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, rf"{TRAIN_FILE}:1: cannot be read: .*No such file"),
        (b"", rf"{TRAIN_FILE}:1: the file is empty"),
        (gzip.compress(b'{"answer": "<<1+1=2>>"}\n' * 50)[:-9], rf"{TRAIN_FILE}:\d+: cannot be read"),
        (gzip.compress(b'{"answer": "<<1+1=2>>"}\n{"answer": "<<1+'), rf"{TRAIN_FILE}:2: not JSON"),
        (gzip.compress(b'{"question": "?"}\n'), rf"{TRAIN_FILE}:1: expected a text field 'answer'"),
        (gzip.compress(b'{"answer": "none"}\n'), rf"{TRAIN_FILE}:1: read to the end, but no <<a\+b=c>>"),
    ],
    ids=["missing", "empty", "truncated", "cut-line", "wrong-field", "no-equation"],
)
def test_a_bad_data_file_is_named_with_its_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / TRAIN_FILE).write_bytes(content)
    with pytest.raises(DataError, match=said) as raised:
        ArithmeticTasks({"data": str(tmp_path)}).tasks("train")
    assert raised.value.owner == "collegium-teacher-arithmetic"


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError, match="rigth_share"):
        ArithmeticTasks({"rigth_share": 0.5})


def test_the_math_verifier_agrees_with_the_demonstrations_quality(generated):
    verifier = installed_verifier(generated.verifier)
    for demonstration in generated.demonstrations()[:150]:
        verdict = verifier.verify(Completion(demonstration.completion), demonstration.task)
        assert verdict.value == float(demonstration.quality != "no-carry"), demonstration


def write_rows(folder, name, answers):
    lines = "".join(json.dumps({"answer": answer}) + "\n" for answer in answers).encode()
    (folder / name).write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)


def installed_verifier(name):
    """The verifier of that name from whatever distribution offers it; skipped where none is installed."""
    for entry in entry_points(group="collegium"):
        for component in getattr(entry.load(), "register_verifiers", list)():
            if component.name == name:
                module, _, attribute = component.target.partition(":")
                return getattr(__import__(module, fromlist=[attribute]), attribute)()
    pytest.skip(f"no installed distribution offers the verifier {name!r}")
