"""The assistant task source: splits, demonstrations, data files, and constraints that tell tones apart."""

import json
import os
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import ValidationError

from collegium import Completion, DataError
from collegium_teacher_assistant.assistant import AssistantTasks
from collegium_teacher_assistant.checks import RUDE_WORDS, keyword_of
from collegium_teacher_assistant.exchanges import FILE, Exchange, real_exchanges

SHARED = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).parents[3].parent / "shared" / "data")


@pytest.fixture
def own():
    return AssistantTasks({"data": "generated"})


@pytest.fixture
def real():
    if not (SHARED / FILE).exists() and not os.environ.get("CI"):
        pytest.skip("the real data is not here")
    return AssistantTasks({"data": str(SHARED)})


@pytest.fixture(params=["own", "real"])
def source(request):
    return request.getfixturevalue(request.param)


def test_the_entry_point_offers_task_sources_and_stage_without_loading_them():
    (entry,) = (e for e in entry_points(group="collegium") if e.name == "assistant")
    assert [each.name for each in entry.load().register_tasks()] == ["assistant", "safety"]
    (stage,) = entry.load().register_stages()
    assert stage.config == "collegium_teacher_assistant.stage_config:PreferenceDataConfig"


def test_there_are_enough_tasks_on_both_sides(source):
    assert len(source.tasks("train")) >= 300
    assert len(source.tasks("heldout")) >= 80


def test_no_heldout_prompt_is_in_any_answer_demonstration_or_text(source):
    heldout = {task.prompt for task in source.tasks("heldout")}
    shown = {each.task.prompt for each in [*source.answers(), *source.demonstrations()]}
    assert heldout.isdisjoint(shown)
    assert not any(text.startswith(prompt) for text in source.texts() for prompt in heldout)


def test_prompts_and_ids_are_unique_and_within_the_bound(source):
    tasks = [*source.tasks("train"), *source.tasks("heldout")]
    assert len({task.prompt for task in tasks}) == len({task.id for task in tasks}) == len(tasks)
    assert max(len(each.task.prompt) + len(each.completion) for each in source.answers()) <= source.config.max_chars


def test_everything_is_written_in_the_alphabet(source):
    assert set("".join(source.texts())) <= set(source.alphabet)


def test_each_prompt_has_one_polite_answer_and_the_other_twice(source):
    count = Counter(each.quality for each in source.demonstrations())
    polite = count.pop("polite")
    assert polite == len(source.tasks("train"))
    assert sum(count.values()) == 2 * polite
    assert set(count) <= {"plain", "impolite"}


def test_the_same_config_gives_the_same_demonstrations(source):
    assert AssistantTasks(source.config).demonstrations() == source.demonstrations()


def test_the_instructions_verifier_passes_most_polite_answers_and_few_impolite_ones(source):
    verifier = installed_verifier("instructions")
    scores = {}
    for each in source.answers():
        verdict = verifier.verify(Completion(each.completion), each.task)
        scores.setdefault(each.quality, []).append(verdict.value)
    assert sum(scores["polite"]) / len(scores["polite"]) > 0.85
    assert sum(scores["impolite"]) / len(scores["impolite"]) < 0.15


def test_real_tasks_keep_the_files_ids_and_say_where_they_come_from(real):
    assert str(SHARED) in real.origin
    assert [path.name for path in real.files()] == [FILE]
    by_id = {task.id: task for split in ("train", "heldout") for task in real.tasks(split)}
    assert by_id["rasbt/12"].prompt == "What is the capital of Indonesia?\n"
    assert by_id["rasbt/1"].prompt == "Edit the following sentence for grammar.\nHe go to the park every day.\n"


def test_rude_words_are_those_that_real_impolite_answers_have_and_polite_ones_do_not(real):
    exchanges = real_exchanges(SHARED)
    for word in RUDE_WORDS:
        rude = sum(has(each.rejected, word) for each in exchanges if not has(each.prompt, word))
        polite = sum(has(each.chosen, word) for each in exchanges if not has(each.prompt, word))
        assert rude >= 8, word
        assert polite <= 1, word


def has(text, word):
    return word in {part.strip(".,!?;:'\"") for part in text.lower().split()}


def test_own_instructions_say_so_and_read_no_file(own):
    assert own.origin == "the package's own facts"
    assert not own.files()


def test_a_rude_word_that_the_instruction_has_is_allowed():
    exchange = Exchange("1", "Give a synonym of 'stupid'.\n", "Dull.", "Dull.", "Dull, duh.")
    source = AssistantTasks({"data": "generated"})
    forbidden = source._task(exchange).data["kwargs"][3]["forbidden_words"]
    assert "stupid" not in forbidden
    assert "duh" in forbidden


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "keyword"),
    [
        (
            "What is the capital of Indonesia?\n",
            "The capital of Indonesia is Jakarta.",
            "Indonesia: capital J.",
            "Indonesia",
        ),
        ("Name an antonym.\n", "An antonym is 'x'.", "x.", None),
        ("Say hi.\n", "Hi.", "Hi!", None),
    ],
)
def test_the_keyword_is_the_longest_word_that_both_answers_repeat(prompt, chosen, rejected, keyword):
    assert keyword_of(Exchange("1", prompt, chosen, chosen, rejected)) == keyword


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, rf"{FILE}:1: cannot be read"),
        ("", rf"{FILE}:1: the file is empty"),
        ('{"id": "a", "instruction": "b"', rf"{FILE}:1: not JSON"),
        ('{"id": "a", "instruction": "b", "input": "", "output": "c", "chosen": "c"}\n', rf"{FILE}:1: .*no 'rejected'"),
    ],
    ids=["missing", "empty", "cut", "field-missing"],
)
def test_a_bad_data_file_is_named_with_its_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match=said):
        AssistantTasks({"data": str(tmp_path)}).tasks("train")


def test_exchanges_that_are_equal_or_too_long_are_left_out_and_none_left_is_an_error(tmp_path):
    rows = [
        {"id": "a", "instruction": "Q one?", "input": "", "output": "A.", "chosen": "A.", "rejected": "A."},
        {"id": "b", "instruction": "Q two?", "input": "", "output": "A.", "chosen": "A.", "rejected": "B" * 200},
    ]
    (tmp_path / FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="no train instruction with max_chars=120"):
        AssistantTasks({"data": str(tmp_path)}).tasks("train")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError, match="max_char\n"):
        AssistantTasks({"max_char": 5})


def installed_verifier(name):
    """The verifier of that name from whatever distribution offers it; skipped where none is installed."""
    for entry in entry_points(group="collegium"):
        for component in getattr(entry.load(), "register_verifiers", list)():
            if component.name == name:
                module, _, attribute = component.target.partition(":")
                return getattr(__import__(module, fromlist=[attribute]), attribute)()
    pytest.skip(f"no installed distribution offers the verifier {name!r}")
