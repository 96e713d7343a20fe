"""Evaluation: one greedy completion per held-out task, judged by the domain's own verifier."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from collegium.builtin_components.engine import TransformersEngine
from collegium.errors import DataError, VerifierError
from collegium.job import EvaluationSpec
from collegium.kinds.engine import Engine
from collegium.task import Sample
from collegium.training.context import Domain
from collegium.training.episodes import play, settle
from collegium.training.generation import to_completion
from collegium.training.language_model import LanguageModel
from collegium.verdict import Abstain, Error, Score, Verdict


@dataclass(frozen=True, slots=True)
class DomainScore:
    """How a model did in one domain.

    Args:
        score: Mean of the scores given, in [0, 1]; samples without one are in no mean.
        tasks: Held-out tasks asked.
        abstained: Tasks on which the verifier had no opinion.
        errors: Tasks whose judging failed.
        truncated: Tasks whose completion was cut at the token limit.
    """

    score: float
    tasks: int
    abstained: int
    errors: int
    truncated: int


def evaluate_model(
    path: str, domains: Mapping[str, Domain], spec: EvaluationSpec, engine: Engine | None = None
) -> dict[str, float]:
    """Return each domain's held-out score of the model in a folder; `evaluate_domains` tells more."""
    policy = LanguageModel.load(path)
    return {name: result.score for name, result in evaluate_domains(policy, domains, spec, engine).items()}


def evaluate_domains(
    policy: LanguageModel, domains: Mapping[str, Domain], spec: EvaluationSpec, engine: Engine | None = None
) -> dict[str, DomainScore]:
    """Evaluate a model on every domain.

    Raises:
        DataError: If a held-out set is empty.
        VerifierError: If a domain's verifier scored nothing.
    """
    engine = engine or TransformersEngine()
    engine.sync(policy, 0)
    found = {name: _evaluate(policy, domain, spec, engine) for name, domain in domains.items()}
    return {name: score for name, score in found.items() if score is not None}


def _evaluate(policy: LanguageModel, domain: Domain, spec: EvaluationSpec, engine: Engine) -> DomainScore | None:
    """Return a domain's score; None if an error budget of its is spent and the recipe quarantines the domain."""
    tasks = domain.tasks("heldout")
    if spec.limit is not None and spec.limit < len(tasks):  # not the first ones, which may be of one sort
        chosen = random.Random(0).sample(range(len(tasks)), spec.limit)
        tasks = [tasks[index] for index in sorted(chosen)]
    if not tasks:
        raise DataError(
            f"domain {domain.name!r}: evaluation.limit {spec.limit} leaves no held-out task", fix="raise it"
        )
    hosts = {} if domain.environment is None else {domain.name: domain.environment}
    samples: list[Sample] = []
    known: list[Verdict | None] = []
    for start in range(0, len(tasks), spec.batch):
        chunk = tasks[start : start + spec.batch]
        prompts = [policy.prompt_ids(task) for task in chunk]
        played = play(engine, policy, chunk, prompts, spec.sampling, range(start, start + len(prompts)), hosts)
        completions = [to_completion(each.generation, policy.tokenizer, policy.stop_ids) for each in played]
        fresh = [Sample(task, completion) for task, completion in zip(chunk, completions, strict=True)]
        samples, known = samples + fresh, known + settle(fresh, played, hosts)
    judged = iter(domain.judge.judge([sample for sample, verdict in zip(samples, known, strict=True) if not verdict]))
    verdicts = [verdict or next(judged) for verdict in known]
    guards = [domain.judge, *hosts.values()]
    return None if any(each.quarantined for each in guards) else _summarise(domain, samples, verdicts, spec.min_scored)


def _summarise(domain: Domain, samples: list[Sample], verdicts: list[Verdict], min_scored: float) -> DomainScore:
    scores = [verdict.value for verdict in verdicts if isinstance(verdict, Score)]
    if not scores or len(scores) < min_scored * len(samples):
        other = next(verdict for verdict in verdicts if not isinstance(verdict, Score))
        raise VerifierError(
            f"domain {domain.name!r}: {len(scores) or 'none'} of {len(samples)} held-out completions got a score, at "
            f"least {min_scored:.0%} must; the first other verdict: {other}",
            fix="check the verifier and the fields of the domain's tasks",
            owner=domain.judge.owner,
        )
    return DomainScore(
        score=sum(scores) / len(scores),
        tasks=len(samples),
        abstained=sum(isinstance(verdict, Abstain) for verdict in verdicts),
        errors=sum(isinstance(verdict, Error) for verdict in verdicts),
        truncated=sum(s.completion is not None and s.completion.finish_reason == "length" for s in samples),
    )
