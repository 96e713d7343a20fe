"""The reward source: its numbers, its shapes by hand, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from collegium import Completion, ConfigError, Error, PolicyError, RewardContext, Sample, Score, Task
from collegium.job import InputArtifact
from collegium.launch_config import LaunchConfig
from collegium.testing.stages import journal_of, run_toy, toy_domain, toy_job, toy_model
from collegium.training import distributed
from collegium.training.distributed import World
from collegium_reward_model.configs import RewardModelRewardConfig
from collegium_reward_model.model import RewardModel, Statistics
from collegium_reward_model.reward import RewardModelReward, gated_logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, `base`, and two reward models, `helpful` and `safe`, with heads of other seeds."""
    path = tmp_path_factory.mktemp("models")
    toy_model().save(path / "base")
    for name, seed in (("helpful", 1), ("safe", 2)):
        model = RewardModel.start(str(path / "base"), "cpu", seed)
        model.statistics = Statistics(mean=0.5, std=2.0, accuracy=0.9, length_accuracy=0.5, pairs=10)
        model.save(path / name)
    return path


def sample(prompt: str, completion: str, domain: str = "copy", finish: str = "stop", **data: object) -> Sample:
    return Sample(Task(prompt, prompt, data=data, domain=domain), Completion(completion, finish))


BATCH = [sample("#abc=", "abc"), sample("#fed=", "a"), sample("~abc=", "cba"), sample("~fff=", "")]


def source(models: list[Path], **options: object) -> RewardModelReward:
    reward = RewardModelReward({"models": [str(model) for model in models], **options})
    reward.prepare(RewardContext({}))
    return reward


def values(reward: RewardModelReward, batch: list[Sample] = BATCH) -> torch.Tensor:
    verdicts = reward.score(batch)
    assert all(isinstance(each, Score) for each in verdicts)
    return torch.tensor([each.value for each in verdicts], dtype=torch.float64)


def raw(path: Path, batch: list[Sample] = BATCH) -> torch.Tensor:
    model = RewardModel.load(path)
    ids = [model.encode(each.task.prompt, each.completion.text, "t") for each in batch]
    return torch.cat([model.score([each], 1) for each in ids]).double()


def test_a_score_is_the_models_number_whatever_else_is_in_the_batch(folder):
    expected = raw(folder / "helpful")
    torch.testing.assert_close(values(source([folder / "helpful"])), expected, atol=1e-5, rtol=1e-5)
    by_one = values(source([folder / "helpful"], micro_batch=1))
    torch.testing.assert_close(by_one, expected, atol=1e-5, rtol=1e-5)
    assert len(set(expected.tolist())) == len(BATCH)


def test_the_shapes_of_one_model(folder):
    expected = raw(folder / "helpful")
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(values(source([folder / "helpful"], output="sigmoid")), torch.sigmoid(expected), **close)
    normalised = values(source([folder / "helpful"], output="normalised"))
    torch.testing.assert_close(normalised, (expected - 0.5) / 2.0, **close)
    whitened = values(source([folder / "helpful"], output="whitened"))
    torch.testing.assert_close(whitened, (expected - expected.mean()) / expected.std(correction=0), **close)


def test_safety_goes_first_where_the_answer_is_unsafe_or_the_prompt_is_about_safety():
    helpfulness = torch.tensor([2.0, 2.0, 2.0])
    safety = torch.tensor([-3.0, 1.0, 1.0])  # sigmoids of 0.047 and 0.731
    is_safety = torch.tensor([False, False, True])
    assert gated_logits(helpfulness, safety, is_safety, 0.15).tolist() == [-3.0, 2.0, 1.0]


@pytest.mark.parametrize("output", ["logit", "sigmoid", "whitened"])
def test_two_models_are_gated(folder, output):
    batch = [*BATCH, sample("#aaa=", "aaa", domain="harm"), sample("#bbb=", "bbb", is_safety=True)]
    reward = source([folder / "helpful", folder / "safe"], combine="gated", output=output, threshold=0.5,
                    safety_domains=["harm"])  # fmt: skip
    helpfulness, safety = raw(folder / "helpful", batch), raw(folder / "safe", batch)
    about = torch.tensor([False] * 4 + [True, True])
    logits = torch.where(about | (safety < 0.0), safety, helpfulness)  # a sigmoid below a half
    assert 0 < int((safety[:4] < 0).sum()) < 4 or len(set(logits.tolist())) == 6
    expected = {
        "logit": logits,
        "sigmoid": torch.sigmoid(logits),
        "whitened": (logits - logits.mean()) / logits.std(correction=0),
    }[output]
    torch.testing.assert_close(values(reward, batch), expected, atol=1e-5, rtol=1e-5)


def test_layers_that_wait_in_main_memory_score_the_same(folder):
    models = [folder / "helpful", folder / "safe"]
    here, waiting = source(models, combine="gated"), source(models, combine="gated", offload="cpu")
    expected = values(here)
    assert torch.equal(values(waiting), expected)
    assert torch.equal(values(waiting), expected)  # a second time, too
    for model in waiting._models:
        away = {name for name, weight in model.model.named_parameters() if weight.is_meta}
        stays = {name for name, _ in model.model.named_parameters()} - away
        assert stays == {"model.norm.weight", "score.weight"}


def test_of_several_ranks_the_first_alone_loads_models_until_another_is_asked(folder, monkeypatch):
    expected = values(source([folder / "helpful"]))
    monkeypatch.setattr(distributed, "_world", World(rank=1, size=2, launch=LaunchConfig(strategy="ddp", processes=2)))
    reward = source([folder / "helpful"])
    assert reward._models == ()
    assert torch.equal(values(reward), expected)


def test_a_completion_that_was_cut_is_read_without_an_end(folder):
    whole, cut = source([folder / "helpful"]).score([sample("#a=", "ab"), sample("#a=", "ab", finish="length")])
    assert whole.value != cut.value


def test_a_sample_that_does_not_fit_is_an_error_and_leaves_the_others_alone(folder):
    reward = source([folder / "helpful"], output="whitened")
    verdicts = reward.score([*BATCH, sample("#abc=", "a" * 80), sample("#abc=", "what?")])
    assert [type(each) for each in verdicts] == [Score] * 4 + [Error] * 2
    assert "reads at most 64" in verdicts[4].reason
    assert "'?'" in verdicts[5].reason or "?" in verdicts[5].reason
    torch.testing.assert_close(torch.tensor([each.value for each in verdicts[:4]]).double(), values(reward))


def test_scoring_keeps_no_gradient(folder):
    reward = source([folder / "helpful"])
    reward.score(BATCH)
    assert not any(weight.requires_grad for weight in reward._models[0].parameters())


def test_a_language_model_is_refused(folder):
    with pytest.raises(PolicyError, match="no checkpoint with a trained scalar head"):
        source([folder / "base"])


def test_normalising_wants_the_held_out_figures(folder, tmp_path):
    RewardModel.start(str(folder / "base"), "cpu", 3).save(tmp_path / "bare")
    with pytest.raises(ConfigError, match="normalised needs the held-out mean"):
        source([tmp_path / "bare"], output="normalised")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": ["a/b", "c/d"]}, "single scores with 1 models, found 2"),
        ({"models": ["a/b"], "combine": "gated"}, "gated scores with 2 models, found 1"),
        ({"combine": "gated", "output": "normalised"}, "is for one model"),
        ({"threshold": 1.5}, "threshold"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        RewardModelRewardConfig(**options)


def test_as_many_models_as_are_scored_with_must_come_from_one_place(folder):
    reward = RewardModelReward({})
    with pytest.raises(ConfigError, match="scores with 1 reward models, found 0"):
        reward.prepare(RewardContext({}))
    named = RewardModelReward({"models": [str(folder / "safe")]})
    with pytest.raises(ConfigError, match="gives some as well"):
        named.prepare(RewardContext({}, [str(folder / "helpful")]))


def test_a_policy_learns_from_a_stages_reward_model(folder, tmp_path):
    options = {"steps": 12, "prompts": 16, "group": 8, "lr": 3e-3, "sampling": {"max_tokens": 6},
               "reward": {"use": "collegium-reward-model/reward-model"}}  # fmt: skip
    job = toy_job(
        "collegium-grpo/grpo", options, tmp_path / "rl", domains=[toy_domain("copy")],
        inputs={"init_from": folder / "base"},
    )  # fmt: skip
    edge = [InputArtifact(source="rm", path=str(folder / "helpful"))]
    job = job.model_copy(update={"inputs": {**job.inputs, "reward_models": edge}})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    rewards = [row["reward"] for row in journal_of(job)]
    assert sum(rewards[-3:]) > sum(rewards[:3])
