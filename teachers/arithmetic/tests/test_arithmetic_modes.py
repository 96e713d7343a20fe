"""Restricted domains, modes and step words of the arithmetic task source."""

import gzip
import json
import os
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collegium import Completion, DataError
from collegium_teacher_arithmetic.equations import TRAIN_FILE
from collegium_teacher_arithmetic.expression import Expression, answer, work
from collegium_teacher_arithmetic.modes import is_easy, misplaced
from collegium_teacher_arithmetic.source import ArithmeticTasks

SHARED = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
SMALL = {"data": "generated", "train": 300, "heldout": 60}
CYRILLIC = re.compile("[а-я]+")


def source(**options):
    return ArithmeticTasks({**SMALL, **options})


def real(**options):
    if not (SHARED / TRAIN_FILE).exists() and not os.environ.get("CI"):
        pytest.skip("the real data is not here")
    return ArithmeticTasks({"data": str(SHARED), **options})


@pytest.mark.parametrize(
    ("expression", "right", "forgetful"),
    [
        (Expression(47, "*", 6), "764242 462428;282", "764242 462424;242"),
        (Expression(375, "*", 2), "521010 721415 320607;750", "521010 721414 320606;640"),
        (Expression(90, "*", 9), "090000 998181;810", "090000 998181;810"),
        (Expression(0, "*", 7), "070000;0", "070000;0"),
    ],
    ids=str,
)
def test_a_multiplication_by_one_digit_carries_the_tens_of_each_product(expression, right, forgetful):
    assert work(expression) == right
    assert work(expression, carrying=False) == forgetful


@given(left=st.integers(0, 999), right=st.integers(2, 9))
def test_carrying_always_gives_the_true_product(left, right):
    assert answer(Expression(left, "*", right)) == left * right


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply"])
def test_one_operation_alone_is_a_domain(operation):
    sign = {"add": "+", "subtract": "-", "multiply": "*"}[operation]
    shown = source(operations=[operation])
    prompts = [task.prompt for split in ("train", "heldout") for task in shown.tasks(split)]
    assert all(re.fullmatch(rf"\d+{re.escape(sign)}\d+=", prompt) for prompt in prompts)
    assert sign in shown.alphabet


@pytest.mark.parametrize(
    "options",
    [
        {"operations": ["add"], "heldout_share": 0.1},
        {"operations": ["subtract"], "heldout_share": 0.1},
        {"operations": ["multiply"], "heldout_share": 0.2},
    ],
    ids=lambda options: options["operations"][0],
)
def test_each_real_operation_has_enough_tasks_and_holds_out_by_expression(options):
    domain = real(**options)
    train, heldout = ({Expression(*split_prompt(task)).key for task in domain.tasks(each)} for each in SPLITS)
    assert len(train) >= 300
    assert len(heldout) >= 80
    read = {Expression(*split_prompt_text(text)).key for text in domain.texts()}
    assert heldout.isdisjoint(train | read)


SPLITS = ("train", "heldout")


def split_prompt(task):
    return split_prompt_text(task.prompt)


def split_prompt_text(text):
    left, sign, right = re.match(r"(\d+)([-+*])(\d+)=", text).groups()
    return int(left), sign, int(right)


def test_fewer_digits_bound_both_operands():
    pairs = [split_prompt(task) for task in source(digits=2, train=200, heldout=40).tasks("train")]
    assert max(max(left, right) for left, _, right in pairs) <= 99


def test_more_expressions_than_there_are_is_an_error():
    with pytest.raises(DataError, match=r"signs '\+' and operands up to 9"):
        source(operations=["add"], digits=1).tasks("train")


@pytest.mark.parametrize(
    ("mode", "prompt", "right", "label"),
    [
        ("plain", "57+68=", "781515 561112;125", ""),
        ("none", "57+68=", "<think>781515 561112</think>125", ""),
        ("think", "57+68=<think>", "781515 561112</think>125", "think"),
        ("high", "57+68=<think>", "15 12</think>125", "high"),
        ("max", "57+68=<think+>", "781515 561112</think>125", "max"),
    ],
)
def test_a_mode_ends_the_prompt_and_shapes_the_work(tmp_path, mode, prompt, right, label):
    domain = of_one(tmp_path, "<<57+68=125>>", modes=[mode], right_share=1)
    (task,) = domain.tasks("train")
    assert (task.prompt, task.reference, task.mode) == (prompt, "125", label)
    assert {each.completion for each in domain.demonstrations()} == {right}


def test_without_thinking_there_is_only_the_answer():
    domain = source(modes=["non-think"], right_share=1)
    for shown in domain.demonstrations()[:50]:
        left, sign, right = split_prompt(shown.task)
        assert shown.task.prompt.endswith("=</think>")
        assert shown.completion == str(left + right if sign == "+" else left - right)


@pytest.mark.parametrize(
    ("expression", "easy"),
    [
        (Expression(52, "+", 6), True),
        (Expression(52, "+", 8), False),
        (Expression(58, "-", 3), True),
        (Expression(52, "-", 3), False),
        (Expression(152, "+", 6), False),
        (Expression(12, "*", 3), False),
    ],
    ids=str,
)
def test_easy_is_what_needs_no_carry(expression, easy):
    assert is_easy(expression) == easy


def test_the_wrong_answer_at_once_takes_the_digit_for_tens():
    assert misplaced(Expression(52, "+", 6)) == 112
    assert misplaced(Expression(58, "-", 3)) == 28
    assert misplaced(Expression(28, "-", 3)) == 18


def of_one(folder, calculation, **options):
    row = json.dumps({"answer": calculation}) + "\n"
    (folder / "gsm8k_train.jsonl.gz").write_bytes(gzip.compress(row.encode()))
    (folder / "gsm8k_test.jsonl").write_text(row)
    return ArithmeticTasks({"data": str(folder), **options})


@pytest.mark.parametrize("modes", [["think", "non-think"], ["non-think", "high", "max"], ["none"]], ids="-".join)
def test_ids_and_prompts_are_unique_and_splits_apart_in_every_mode(modes):
    domain = source(modes=modes)
    tasks = [task for split in SPLITS for task in domain.tasks(split)]
    assert len({task.id for task in tasks}) == len({task.prompt for task in tasks}) == len(tasks)
    heldout = {task.prompt for task in domain.tasks("heldout")}
    assert not any(text.startswith(prompt) for text in domain.texts() for prompt in heldout)
    assert set("".join(domain.texts())) <= set(domain.alphabet)


@pytest.mark.parametrize("modes", [["think", "high"], ["plain", "none"], ["max", "max"]], ids="-".join)
def test_modes_that_prompts_cannot_tell_apart_are_refused(modes):
    with pytest.raises(ValidationError, match="do not have prompts of their own"):
        source(modes=modes)


def test_multiplying_without_thinking_is_refused():
    with pytest.raises(ValidationError, match="no multiplications"):
        source(modes=["non-think"], operations=["multiply"])


def test_texts_of_the_base_have_tags_and_none():
    texts = source(modes=["none"]).texts()
    tagged = [text for text in texts if "=<think>" in text]
    assert len(tagged) * 2 == len(texts)
    assert all(";" in text for text in texts if text not in tagged)


def test_texts_mix_two_scripts_and_demonstrations_keep_to_one():
    domain = source(modes=["none"], mixed_language=0.5)
    words = re.findall(r"[a-zа-я]{2,3}(?= \d)", "".join(domain.texts()))
    assert set(words) == {"so", "так"}
    assert 0.45 < sum(map(bool, map(CYRILLIC.search, words))) / len(words) < 0.55
    assert all("so " in each.completion for each in domain.demonstrations())
    assert not any(CYRILLIC.search(each.completion) for each in domain.demonstrations())


def test_demonstrations_mix_when_asked():
    domain = source(modes=["think"], mixed_language=0.5, mixed_demonstrations=0.3)
    words = re.findall(r"(?:so|так)(?= \d)", "".join(each.completion for each in domain.demonstrations()))
    assert 0.25 < words.count("так") / len(words) < 0.35


def test_answers_are_the_right_and_the_wrong_one_of_every_training_task():
    domain = source(modes=["think", "non-think"])
    by_task = {}
    for each in domain.answers():
        by_task.setdefault(each.task.id, {})[each.quality] = each.completion
    assert by_task.keys() == {task.id for task in domain.tasks("train")}
    assert all(len(set(shown.values())) == 2 and "right" in shown for shown in by_task.values())


@pytest.mark.parametrize("modes", [["think", "non-think"], ["non-think", "high", "max"], ["none"]], ids="-".join)
def test_the_math_verifier_reads_the_answer_after_the_thinking(modes):
    verifier = math_verifier()
    domain = source(modes=modes, mixed_language=0.5)
    for shown in domain.demonstrations()[:150]:
        verdict = verifier.verify(Completion(shown.completion), shown.task)
        assert verdict.value == float(shown.quality in ("right", "either")), shown


def math_verifier():
    for entry in entry_points(group="collegium"):
        for component in getattr(entry.load(), "register_verifiers", list)():
            if component.name == "math":
                module, _, attribute = component.target.partition(":")
                return getattr(__import__(module, fromlist=[attribute]), attribute)({"answer": "number"})
    pytest.skip("no installed distribution offers the verifier 'math'")
