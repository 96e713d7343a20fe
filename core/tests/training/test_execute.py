"""Running a job: evaluation, failures with their owner, and what a loss that is not finite leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from collegium import Abstain, Completion, Config, Error, Score, Stage, Task, TaskSource, Verdict, Verifier
from collegium.component import Component, Kind, Use, component
from collegium.errors import DataError, VerifierError
from collegium.job import DomainSpec, ErrorPolicy, EvaluationSpec, StageEvent
from collegium.judge import Judge
from collegium.plugins.registry import Registry
from collegium.testing.stages import run_toy, toy_domain, toy_job, toy_model, toy_registry
from collegium.testing.toy_domain import ToyTasks, ToyVerifier
from collegium.training.context import Domain, StageContext
from collegium.training.evaluate import evaluate_domains, evaluate_model
from collegium.training.language_model import LanguageModel
from collegium.training.loop import StepLoop
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.trainer import Trainer


class PoisonedConfig(OptimizerConfig):
    """Options of the stage below."""

    poison_at: int = 0
    steps: int = 10


class PoisonedStage(Stage):
    """Pull the head's weights down, and lose a number at one step."""

    Config = PoisonedConfig

    def run(self, context: StageContext) -> None:
        policy = LanguageModel.load(context.init_path)
        trainer = Trainer(policy, self.config, self.config.steps)

        def step(number: int) -> dict[str, float]:
            factor = float("nan") if number == self.config.poison_at else 1.0
            return trainer.step([lambda: policy.head.square().mean() * factor], ["task-7", "task-9"])

        StepLoop(context, trainer, self.config.steps).run(step)


class FailingStage(Stage):
    """Fail with an error that is nobody's."""

    def run(self, context: StageContext) -> None:
        raise ZeroDivisionError("nobody's")


class Moody(Verifier):
    """Abstain on words that start with a, fail on those with b, and call every other answer right."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        letter = task.prompt_text[1]
        return Abstain("no") if letter == "a" else Error("broken") if letter == "b" else Score(1.0)


class Silent(Verifier):
    def verify(self, completion: Completion, task: Task) -> Verdict:
        return Abstain("never")


class Leaky(TaskSource):
    """Train on a held-out prompt."""

    class Config(Config):
        """No options."""

    def tasks(self, split: str) -> Sequence[Task]:
        return [Task(f"{split}-{index}", f"#a{index}=", "a") for index in ((0, 1) if split == "train" else (1, 2))]


HERE = __name__
MORE: list[tuple[Kind, Component]] = [
    ("stage", component("poisoned", f"{HERE}:PoisonedStage", "NaN at a step.")),
    ("stage", component("failing", f"{HERE}:FailingStage", "Fails.")),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    toy_model(seed=3, tie_word_embeddings=False).save(path)
    return path


@pytest.fixture
def registry() -> Registry:
    return toy_registry(MORE)


def judged(verifier: Verifier, policy: ErrorPolicy | None = None, source: TaskSource | None = None) -> Domain:
    judge = Judge(verifier, owner="acme-moody", name="moody", policy=policy or ErrorPolicy(budget=1.0), domain="copy")
    return Domain("copy", source or ToyTasks({"heldout": 60}), judge)


def test_a_score_that_is_not_a_number_stops_and_the_last_good_checkpoint_stays(tmp_path, model, registry):
    options = {"poison_at": 7, "lr": 1e-2}
    job = toy_job("collegium-toy/poisoned", options, tmp_path / "s", domains=[], inputs={"init_from": model})
    outcome = run_toy(job.model_copy(update={"checkpoint_every": 3}), registry)
    assert (outcome.status, outcome.kind) == ("failed", "PolicyError")
    assert "step 7: the loss is nan (tasks task-7, task-9" in outcome.problem
    assert "after step 6, is kept" in outcome.problem
    assert json.loads((tmp_path / "s" / "bad_batch.json").read_text())["tasks"] == ["task-7", "task-9"]
    state = StageContext(job, registry, lambda event: None).checkpoints.latest() or {}
    assert state["step"] == 6
    assert all(bool(torch.isfinite(value).all()) for value in state["trainer"]["model"].values())
    assert not (tmp_path / "s" / "output" / "model").exists()


def test_a_checkpoint_of_other_options_is_not_resumed(tmp_path, model, registry):
    events: list[StageEvent] = []
    for lr in (1e-2, 1e-3):
        options = {"poison_at": 99, "lr": lr}
        job = toy_job("collegium-toy/poisoned", options, tmp_path / "s", domains=[], inputs={"init_from": model})
        assert run_toy(job, registry, events).status == "completed"
    assert any("starts anew" in event.text for event in events)
    assert [event.step for event in events if event.kind == "step"] == [*range(1, 11), *range(1, 11)]
    assert len((tmp_path / "s" / "metrics.jsonl").read_text().splitlines()) == 10


def test_an_unexpected_exception_is_an_outcome_owned_by_the_stages_package(tmp_path, registry):
    outcome = run_toy(toy_job("collegium-toy/failing", {}, tmp_path / "s", domains=[]), registry)
    assert (outcome.status, outcome.owner, outcome.kind) == ("failed", "collegium-toy", "ZeroDivisionError")
    assert outcome.problem == "ZeroDivisionError: nobody's"


def test_a_missing_input_is_an_outcome_that_says_so(tmp_path, registry):
    outcome = run_toy(toy_job("collegium-toy/poisoned", {}, tmp_path / "s", domains=[]), registry)
    assert outcome.kind == "RecipeError"
    assert "needs init_from" in outcome.problem


def test_without_training_the_artifact_that_is_there_is_evaluated(tmp_path, model, registry):
    shutil.copytree(model, tmp_path / "s" / "output" / "model")
    domains = [toy_domain("copy", verifier={"partial": True})]
    there = toy_job("collegium-toy/failing", {}, tmp_path / "s", domains=domains, evaluate=True, train=False)
    elsewhere = toy_job("", {}, tmp_path / "e", domains=domains, evaluate=True, train=False, model=str(model))
    one, other = run_toy(there, registry), run_toy(elsewhere, registry)
    assert one.status == other.status == "completed"
    assert one.scores == other.scores
    assert one.scores["copy"] > 0


def test_evaluation_is_greedy_and_judged_by_the_domains_verifier(model):
    policy, verifier = LanguageModel.load(model), ToyVerifier({"partial": True})
    domain, values = judged(verifier), []
    for task in domain.tasks("heldout"):
        prompt = torch.tensor([policy.tokenizer.encode(task.prompt_text)])
        mask = torch.ones_like(prompt)
        made = policy.model.generate(prompt, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0)
        text = policy.tokenizer.decode([token for token in made[0, prompt.shape[1] :].tolist() if token != 1])
        values.append(verifier.verify(Completion(text), task).value)
    spec = EvaluationSpec.model_validate({"sampling": {"max_tokens": 8, "temperature": 0.0}, "batch": 7})
    result = evaluate_domains(policy, {"copy": domain}, spec)["copy"]
    assert result.tasks == 60
    assert result.score == pytest.approx(sum(values) / 60)
    assert result.score > 0


def test_an_abstention_or_error_is_counted_and_never_right(model):
    domain = judged(Moody())
    spec = EvaluationSpec.model_validate({"sampling": {"max_tokens": 4, "temperature": 0.0}})
    policy = LanguageModel.load(model)
    with pytest.raises(VerifierError, match="of 60 held-out completions got a score, at least 90% must"):
        evaluate_domains(policy, {"copy": domain}, spec)
    spec = spec.model_copy(update={"min_scored": 0.1})
    result = evaluate_domains(policy, {"copy": domain}, spec)["copy"]
    first = [task.prompt_text[1] for task in domain.tasks("heldout")]
    assert (result.abstained, result.errors) == (first.count("a"), first.count("b"))
    assert result.abstained
    assert result.errors
    assert result.score == 1.0
    assert evaluate_model(str(model), {"copy": domain}, spec) == {"copy": 1.0}


def test_a_verifier_that_scores_nothing_is_an_error_with_its_owner(model):
    spec = EvaluationSpec.model_validate({"sampling": {"max_tokens": 4, "temperature": 0.0}})
    with pytest.raises(VerifierError, match="none of 60 held-out completions got a score") as caught:
        evaluate_domains(LanguageModel.load(model), {"copy": judged(Silent())}, spec)
    assert caught.value.owner == "acme-moody"


@pytest.mark.parametrize(("source", "limit"), [(ToyTasks({"heldout": 0}), None), (ToyTasks({"heldout": 0}), 5)])
def test_an_empty_held_out_set_is_an_error(model, source, limit):
    with pytest.raises(DataError, match=r"no held-?out task"):
        evaluate_domains(
            LanguageModel.load(model), {"copy": judged(Moody(), source=source)}, EvaluationSpec(limit=limit)
        )


def test_training_on_a_held_out_prompt_is_an_error(tmp_path):
    with pytest.raises(DataError, match="1 training tasks have a held-out prompt, such as 'train-1'"):
        judged(Moody(), source=Leaky()).tasks("train")


def test_tasks_carry_the_recipes_name_of_their_domain(tmp_path):
    spec = DomainSpec(name="spelling", task=Use(use="collegium-toy/toy"), verifier=Use(use="collegium-toy/toy"))
    context = StageContext(toy_job("x/y", {}, tmp_path, domains=[spec]), toy_registry(), lambda event: None)
    assert {task.domain for task in context.tasks("train")["spelling"]} == {"spelling"}
    assert {each.task.domain for each in context.demonstrations()["spelling"]} == {"spelling"}


def test_a_quarantined_domain_has_no_score_and_the_stage_ends_well(model):
    class Broken(Verifier):
        def verify(self, completion: Completion, task: Task) -> Verdict:
            raise RuntimeError("broken")

    domain = judged(Broken(), ErrorPolicy(on_exceeded="quarantine"))
    spec = EvaluationSpec.model_validate({"sampling": {"max_tokens": 4, "temperature": 0.0}})
    assert evaluate_domains(LanguageModel.load(model), {"copy": domain}, spec) == {}


def test_errors_in_training_do_not_count_against_the_evaluation(tmp_path):
    job = toy_job("x/y", {}, tmp_path, domains=[toy_domain("copy")], evaluate=True)
    context = StageContext(job, toy_registry(), lambda event: None)
    train, evaluate = context.domains["copy"].judge, context.evaluation_domains["copy"].judge
    assert train.budget is not evaluate.budget
    assert train.verifier is evaluate.verifier
    assert list(context.budgets) == ["domain copy"]


def test_a_resumed_stage_has_the_error_counts_and_the_quarantine_of_the_stopped_one(tmp_path, model, registry):
    def run(steps: int) -> StageContext:
        options = {"steps": steps, "poison_at": 99}
        job = toy_job(
            "collegium-toy/poisoned", options, tmp_path / "s", domains=[toy_domain("copy")], inputs={"init_from": model}
        )
        context = StageContext(job.model_copy(update={"checkpoint_every": 1}), registry, lambda event: None)
        budget = context.domains["copy"].judge.budget
        budget.policy = ErrorPolicy(grace=1, on_exceeded="quarantine")
        return context

    stopped = run(10)
    stopped.domains["copy"].judge.budget.record([Error("broken", "collegium-toy"), Score(1.0)])
    story = stopped.domains["copy"].judge.budget.quarantine
    assert story
    registry.build("stage", "collegium-toy/poisoned", stopped.job.options).run(stopped)
    resumed = run(10)
    registry.build("stage", "collegium-toy/poisoned", resumed.job.options).run(resumed)
    budget = resumed.domains["copy"].judge.budget
    assert (budget.judged, budget.errors, budget.quarantine) == (2, 1, story)


def test_texts_that_begin_with_a_held_out_prompt_are_refused(tmp_path):
    context = StageContext(
        toy_job("x/y", {}, tmp_path, domains=[toy_domain("copy")]), toy_registry(), lambda event: None
    )
    prompt = context.held_out_tasks[0].prompt_text
    context.refuse_held_out(["#", "zzz"], "the texts")
    with pytest.raises(DataError, match=f"the texts hold the held-out prompt {prompt!r}"):
        context.refuse_held_out(["zzz", prompt + "abc"], "the texts")


def test_a_limit_draws_from_all_held_out_tasks_and_always_the_same(model):
    spec = EvaluationSpec.model_validate({"sampling": {"max_tokens": 4, "temperature": 0.0}, "limit": 10})
    seen: list[list[str]] = []

    class Noting(ToyVerifier):
        def verify_batch(self, completions, tasks):
            seen.append([task.id for task in tasks])
            return [Score(0.0)] * len(tasks)

    for verifier in (Noting(), Noting()):
        evaluate_domains(LanguageModel.load(model), {"copy": judged(verifier)}, spec)
    first = [task.id for task in judged(ToyVerifier()).tasks("heldout")]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 10
    assert seen[0] != first[:10]
