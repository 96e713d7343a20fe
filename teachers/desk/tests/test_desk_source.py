"""The desk: its tools say what the demonstrations say, splits are apart, and a third of the demonstrations is right."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import entry_points

import pytest
from pydantic import ValidationError

from collegium_teacher_desk.source import DeskTasks

TOOLS = ("calculator", "database", "python")


@pytest.fixture(params=TOOLS)
def source(request):
    return DeskTasks({"tool": request.param, "train": 400, "heldout": 60})


def test_the_entry_point_offers_the_task_source_without_loading_it():
    (entry,) = (each for each in entry_points(group="collegium") if each.name == "desk")
    (component,) = entry.load().register_tasks()
    assert component.target == "collegium_teacher_desk.source:DeskTasks"


def test_the_tool_has_to_be_named_and_is_the_environment_of_the_domain():
    with pytest.raises(ValidationError, match="tool"):
        DeskTasks()
    assert [DeskTasks({"tool": tool}).environment for tool in TOOLS] == list(TOOLS)
    assert DeskTasks.verifier == "math"


def test_splits_share_no_question_and_have_as_many_as_asked_for(source):
    train, heldout = source.tasks("train"), source.tasks("heldout")
    assert (len(train), len(heldout)) == (400, 60)
    assert {task.prompt for task in train}.isdisjoint(task.prompt for task in heldout)
    assert len({task.id for task in [*train, *heldout]}) == 460
    shown = {each.task.prompt for each in source.demonstrations()}
    assert shown == {task.prompt for task in train}
    assert not any(text.startswith(task.prompt) for text in source.texts() for task in heldout[:20])


def test_another_seed_never_moves_a_question_across():
    one, other = (DeskTasks({"tool": "calculator", "seed": seed}) for seed in (0, 1))
    assert one.tasks("train") != other.tasks("train")
    assert {task.prompt for task in one.tasks("train")}.isdisjoint(task.prompt for task in other.tasks("heldout"))


def test_right_demonstrations_answer_the_question_and_the_others_never_do(source):
    for each in source.demonstrations():
        answer = each.completion[-1].text.removeprefix("=")
        assert (int(answer) == int(each.task.reference)) == (each.quality == "right"), each
        asked = [turn.text for turn in each.completion[:-1] if turn.sampled]
        assert bool(asked) == (each.quality not in ("guess", "stop-early")) or each.quality == "stop-early"
        if each.quality == "guess":
            assert len(each.completion) == 1


def test_about_a_third_of_the_demonstrations_is_right(source):
    count = Counter(each.quality for each in source.demonstrations())
    assert set(count) == {"right", "guess", "stop-early", "miscopy"}
    assert 0.28 < count["right"] / sum(count.values()) < 0.42


def test_calculators_answers_are_pythons():
    for task in DeskTasks({"tool": "calculator"}).tasks("heldout"):
        assert eval(task.prompt.strip(" ?")) == int(task.reference)  # our own text


def test_an_errand_is_short_and_in_the_alphabet(source):
    whole = [each.task.prompt + each.text for each in source.demonstrations()]
    assert max(map(len, whole)) < 60
    assert set("".join([*whole, *source.texts()])) <= set(source.alphabet)
    assert all(letter == "\n" or 32 <= ord(letter) < 127 for letter in source.alphabet)


def test_the_same_options_give_the_same_errands(source):
    again = DeskTasks(source.config)
    assert again.tasks("train") == source.tasks("train")
    assert again.demonstrations() == source.demonstrations()


@pytest.mark.parametrize("tool", TOOLS)
def test_the_installed_tool_replies_what_the_demonstrations_say(tool):
    registry = pytest.importorskip("collegium.plugins.registry").Registry.discover()
    source = DeskTasks({"tool": tool, "train": 25})
    environment = registry.build("environment", tool)
    try:
        for each in source.demonstrations():
            episode = environment.open(each.task)
            turns = [*each.completion]
            for turn, said in zip(turns, [*turns[1:], None], strict=True):
                if turn.sampled:
                    reply = episode.reply(turn.text)
                    assert (reply if reply is None else f"{reply}{environment.config.suffix}") == (said and said.text)
    finally:
        environment.close()
