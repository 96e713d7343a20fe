"""Exercise a component: the same inputs in every process, and its outputs in a form that can be compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from collegium.component import Kind
from collegium.environment_host import EnvironmentHost
from collegium.job import ErrorPolicy
from collegium.judge import Judge
from collegium.kinds.environment import Environment
from collegium.kinds.reward import RewardConfig, RewardContext
from collegium.kinds.verifier import Verifier
from collegium.task import Completion, Sample, Task
from collegium.testing.conformance.inputs import DEFAULT_TASK, HOSTILE, domain_samples, task_pools
from collegium.testing.reward_context import InstalledParts
from collegium.time_limit import CallFailed, TimeLimitExceeded, call_within
from collegium.verdict import Abstain, Error, Score, Verdict

if TYPE_CHECKING:
    from collegium.testing.conformance.subject import Subject

Item: TypeAlias = tuple[Completion, Task]
Outcome: TypeAlias = list[Any]
"""``["score", value]``, ``["abstain"]``, ``["error"]``, or what is wrong, such as ``["raised", "ValueError"]``."""

DOMAINS = ("math", "code", "math", "law", "math", "code")
TOKENS = (10, 200, 3, 50, 1, 7)


def tasks_of(subject: Subject) -> list[Task]:
    """Return the tasks of the cases, or one task where there are none."""
    return [case.as_task() for case in subject.cases] or [DEFAULT_TASK]


def labelled_items(subject: Subject) -> list[Item]:
    """Return the cases as they are, or one right answer where there are none."""
    cases = [(Completion(case.completion), case.as_task()) for case in subject.cases]
    return cases or [(Completion("4"), DEFAULT_TASK)]


def hostile_items(subject: Subject, texts: Mapping[str, str] = HOSTILE) -> list[Item]:
    """Return hostile completions of the first task."""
    return [(Completion(text), tasks_of(subject)[0]) for text in texts.values()]


def mixed_items(subject: Subject) -> list[Item]:
    """Return cases and hostile completions by turns, so that a bad item stands before a good one."""
    good, bad = labelled_items(subject)[:16], hostile_items(subject)
    mixed = [item for pair in zip(bad, good, strict=False) for item in pair]
    return mixed + bad[len(good) :] + good[len(bad) :] + good[:1]


def outcome_of(verdict: object) -> Outcome:
    """Return a verdict in comparable form; details and reasons may differ from call to call."""
    if isinstance(verdict, Score):
        try:
            return ["score", float(verdict.value)]
        except (TypeError, ValueError):
            return ["not a verdict", f"Score({verdict.value!r})"]
    if isinstance(verdict, Abstain):
        return ["abstain"]
    return ["error"] if isinstance(verdict, Error) else ["not a verdict", type(verdict).__name__]


def judge(verifier: Verifier, item: Item) -> Outcome:
    """Judge one item in a worker thread under the verifier's own time limit, as the core does."""
    try:
        return outcome_of(call_within(verifier.timeout_s, lambda: verifier.verify(*item)))
    except TimeLimitExceeded:
        return ["not in time", verifier.timeout_s]
    except CallFailed as failed:
        return ["raised", type(failed.cause).__name__]


def judge_batch(verifier: Verifier, items: Sequence[Item]) -> Sequence[Verdict]:
    """Judge items by one call of `verify_batch`, in a worker thread.

    Raises:
        CallFailed: If it raises.
        TimeLimitExceeded: If it takes longer than all items may.
    """
    completions, tasks = [item[0] for item in items], [item[1] for item in items]
    seconds = verifier.timeout_s * max(1, len(items))
    return call_within(seconds, lambda: verifier.verify_batch(completions, tasks))


def reward_samples(subject: Subject) -> list[Sample]:
    """Return groups of completions: cases, or right and wrong answers of one task, with hostile ones."""
    samples = [case.as_sample(group) for group, case in enumerate(subject.cases)]
    tasks = tasks_of(subject)
    bad = [Sample(tasks[0], completion, len(tasks)) for completion, _ in hostile_items(subject)[:4]]
    return samples + [Sample(tasks[0], Completion(text), len(tasks)) for text in ("4", "5")] + bad


class _Exact(Verifier):
    """Stands in for each domain's verifier when a reward source asks one."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        return Score(float(completion.text.strip() == (task.reference or "").strip()))


def reward_context(samples: Sequence[Sample]) -> RewardContext:
    """Return judges by exact match for the domains of the samples."""
    policy = ErrorPolicy(budget=1.0)
    domains = {sample.domain for sample in samples}
    judges = {each: Judge(_Exact(), owner="collegium", name="exact", policy=policy, domain=each) for each in domains}
    return InstalledParts(judges).context


def router_samples(subject: Subject) -> list[Sample]:
    """Return samples of several domains, and those of the cases."""
    return domain_samples() + [case.as_sample() for case in subject.cases]


def route(router: Any, sample: Sample) -> Outcome:
    """Route one sample; having no teacher for it is an outcome, too."""
    try:
        found = router.route(sample)
    except LookupError:
        return ["no teacher"]
    return ["weights", dict(found)] if isinstance(found, Mapping) else ["teacher", found]


def _verifier(subject: Subject, instance: Any) -> list[Any]:
    return [judge(instance, item) for item in mixed_items(subject)]


def _reward(subject: Subject, instance: Any) -> list[Any]:
    if isinstance(instance.config, RewardConfig) and instance.config.models_needed():
        return []  # the kit has no reward model: whoever checks names some in the options
    samples = reward_samples(subject)
    instance.prepare(reward_context(samples))
    return [outcome_of(verdict) for verdict in instance.score(samples)]


def _router(subject: Subject, instance: Any) -> list[Any]:
    return [route(instance, sample) for sample in router_samples(subject)]


def _sampler(_: Subject, instance: Any) -> list[Any]:
    instance.start(task_pools())
    return [[task.id for task in instance.draw(count, random.Random(seed))] for seed, count in enumerate((1, 4, 40))]


def _weighter(_: Subject, instance: Any) -> list[Any]:
    return [float(weight) for weight in instance.weights(DOMAINS, TOKENS)]


def _task(_: Subject, instance: Any) -> list[Any]:
    splits = [
        [task.id, task.prompt_text, task.reference] for split in ("train", "heldout") for task in instance.tasks(split)
    ]
    return splits + [[each.task.id, each.text] for each in instance.demonstrations()]


def hosted(environment: Environment, policy: ErrorPolicy) -> EnvironmentHost:
    """Return an environment as the core calls it."""
    return EnvironmentHost(environment, owner="collegium", name="subject", policy=policy, domain="conformance")


def _environment(subject: Subject, instance: Any) -> list[Any]:
    host, said = hosted(instance, ErrorPolicy(budget=1.0)), []
    for episode, text in [(host.open([tasks_of(subject)[0]])[0], text) for text in HOSTILE.values()]:
        answer = episode if isinstance(episode, Error) else host.reply([(episode, text)])[0]
        said.append(["error"] if isinstance(answer, Error) else ["reply", answer])
    return said


_EXERCISES: dict[Kind, Callable[[Subject, Any], list[Any]]] = {
    "verifier": _verifier,
    "reward": _reward,
    "router": _router,
    "sampler": _sampler,
    "weighter": _weighter,
    "task": _task,
    "environment": _environment,
}
EXERCISED = tuple(_EXERCISES)
"""Kinds that can be exercised without torch."""


def exercise(subject: Subject, instance: Any) -> list[Any]:
    """Return what an instance gives for the kind's inputs, as JSON; empty for kinds that are not exercised."""
    function = _EXERCISES.get(subject.kind)
    return [] if function is None else function(subject, instance)
