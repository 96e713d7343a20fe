"""The stage: it learns, resumes exactly, and leaves a checkpoint that `transformers` loads with the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from collegium.errors import DataError, PolicyError
from collegium.job import StageEvent, StageJob
from collegium.plugins.registry import Registry
from collegium.testing.stages import journal_of, run_and_kill, run_toy, toy_domain, toy_job, toy_model, toy_registry
from collegium_reward_model.model import RewardModel
from collegium_reward_model.preferences import Preference
from collegium_reward_model.stage import micro_batches

OPTIONS: dict[str, Any] = {"steps": 40, "batch": 16, "lr": 3e-3, "heldout": 0.25}
WORDS = ["".join(letters) for letters in ("abc", "bcd", "cde", "def", "efa", "fab", "ace", "bdf", "cab", "fed", "dab")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    toy_model().save(path)
    return path


@pytest.fixture(scope="module")
def rankings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts whose best answer is the word, then half of it right, then the word in other letters."""
    path = tmp_path_factory.mktemp("data") / "rankings.jsonl"
    rows = []
    for first in "abcdef":
        for word in WORDS:
            prompt = f"#{first}{word}="
            rows.append({"prompt": prompt, "completions": [word[0] * 3, word[0] * 2 + "#", "#~#"], "margin": 1.0})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stage_job(directory: Path, base: Path, data: Path | str, **options: Any) -> StageJob:
    options = {**OPTIONS, "data": [str(data)], **options}
    return toy_job("collegium-reward-model/reward-model", options, directory, domains=[], inputs={"init_from": base})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path, rankings: Path) -> StageJob:
    job = stage_job(tmp_path_factory.mktemp("run") / "rm", base, rankings)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return job


def test_rankings_are_learnt_and_held_out_prompts_told_apart(trained):
    rows = journal_of(trained)
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert rows[-1]["heldout/accuracy"] > 0.95
    assert rows[-1]["pairs"] == 16 * 3
    assert rows[-1]["heldout/pairs"] == 3 * rows[-1]["heldout/prompts"]
    assert rows[-1]["heldout/length_accuracy"] == 0.5  # all are three characters long
    assert rows[-1]["heldout/chance"] == 0.5


def test_transformers_loads_the_checkpoint_with_the_same_numbers(trained):
    path = Path(trained.directory) / "output" / "model"
    ours = RewardModel.load(path)
    theirs = AutoModelForSequenceClassification.from_pretrained(path).eval()
    texts = [("#aabc=", "aaa"), ("#fbdf=", "b~"), ("#cfed=", "")]
    ids = [ours.encode(prompt, text, "t") for prompt, text in texts]
    pad = ours.tokenizer.pad_token_id
    longest = max(map(len, ids))
    tokens = torch.tensor([each + [pad] * (longest - len(each)) for each in ids])
    with torch.no_grad():
        logits = theirs(input_ids=tokens, attention_mask=(tokens != pad).long()).logits
    torch.testing.assert_close(ours.score(ids, 2), logits[:, 0], atol=1e-5, rtol=1e-5)


def test_the_held_out_figures_lie_beside_the_weights(trained):
    statistics = RewardModel.load(Path(trained.directory) / "output" / "model").statistics
    last = journal_of(trained)[-1]
    assert statistics.accuracy == last["heldout/accuracy"]
    assert statistics.std == pytest.approx(last["heldout/reward_std"])
    assert statistics.std > 0


def test_a_language_model_is_no_reward_model(base):
    with pytest.raises(PolicyError, match=r"no checkpoint with a trained scalar head: it lacks the weights score"):
        RewardModel.load(base)


def test_a_new_head_follows_from_the_seed_and_a_trained_one_is_kept(base, trained):
    one, same, other = (RewardModel.start(str(base), "cpu", seed).head for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    path = Path(trained.directory) / "output" / "model"
    assert torch.equal(RewardModel.start(str(path), "cpu", 1).head, RewardModel.load(path).head)


def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, base, rankings):
    options = {"steps": 13, "evaluate_every": 4, "schedule": "cosine", "centering": 0.01, "loss": "margin"}
    whole = stage_job(tmp_path / "whole" / "rm", base, rankings, **options)
    killed = stage_job(tmp_path / "killed" / "rm", base, rankings, **options)
    killed = killed.model_copy(update={"checkpoint_every": 5})
    assert run_toy(whole).status == "completed"
    assert run_and_kill(killed, step=8) == -9
    events: list[StageEvent] = []
    assert run_toy(killed, events=events).status == "completed"
    assert [event.step for event in events if event.kind == "step"] == list(range(6, 14))
    one, other = (RewardModel.load(Path(job.directory) / "output" / "model") for job in (whole, killed))
    weights = other.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.model.state_dict().items())
    assert one.statistics == other.statistics
    assert journal_of(whole) == journal_of(killed)


def test_a_stage_killed_after_its_last_step_still_leaves_its_figures(tmp_path, base, rankings):
    job = stage_job(tmp_path / "rm", base, rankings, steps=4)
    assert run_toy(job).status == "completed"
    model = Path(job.directory) / "output" / "model"
    before = (model / "reward_model.json").read_text()
    (model / "reward_model.json").unlink()
    assert run_toy(job).status == "completed"  # from the checkpoint of the last step
    assert (model / "reward_model.json").read_text() == before


def test_the_size_of_a_micro_batch_changes_no_number(tmp_path, base, rankings):
    jobs = [stage_job(tmp_path / str(size) / "rm", base, rankings, steps=3, micro_batch=size) for size in (2, 200)]
    assert all(run_toy(job).status == "completed" for job in jobs)
    one, other = map(journal_of, jobs)
    assert one[-1]["loss"] == pytest.approx(other[-1]["loss"], abs=1e-5)


def test_the_completions_of_one_prompt_stay_together():
    preferences = [Preference(((1,),) * count, 0.0, "", (1,) * count) for count in (2, 5, 2, 2, 2)]
    parts = list(micro_batches(preferences, 4))
    assert sorted(id(each) for part in parts for each in part) == sorted(map(id, preferences))
    assert all(sum(len(each.sequences) for each in part) <= 4 or len(part) == 1 for part in parts)


def test_a_margin_keeps_the_rewards_further_apart(tmp_path, base, rankings, trained):
    job = stage_job(tmp_path / "rm", base, rankings, loss="margin")
    assert run_toy(job).status == "completed"
    assert journal_of(job)[-1]["margin"] > journal_of(trained)[-1]["margin"]


def test_centering_keeps_the_rewards_around_zero(tmp_path, base, rankings, trained):
    job = stage_job(tmp_path / "rm", base, rankings, centering=0.1)
    assert run_toy(job).status == "completed"
    assert abs(journal_of(job)[-1]["heldout/reward_mean"]) < max(
        0.5, abs(journal_of(trained)[-1]["heldout/reward_mean"])
    )


def test_the_margin_loss_wants_a_margin_in_every_row(tmp_path, base):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": p, "chosen": "a", "rejected": "b"}) + "\n" for p in ("#a=", "#b=")))
    outcome = run_toy(stage_job(tmp_path / "rm", base, file, loss="margin"))
    assert (outcome.kind, outcome.owner) == ("DataError", "collegium-reward-model")
    assert "needs a margin in every row" in outcome.problem


def test_equal_completions_are_left_out_and_said(tmp_path, base):
    rows = [{"prompt": f"#{p}=", "chosen": "a", "rejected": "b" if p != "a" else "a"} for p in "abc"]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    events: list[StageEvent] = []
    outcome = run_toy(stage_job(tmp_path / "rm", base, file, steps=1), events=events)
    assert outcome.status == "completed", outcome.problem
    assert any("rankings have two equal completions and are left out" in (event.text or "") for event in events)


def test_nothing_is_cut(tmp_path, base):
    model = RewardModel.start(str(base), "cpu", 0)
    assert len(model.encode("#abc=", "a" * 58, "x")) == 64
    with pytest.raises(DataError, match="65 tokens, the reward model reads at most 64"):
        model.encode("#abc=", "a" * 59, "x")


def test_a_held_out_tasks_prompt_is_refused(tmp_path, base):
    domain = toy_domain("copy")
    task = toy_registry().build("task", domain.task.use, domain.task.options).tasks("heldout")[0]
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": prompt, "chosen": "a", "rejected": "b"} for prompt in (task.prompt_text, "#a=")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = stage_job(tmp_path / "rm", base, file).model_copy(update={"domains": {"copy": domain}})
    outcome = run_toy(job)
    assert outcome.kind == "DataError"
    assert "held-out prompt" in outcome.problem


def test_without_data_the_stage_says_what_to_give(tmp_path, base):
    job = toy_job("collegium-reward-model/reward-model", {}, tmp_path / "rm", domains=[], inputs={"init_from": base})
    assert "has no preference to learn" in run_toy(job).problem


def test_the_plugin_is_found_and_planned_without_torch():
    registry = Registry.discover()
    config = registry.find("stage", "reward-model").config_class()
    assert config.produces == "reward_model"
    assert registry.find("reward", "reward-model").component.summary
    code = "import sys, collegium_reward_model.plugin, collegium_reward_model.configs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
