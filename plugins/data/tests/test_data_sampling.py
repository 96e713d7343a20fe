"""The stages that sample: difficulty, delta pairs and dialogues, by hand and with a trained toy model."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collegium import DataError
from collegium.component import Use
from collegium.job import InputArtifact, StageEvent, StageJob
from collegium.kinds.tasks import TaskSource
from collegium.plugins.registry import Registry
from collegium.task import Completion, Task
from collegium.testing.stages import (
    TOY_MODEL,
    journal_of,
    run_and_kill,
    run_toy,
    toy_domain,
    toy_job,
    toy_model,
)
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.supervised_data import read_examples
from collegium_data.delta import pair_up
from collegium_data.dialogues import Dialogue, make_dialogues
from collegium_data.difficulty import figures, pass_row, reason
from collegium_data.sampling_configs import DifficultyFilterConfig, GhostAttentionConfig, Instruction

TEMPLATE = (
    "{% for m in messages %}{{ '#' if m['role'] == 'user' else '~' }}{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}~{% endif %}"
)
"""User turns begin with ``#``, answers with ``~`` and end with end of sequence."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that knows nothing, and one that copies about as often as not."""
    folder = tmp_path_factory.mktemp("models")
    toy_model().save(folder / "weak")
    options = {"steps": 150, "lr": 5e-3, "batch": 32, "row_tokens": 48}
    job = toy_job("collegium-sft/sft", options, folder / "sft", domains=[toy_domain("copy", right=0.5)],
                  inputs={"init_from": folder / "weak"})  # fmt: skip
    assert run_toy(job).status == "completed"
    return {"weak": folder / "weak", "strong": folder / "sft" / "output" / "model"}


def job_of(stage: str, directory: Path, models: list[tuple[str, Path]], **options: Any) -> StageJob:
    base = {"batch": 16, "sampling": {"max_tokens": 6}}
    job = toy_job(f"collegium-data/{stage}", {**base, **options}, directory, domains=[toy_domain("copy")])
    inputs = [InputArtifact(source=name, path=str(path)) for name, path in models]
    return job.model_copy(update={"inputs": {"generate_from": inputs}})


def rows_of(job: StageJob, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(job.directory) / "output" / "data" / name).read_text().splitlines()]


def completed(job: StageJob) -> StageJob:
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return job


def test_the_plugin_is_found_and_planned_without_torch():
    registry = Registry.discover()
    for stage in ("curate", "difficulty-filter", "preference-pairs", "ghost-attention"):
        assert registry.find("stage", stage).config_class().produces == "data"
    code = "import sys, collegium_data.plugin, collegium_data.curate_config, collegium_data.sampling_configs; "
    assert (
        subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=False).returncode == 0
    )


# Difficulty


def test_a_pass_rate_counts_what_was_scored():
    task = Task("t", "p", domain="d")
    assert pass_row(task, [1.0, 0.0, math.nan, 0.5], 1.0) == {
        "domain": "d", "task": "t", "pass_rate": pytest.approx(1 / 3), "rollouts": 3,
    }  # fmt: skip
    assert pass_row(task, [1.0, 0.0, math.nan, 0.5], 0.5)["pass_rate"] == pytest.approx(2 / 3)
    assert pass_row(task, [math.nan], 1.0)["pass_rate"] is None


def test_five_of_eight_stay_and_six_go():
    config = DifficultyFilterConfig(min_pass_rate=0.05)
    rows = [{"domain": "d", "pass_rate": rate} for rate in (0.0, 1 / 8, 5 / 8, 6 / 8, None)]
    assert [reason(row, config) for row in rows] == ["too hard", None, None, "too easy", "unscored"]
    assert reason(rows[0], DifficultyFilterConfig()) is None
    assert figures(rows, config) == {
        "prompts": 5.0,
        "prompts/kept": 2.0,
        "prompts/too easy": 1.0,
        "prompts/too hard": 1.0,
        "prompts/unscored": 1.0,
        "pass_rate/d": pytest.approx((1 + 5 + 6) / 8 / 4),
        "prompts/kept/d": 2.0,
    }
    with pytest.raises(ValueError, match="no prompt could stay"):
        DifficultyFilterConfig(min_pass_rate=0.9)


def test_prompts_of_middling_difficulty_are_kept_with_their_rate(tmp_path, models):
    job = completed(
        job_of("difficulty-filter", tmp_path / "s", [("sft", models["strong"])], prompts=48, min_pass_rate=0.2)
    )
    kept, dropped = rows_of(job, "prompts.jsonl"), rows_of(job, "filtered.jsonl")
    assert len(kept) + len(dropped) == 48
    assert all(0.2 <= row["pass_rate"] <= 0.625 and row["rollouts"] == 8 for row in kept)
    assert {row["reason"] for row in dropped} == {"too easy", "too hard"}
    metrics = journal_of(job)[-1]
    assert metrics["prompts/kept"] == len(kept) > 0
    assert 0.2 < metrics["pass_rate/copy"] < 0.8


def test_a_killed_filter_ends_with_the_prompts_of_one_that_was_not(tmp_path, models):
    model = [("sft", models["strong"])]
    whole = completed(job_of("difficulty-filter", tmp_path / "whole" / "s", model, prompts=48, batch=8))
    killed = job_of("difficulty-filter", tmp_path / "killed" / "s", model, prompts=48, batch=8)
    killed = killed.model_copy(update={"checkpoint_every": 2})
    assert run_and_kill(killed, step=5) == -9
    events: list[StageEvent] = []
    outcome = run_toy(killed, events=events)
    assert [event.step for event in events if event.kind == "step"] == [5, 6]
    assert outcome.rollouts == 48 * 8
    assert rows_of(whole, "prompts.jsonl") == rows_of(killed, "prompts.jsonl")
    assert journal_of(whole) == journal_of(killed)


def test_a_domain_of_which_nothing_stays_is_an_error(tmp_path, models):
    outcome = run_toy(
        job_of("difficulty-filter", tmp_path / "s", [("raw", models["weak"])], prompts=8, min_pass_rate=0.5)
    )
    assert outcome.kind == "DataError"
    assert "of domain copy no prompt has a pass rate from 0.5 to 0.625" in outcome.problem


# Delta learning


def sampled(completion: str, source: str, *, cut: bool = False) -> dict[str, Any]:
    return {"domain": "d", "task": "t", "prompt": "p", "completion": completion, "cut": cut, "source": source}


def test_the_strong_models_completion_is_chosen_whatever_it_is_worth():
    rows = [
        *(sampled("s1", "strong"), sampled("same", "strong"), sampled("long", "strong", cut=True)),
        *(sampled("w1", "weak"), sampled("same", "weak"), sampled("w3", "weak")),
    ]
    pairs, metrics = pair_up(rows, keep_cut=False)
    first = {"prompt": "p", "chosen": "s1", "rejected": "w1", "source": ["strong", "weak"], "domain": "d", "task": "t"}
    assert pairs == [first]
    assert metrics == {
        "pairs": 1.0, "pairs/offered": 3.0, "dropped/cut": 1.0, "dropped/equal": 1.0,
        "characters/chosen": 2.0, "characters/rejected": 2.0,
    }  # fmt: skip
    assert [pair["chosen"] for pair in pair_up(rows, keep_cut=True)[0]] == ["s1", "long"]


def test_pairs_of_two_models_say_who_wrote_what_and_train(tmp_path, models):
    both = [("sft", models["strong"]), ("raw", models["weak"])]
    job = completed(job_of("preference-pairs", tmp_path / "p", both, prompts=32, samples=2, keep_cut=True))
    pairs, rows = rows_of(job, "pairs.jsonl"), rows_of(job, "data.jsonl")
    assert all(pair["source"] == ["sft", "raw"] for pair in pairs)
    right = sum(pair["chosen"] in (pair["prompt"][1:-1], pair["prompt"][-2:0:-1]) for pair in pairs)
    assert right > 0.6 * len(pairs)  # the strong model copies or reverses; the weak one hardly ever ends
    assert [row["completion"] for row in rows] == [pair["chosen"] for pair in pairs]
    data = Path(job.directory) / "output" / "data"
    dpo = toy_job("collegium-dpo/dpo", {"steps": 10, "lr": 1e-3, "heldout": 8}, tmp_path / "d", domains=[],
                  inputs={"init_from": models["weak"], "data_from": data})  # fmt: skip
    outcome = run_toy(dpo)
    assert outcome.status == "completed", outcome.problem
    assert outcome.metrics["heldout/margin"] > 0


@pytest.mark.parametrize("stage", ["difficulty-filter", "preference-pairs"])
def test_the_number_of_models_is_checked(tmp_path, models, stage):
    given = [("sft", models["strong"])] * (2 if stage == "difficulty-filter" else 1)
    outcome = run_toy(job_of(stage, tmp_path / "s", given))
    assert outcome.kind == "ConfigError"
    assert "generate_from takes" in outcome.problem


# Ghost Attention


def dialogue() -> Dialogue:
    tasks = (Task("1", "a=", domain="d"), Task("2", ({"role": "user", "content": "b="},), domain="d"))
    return Dialogue(tasks, Instruction(text="c"), "=", [Completion("d"), Completion("f")])


def test_the_instruction_is_before_every_turn_when_sampling_and_before_the_first_in_the_row():
    user, assistant = "user", "assistant"
    assert dialogue().prompt(0) == ({"role": user, "content": "c=a="},)
    assert dialogue().prompt(1) == (
        {"role": user, "content": "c=a="},
        {"role": assistant, "content": "d"},
        {"role": user, "content": "c=b="},
    )
    assert dialogue().row() == {
        "prompt": [
            {"role": user, "content": "c=a="},
            {"role": assistant, "content": "d"},
            {"role": user, "content": "b="},
        ],
        "completion": "f",
        "domain": "d",
        "tasks": ["1", "2"],
        "instruction": "c",
    }


def test_in_the_training_example_only_the_last_answer_is_trained(tmp_path):
    (tmp_path / "data.jsonl").write_text(json.dumps(dialogue().row()) + "\n")
    tokenizer = chat_model().tokenizer
    (example,) = read_examples(tokenizer, tmp_path)
    text, start = tokenizer.decode(example.token_ids), example.start
    assert text == "#c=a=~d<eos>#b=~f<eos>"
    assert tokenizer.decode(example.token_ids[start:]) == "f<eos>"


def test_dialogues_follow_from_the_seed_and_repeat_no_task():
    tasks = {name: [Task(f"{name}{index}", "a", domain=name) for index in range(3)] for name in ("x", "y")}
    config = GhostAttentionConfig(instructions=["one", "two"], dialogues=40, turns=3)
    made = make_dialogues(tasks, config, 1)
    assert made == make_dialogues(tasks, config, 1) != make_dialogues(tasks, config, 2)
    assert [each.tasks[0].domain for each in made[:4]] == ["x", "y", "x", "y"]
    assert all(len({task.id for task in each.tasks}) == 3 for each in made)
    assert {each.instruction.text for each in made} == {"one", "two"}
    with pytest.raises(DataError, match="domain 'x' has 3 training tasks, and a dialogue takes 4"):
        make_dialogues(tasks, config.model_copy(update={"turns": 4}), 1)
    several = [Task("s", ({"role": "system", "content": "s"}, {"role": "user", "content": "u"}), domain="z")] * 3
    with pytest.raises(DataError, match="no single user turn"):
        make_dialogues({"z": several}, config, 1)


def chat_model() -> LanguageModel:
    return initialise(ModelSpec(**{**TOY_MODEL, "tokenizer": {**TOY_MODEL["tokenizer"], "chat_template": TEMPLATE}}), 0)


class Echo(TaskSource):
    """Chat tasks of one letter; the demonstration answers with the instruction's letter, given before the word."""

    def tasks(self, split):
        return [Task(letter, letter) for letter in ("abc" if split == "train" else "d")]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers a user turn that begins with a letter and ``=`` by that letter."""
    folder = tmp_path_factory.mktemp("chat")
    chat_model().save(folder / "raw")
    rows = [
        {"prompt": [{"role": "user", "content": f"{sign}={letter}"}], "completion": sign}
        for sign in "ef"
        for letter in "abc"
    ]
    rows += [
        {"prompt": [*first["prompt"], {"role": "assistant", "content": first["completion"]}, *second["prompt"]],
         "completion": second["completion"]}
        for first in rows for second in rows
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"steps": 150, "lr": 5e-3, "batch": 32, "row_tokens": 48, "data": str(folder / "rows.jsonl")}
    job = toy_job("collegium-sft/sft", options, folder / "sft", domains=[], inputs={"init_from": folder / "raw"})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return folder / "sft" / "output" / "model"


def ghost_job(directory: Path, model: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> StageJob:
    monkeypatch.setattr("collegium.testing.toy_domain.ToyTasks", Echo)
    instructions = [{"text": sign, "data": {"sign": sign}} for sign in "ef"]
    base = {"instructions": instructions, "joiner": "=", "dialogues": 24, "turns": 2, "sampling": {"max_tokens": 4}}
    domain = toy_domain("copy").model_copy(update={"task": Use(use="collegium-toy/toy")})
    job = job_of("ghost-attention", directory, [("chat", model)], **{**base, **options})
    return job.model_copy(update={"domains": {"copy": domain}})


def test_sampled_dialogues_keep_to_the_instruction_and_say_it_once(tmp_path, chatty, monkeypatch):
    job = completed(ghost_job(tmp_path / "g", chatty, monkeypatch))
    rows = rows_of(job, "data.jsonl")
    assert len(rows) >= 20
    kept = 0
    for row in rows:
        first, answer, second = row["prompt"]
        assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"]
        assert first["content"] == f"{row['instruction']}={row['tasks'][0]}"
        assert second["content"] == row["tasks"][1]
        kept += answer["content"] == row["completion"] == row["instruction"]
    assert kept > 0.8 * len(rows)
    assert journal_of(job)[-1]["dialogues/kept"] == len(rows)


def test_a_dialogue_that_fails_a_check_is_dropped_and_counted(tmp_path, chatty, monkeypatch):
    class OnlyE:
        def verify(self, completion, task):
            from collegium import Score

            return Score(float(completion.text == task.data["sign"] == "e"))

    from collegium.testing.toy_domain import ToyVerifier

    monkeypatch.setattr(ToyVerifier, "verify", OnlyE.verify)
    job = completed(ghost_job(tmp_path / "g", chatty, monkeypatch, check="collegium-toy/toy"))
    rows, metrics = rows_of(job, "data.jsonl"), journal_of(job)[-1]
    assert {row["instruction"] for row in rows} == {row["completion"] for row in rows} == {"e"}
    assert metrics["dropped/instruction"] >= 24 - len(rows) - metrics["dropped/cut"] > 0


def test_dialogues_without_room_and_cut_answers_are_dropped(tmp_path, chatty, monkeypatch):
    outcome = run_toy(ghost_job(tmp_path / "g", chatty, monkeypatch, sampling={"max_tokens": 62}))
    assert outcome.kind == "DataError"
    assert "no room 24" in outcome.problem
    outcome = run_toy(ghost_job(tmp_path / "h", chatty, monkeypatch, sampling={"max_tokens": 1}))
    assert "cut 24" in outcome.problem


def test_a_killed_stage_leaves_the_dialogues_of_one_that_was_not(tmp_path, chatty, monkeypatch):
    whole = completed(ghost_job(tmp_path / "whole" / "g", chatty, monkeypatch, batch=4))
    events: list[StageEvent] = []
    part = ghost_job(tmp_path / "part" / "g", chatty, monkeypatch, batch=4).model_copy(update={"checkpoint_every": 2})

    class Stop(Exception):
        pass

    def stop(event: StageEvent) -> None:
        if event.kind == "step" and event.step == 3:
            raise Stop

    from collegium.testing.stages import toy_registry
    from collegium.training.execute import run_job

    assert run_job(part, toy_registry(), stop).status == "failed"
    assert run_toy(part, events=events).status == "completed"
    assert [event.step for event in events if event.kind == "step"] == [3, 4, 5, 6]
    assert rows_of(whole, "data.jsonl") == rows_of(part, "data.jsonl")
    assert journal_of(whole) == journal_of(part)
