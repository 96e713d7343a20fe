"""The figure that shows that a stage worked, by the component that made it. All functions are pure.

A figure that the run does not hold is an error (`FigureMissing`), never a blank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tests.recipes import thresholds
from tests.recipes.finished import FigureMissing, FinishedRun
from tests.recipes.headroom import captured, generators, teachers_of
from tests.recipes.proportions import Change, change, standard_errors_above

Verdict = Literal["holds", "does not hold", "reported", "missing"]
"""`reported`: there is no threshold for this kind of stage."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one stage shows.

    Args:
        stage: The stage.
        kind: Sort of stage; the table has one line for each.
        verdict: By the thresholds.
        numbers: The figure.
        parts: Scores by domain, or by merged model.
        note: Why there is no figure, or what is special about it.
    """

    stage: str
    kind: str
    verdict: Verdict
    numbers: dict[str, float] = field(default_factory=dict)
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""

    def as_record(self) -> dict[str, Any]:
        """Return plain figures."""
        return {name: value for name, value in asdict(self).items() if value not in ({}, "")}


def figures(run: FinishedRun) -> list[Figure]:
    """Return every stage's figure, in the order of the report."""
    return [figure(run, entry["id"]) for entry in run.report["stages"]]


def figure(run: FinishedRun, stage: str) -> Figure:
    """Return a stage's figure; one that cannot be found says why, and has the verdict `missing`."""
    try:
        return _maker(run, stage)(run, stage)
    except FigureMissing as error:
        return Figure(stage, "missing", "missing", note=str(error))


def _maker(run: FinishedRun, stage: str) -> Callable[[FinishedRun, str], Figure]:
    """Return what reads the figure: a stage with teachers consolidates, whatever its component."""
    use = run.stage(stage)["use"]
    if run.nodes[stage].teachers:
        return consolidation
    if use in MAKERS:
        return MAKERS[use]
    if stage in run.rows:
        return gathered
    raise FigureMissing(f"stage {stage!r}: no figure is defined for {use}; add one to tests/recipes/figures.py")


def _verdict(holds: bool) -> Verdict:
    return "holds" if holds else "does not hold"


def reward_model(run: FinishedRun, stage: str) -> Figure:
    """Return the held-out pair accuracy against the better of chance and the length-only guess.

    Pairs of one ranking share completions, so that the standard error counts prompts: for pairs that is the same.
    """
    accuracy, by_length = (run.metric(stage, f"heldout/{name}") for name in ("accuracy", "length_accuracy"))
    pairs, prompts = (run.metric(stage, f"heldout/{name}") for name in ("pairs", "prompts"))
    chance = max(run.metric(stage, "heldout/chance"), by_length)
    above = standard_errors_above(accuracy, chance, prompts) if chance < 1 else 0.0
    numbers = {"accuracy": accuracy, "chance": chance, "standard_errors": above, "pairs": pairs, "prompts": prompts}
    return Figure(stage, "reward model", _verdict(above >= thresholds.REWARD_MODEL_STANDARD_ERRORS), numbers)


def preference(run: FinishedRun, stage: str) -> Figure:
    """Return margin and chosen log-prob per token of the held-out pairs, before and after."""
    margin_before, chosen_before = _pairs(run, stage, "heldout_before", first=True)
    margin, chosen = _pairs(run, stage, "heldout", first=False)
    collapsed = chosen_before - chosen > thresholds.CHOSEN_DROP
    numbers = {
        "margin_before": margin_before,
        "margin": margin,
        "chosen_before": chosen_before,
        "chosen": chosen,
        "collapsed": float(collapsed),
    }
    return Figure(stage, "preferences", _verdict(margin > margin_before and not collapsed), numbers)


def _pairs(run: FinishedRun, stage: str, prefix: str, *, first: bool) -> tuple[float, float]:
    """Return the margin, and the chosen completions' log-prob per token."""
    names = ("margin", "chosen_logprob", "chosen_tokens")
    margin, logprob, tokens = (run.metric(stage, f"{prefix}/{name}", first=first) for name in names)
    return margin, logprob / tokens


def reinforcement(run: FinishedRun, stage: str) -> Figure:
    """Return the score on the stage's domains against its start's."""
    found, parts = _against_start(run, stage)
    against = run.scored_start(stage)
    note = "" if against == run.start(stage) else f"against {against}, as the recipe does not evaluate its start"
    return Figure(stage, "RL", _verdict(found.above(thresholds.RL_STANDARD_ERRORS)), _numbers(found), parts, note)


def supervised(run: FinishedRun, stage: str) -> Figure:
    """Return the headroom captured where better models made the data, else the score before and after.

    A model that the recipe does not evaluate has its loss.
    """
    if not run.nodes[stage].evaluate:
        return Figure(stage, "SFT without evaluation", "reported", _losses(run, stage))
    found = captured(run, stage, generators(run, stage))
    if found.shares:
        return _consolidated(stage, found.shares, found.parts)
    compared, parts = _against_start(run, stage)
    return Figure(stage, "SFT", "reported", _numbers(compared), parts)


def consolidation(run: FinishedRun, stage: str) -> Figure:
    """Return the headroom captured by domain."""
    found = captured(run, stage, teachers_of(run, stage))
    if not found.shares:
        note = "no teacher lies above the start"
        return Figure(stage, "consolidation", "does not hold", parts=found.parts, note=note)
    return _consolidated(stage, found.shares, found.parts)


def _consolidated(stage: str, shares: Sequence[float], parts: dict[str, dict[str, float]]) -> Figure:
    numbers = {"least": min(shares), "mean": sum(shares) / len(shares), "domains": float(len(shares))}
    return Figure(stage, "consolidation", _verdict(min(shares) >= thresholds.HEADROOM), numbers, parts)


def pretraining(run: FinishedRun, stage: str) -> Figure:
    """Return the loss of the first and the last step."""
    return Figure(stage, "pretraining", "reported", _losses(run, stage))


def _losses(run: FinishedRun, stage: str) -> dict[str, float]:
    return {"loss_before": run.metric(stage, "loss", first=True), "loss": run.metric(stage, "loss")}


def merged(run: FinishedRun, stage: str) -> Figure:
    """Return the merged model's mean score against its parts' mean and best."""
    domains = run.scored(stage)

    def mean(model: str) -> float:
        return sum(run.score(model, domain).value for domain in domains) / len(domains)

    parts = {model: mean(model) for model in run.nodes[stage].inputs["average_of"]}
    numbers = {"score": mean(stage), "parts_mean": sum(parts.values()) / len(parts), "parts_best": max(parts.values())}
    return Figure(stage, "merge", "reported", numbers, {model: {"score": value} for model, value in parts.items()})


def merged_reward_model(run: FinishedRun, stage: str) -> Figure:
    """Return how far the parts lie from the merged reward model, which nothing evaluates."""
    parts = {
        model: {"distance": run.metric(stage, f"distance/{model}")} for model in run.nodes[stage].inputs["average_of"]
    }
    return Figure(stage, "merge of reward models", "reported", {"models": float(len(parts))}, parts)


def sampled(run: FinishedRun, stage: str) -> Figure:
    """Return the rows kept, and the share of completions that are right (their mean score where there is no bar)."""
    found = gathered(run, stage)
    steps = run.metrics.get(stage) or [{}]
    name = "pass@1" if "pass@1" in steps[-1] else "score"
    numbers = {**found.numbers, "sampled": float(run.stage(stage)["rollouts"]), name: run.metric(stage, name)}
    return Figure(stage, "data", "reported", numbers)


def gathered(run: FinishedRun, stage: str) -> Figure:
    """Return how many rows a data stage leaves."""
    rows = run.rows.get(stage, {})
    if not sum(rows.values()):
        raise FigureMissing(f"stage {stage!r} leaves no row of data")
    return Figure(stage, "data", "reported", {f"rows {name}": float(count) for name, count in rows.items()})


def measured(run: FinishedRun, stage: str) -> Figure:
    """Return what a stage that measures a model or a verifier says."""
    metrics = run.stage(stage)["metrics"]
    if not metrics:
        raise FigureMissing(f"stage {stage!r} reports nothing")
    return Figure(stage, "measurement", "reported", {name: float(value) for name, value in metrics.items()})


def _against_start(run: FinishedRun, stage: str) -> tuple[Change, dict[str, dict[str, float]]]:
    start = run.scored_start(stage)
    pairs = {domain: (run.score(start, domain), run.score(stage, domain)) for domain in run.scored(stage)}
    parts = {
        domain: {"before": before.value, "after": after.value, "tasks": float(after.tasks)}
        for domain, (before, after) in pairs.items()
    }
    return change(list(pairs.values())), parts


def _numbers(found: Change) -> dict[str, float]:
    return {**asdict(found), "standard_errors": found.in_standard_errors}


MAKERS: dict[str, Callable[[FinishedRun, str], Figure]] = {
    "collegium-sft/pretrain": pretraining,
    "collegium-sft/sft": supervised,
    "collegium-reward-model/reward-model": reward_model,
    "collegium-dpo/dpo": preference,
    "collegium-grpo/grpo": reinforcement,
    "collegium-ppo/ppo": reinforcement,
    "collegium-mopd/mopd": consolidation,
    "collegium-merge/merge": merged,
    "collegium-merge/merge-reward-model": merged_reward_model,
    "collegium-rejection-sampling/rejection-sampling": sampled,
    "collegium-lm-eval/lm-eval": measured,
    "collegium/audit": measured,
}
