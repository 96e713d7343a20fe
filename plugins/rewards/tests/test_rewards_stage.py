"""What the rewards and controls do to a policy, on domains that a model of twenty thousand weights learns."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from collegium import Completion, Demonstration, Score, Task, Verdict, Verifier, component
from collegium.component import Use
from collegium.job import DomainSpec, StageJob
from collegium.testing.stages import (
    TOY,
    TOY_MODEL,
    journal_of,
    run_and_kill,
    run_toy,
    toy_domain,
    toy_job,
    toy_registry,
    weights_of,
)
from collegium.testing.toy_domain import ToyTasks
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec
from collegium.training.packing import indices_of_step
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer

GRPO = {"steps": 30, "prompts": 16, "group": 8, "lr": 3e-3, "sampling": {"max_tokens": 10}}
RIGHT = {"reward": "collegium/domain-verifier"}


class Rambling(ToyTasks):
    """The toy tasks, right or wrong, each demonstration with up to five `#` behind it."""

    def demonstrations(self) -> Sequence[Demonstration]:
        rng = random.Random(2)
        return [
            Demonstration(each.task, each.completion + "#" * rng.randrange(6), each.quality)
            for each in super().demonstrations()
        ]


class Begins(Verifier):
    """Right if the completion begins with the reference, however long it is."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        return Score(float(completion.text.rstrip("#") == task.reference))


REGISTRY = toy_registry(
    [
        ("task", component("rambling", f"{__name__}:Rambling", "Copy a word, and go on.")),
        ("verifier", component("begins", f"{__name__}:Begins", "Right at the beginning.")),
    ]
)
DOMAIN = DomainSpec(
    name="copy",
    task=Use(use=f"{TOY}/rambling", options={"right": 0.4}),
    verifier=Use(use=f"{TOY}/begins"),
)


def trained(folder: Path, domain: DomainSpec, steps: int = 150) -> Path:
    model = initialise(ModelSpec(**TOY_MODEL), 0)
    source = REGISTRY.build("task", domain.task.use, domain.task.options)
    examples = demonstration_examples(model.tokenizer, source.demonstrations())
    config = SupervisedConfig(lr=5e-3, batch=64, row_tokens=64)
    trainer = Trainer(model, config, steps)
    for step in range(1, steps + 1):
        supervised_step(trainer, [examples[i] for i in indices_of_step(step, 64, len(examples), seed=0)], config)
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is right in some 40% of the cases, and rambles."""
    return trained(tmp_path_factory.mktemp("start"), DOMAIN)


def job_of(directory: Path, start: Path, domain: DomainSpec = DOMAIN, **options: Any) -> StageJob:
    options = {**GRPO, **options}
    return toy_job("collegium-grpo/grpo", options, directory, domains=[domain], inputs={"init_from": start},
                   evaluate=True)  # fmt: skip


def completed(job: StageJob) -> tuple[dict[str, float], list[dict[str, Any]]]:
    outcome = run_toy(job, REGISTRY)
    assert outcome.status == "completed", outcome.problem
    return outcome.scores, journal_of(job)


def mean(rows: Sequence[dict[str, Any]], name: str, last: int = 5) -> float:
    return sum(row[name] for row in rows[-last:]) / last


def test_toggle_shortens_at_the_same_score(tmp_path, start):
    scores, lengths = {}, {}
    rewards: dict[str, Any] = {
        "plain": "collegium/domain-verifier",
        "toggle": {"use": "collegium-rewards/toggle-length", "period": 5, "accuracy": 0.5, "percentile": 20},
    }
    for name, reward in rewards.items():
        found, rows = completed(job_of(tmp_path / name, start, steps=25, reward=reward))
        scores[name], lengths[name] = found["copy"], mean(rows, "length")
    limited = [row["toggle/limited"] for row in rows]
    assert limited[:11] == [1.0] * 5 + [0.0] * 5 + [1.0]
    assert scores["toggle"] >= scores["plain"] - 0.05
    assert scores["toggle"] > 0.8
    assert lengths["toggle"] < 0.8 * lengths["plain"]


def test_a_length_cost_shortens_what_is_right(tmp_path, start):
    reward = {"use": "collegium-rewards/length-cost", "max_tokens": 10}
    found, rows = completed(job_of(tmp_path / "t", start, steps=40, reward=reward))
    assert found["copy"] > 0.8
    assert mean(rows, "length") < 0.8 * sum(row["length"] for row in rows[:3]) / 3


def test_a_composed_reward_raises_the_verified_score_and_what_is_added_to_it(tmp_path, start):
    short = {"verifier": {"use": "collegium-verifier-format/length", "unit": "tokens", "max": 4}, "weight": 0.3}
    reward = {"use": "collegium-rewards/composed", "parts": {"right": RIGHT, "short": short}}
    found, rows = completed(job_of(tmp_path / "t", start, steps=25, reward=reward))
    assert found["copy"] > 0.8
    for part in ("right", "short"):
        assert mean(rows, f"part/{part}") > rows[0][f"part/{part}"] + 0.2
    assert mean(rows, "reward") == pytest.approx(mean(rows, "part/right") + 0.3 * mean(rows, "part/short"))


def test_a_part_may_come_late(tmp_path, start):
    late = {"verifier": {"use": "collegium-verifier-format/length", "unit": "tokens", "max": 4}, "from_step": 4}
    reward = {"use": "collegium-rewards/composed", "parts": {"right": RIGHT, "short": late}}
    _, rows = completed(job_of(tmp_path / "t", start, steps=5, reward=reward))
    assert ["part/short" in row for row in rows] == [False, False, False, True, True]


def test_a_curriculum_cuts_completions_at_the_steps_limit(tmp_path, start):
    engine = {"use": "collegium-rewards/length-curriculum", "limits": {1: 2, 3: 6, 5: 10},
              "engine": {"use": "collegium/transformers"}}  # fmt: skip
    _, rows = completed(job_of(tmp_path / "t", start, steps=6, engine=engine))
    assert [row["length"] == 2 for row in rows] == [True, True, False, False, False, False]
    assert all(row["truncated"] == 1.0 for row in rows[:2])
    assert all(row["length"] <= 6 for row in rows[2:4])
    assert rows[0]["reward"] == 0.0


def test_the_entropy_control_widens_the_clip_below_its_target_and_holds_it_shut_above(tmp_path, start):
    seen = {}
    for target in (0.01, 5.0):
        loss = {"use": "collegium-rewards/adaptive-entropy", "target": target}
        _, rows = completed(job_of(tmp_path / str(target), start, steps=12, prompts=4, loss=loss, minibatches=2))
        seen[target] = [row["clip_widening"] for row in rows]
    assert seen[0.01] == [0.0] * 12
    assert seen[5.0] == [0.25 * step for step in range(11)] + [2.5]


def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path):
    domain = toy_domain("copy", right=0.5)
    start = trained(tmp_path / "start", domain, steps=40)
    late = {"reward": "collegium-rewards/foreign-words", "from_step": 4}
    inside = {"use": "collegium-rewards/composed", "parts": {"right": RIGHT, "late": late}}
    options: dict[str, Any] = {
        "reward": {
            "use": "collegium-rewards/toggle-length",
            "period": 3,
            "accuracy": 0.1,
            "percentile": 50,
            "reward": inside,
        },
        "loss": {"use": "collegium-rewards/adaptive-entropy", "target": 0.5},
        "minibatches": 2,
    }
    jobs = [
        job_of(tmp_path / kind / "t", start, domain, steps=8, prompts=6, group=4, **options).model_copy(
            update={"checkpoint_every": 3, "evaluate_on": {}}
        )
        for kind in ("whole", "killed")
    ]
    assert run_toy(jobs[0]).status == "completed"
    assert run_and_kill(jobs[1], step=5) == -9
    outcome = run_toy(jobs[1])
    assert outcome.status == "completed", outcome.problem
    one, other = (weights_of(job) for job in jobs)
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert journal_of(jobs[0]) == journal_of(jobs[1])
