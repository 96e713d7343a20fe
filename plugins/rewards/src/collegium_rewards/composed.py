"""The reward source `composed`: several verifiers and reward sources as one reward.

Sources: weighted sums by domain: DeepSeek-R1 (rules for reasoning; reward models and form for the rest; the part of the
preferences late). Gated and piecewise: see `combine`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from collegium import Abstain, Completion, ConfigError, Error, RewardContext, RewardSource, Sample, Score, Verdict
from collegium.judge import Judge, RewardJudge
from collegium_rewards.combine import combined, gate_opens, shaped
from collegium_rewards.composed_config import OWNER, ComposedConfig, Part

Said: TypeAlias = dict[str, Verdict]
"""Part to its verdict on one sample."""


class ComposedReward(RewardSource):
    """Ask every part that counts for a sample, and combine what they say.

    A part's `Error` is the sample's, owned by the part's distribution. ``details["parts"]`` holds the parts' scores.
    """

    Config = ComposedConfig

    _parts: Mapping[str, Judge | RewardJudge]

    def prepare(self, context: RewardContext) -> None:
        """Build the parts.

        Raises:
            ConfigError: If the stage's edge `reward_models` gives fewer models than the parts name.
        """
        if len(context.models) < self.config.models_needed():
            raise ConfigError(
                f"composed: the parts score with {self.config.models_needed()} reward models, found "
                f"{len(context.models)}",
                fix="give the stage reward_models: [STAGE, ...]",
                owner=OWNER,
            )
        self._step = 1
        self._asked: defaultdict[str, list[float]] = defaultdict(list)
        self._parts = {
            name: context.build(part.component, part.kind, [context.models[place] for place in part.models])
            for name, part in self.config.parts.items()
        }
        self.timeout_s = sum(seconds_of(judge) for judge in self._parts.values())  # type: ignore[misc]

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Ask the gate first, then the others where it lets them; then combine."""
        counting = [self._counting(sample) for sample in batch]
        said: list[Said] = [{} for _ in batch]
        gate = self.config.gate
        if gate is not None:
            self._ask(gate, [row for row, names in enumerate(counting) if gate in names], batch, said)
        for name in self.config.parts:
            if name != gate:
                rows = [row for row, names in enumerate(counting) if name in names]
                self._ask(name, [row for row in rows if self._open(batch[row], said[row])], batch, said)
        return self._shaped([self._verdict(*each) for each in zip(batch, counting, said, strict=True)])

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Go on to the next step, and return the parts' mean scores in this one."""
        self._step = step + 1
        means = {f"part/{name}": sum(values) / len(values) for name, values in sorted(self._asked.items())}
        self._asked.clear()
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the step."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the step."""
        self._step = int(state["step"])

    def _counting(self, sample: Sample) -> list[str]:
        """Return the parts that count for a sample in this step."""
        names = self.config.per.get(sample.domain, []) if self.config.per else list(self.config.parts)
        return [name for name in names if _counts(self.config.parts[name], self._step, sample.task.mode)]

    def _ask(self, name: str, rows: Sequence[int], batch: Sequence[Sample], said: Sequence[Said]) -> None:
        if not rows:
            return
        part = self.config.parts[name]
        verdicts = self._parts[name].judge([seen_by(part, batch[row]) for row in rows])
        for row, verdict in zip(rows, verdicts, strict=True):
            said[row][name] = verdict
            if isinstance(verdict, Score):
                self._asked[name].append(verdict.value)

    def _open(self, sample: Sample, said: Said) -> bool:
        """Say whether other parts than the gate are asked."""
        verdict = said.get(self.config.gate or "")
        if verdict is None:  # there is none, or it does not count here
            return True
        about_safety = sample.domain in self.config.safety_domains or sample.task.data.get("is_safety") is True
        return isinstance(verdict, Score) and gate_opens(
            self.config.combine, verdict.value, self.config.threshold, is_safety=about_safety
        )

    def _verdict(self, sample: Sample, names: Sequence[str], said: Said) -> Verdict:
        if self.config.per and sample.domain not in self.config.per:
            return Error(f"per names no parts for domain {sample.domain!r}, only {', '.join(self.config.per)}", OWNER)
        if not names:
            of = f"domain {sample.domain!r}" + (f" in mode {sample.task.mode!r}" if sample.task.mode else "")
            return Abstain(f"no part counts in step {self._step} for {of}")
        for name, verdict in said.items():
            if isinstance(verdict, Error):
                return Error(f"part {name!r}: {verdict.reason}", verdict.owner)
        silent = {name: verdict.reason for name, verdict in said.items() if isinstance(verdict, Abstain)}
        scores = {name: verdict.value for name, verdict in said.items() if isinstance(verdict, Score)}
        if silent and (self.config.abstain == "whole" or self.config.gate in silent or not scores):
            return Abstain("; ".join(f"part {name!r}: {reason}" for name, reason in silent.items()))
        weights = {name: self.config.parts[name].weight for name in scores}
        return Score(combined(self.config.combine, scores, weights, self.config.gate), {"parts": scores})

    def _shaped(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        scores = [verdict for verdict in verdicts if isinstance(verdict, Score)]
        values = iter(shaped([score.value for score in scores], self.config.output))
        return [replace(verdict, value=next(values)) if isinstance(verdict, Score) else verdict for verdict in verdicts]


def seen_by(part: Part, sample: Sample) -> Sample:
    """Return the sample as a part sees it: of the completion what is after, or before, the text that the part names."""
    completion = sample.completion
    if completion is None or (part.after is None and part.before is None):
        return sample
    text = completion.text
    if part.after is not None:
        text = text.rpartition(part.after)[2] if part.after in text else ""
    elif part.before is not None and part.before in text:
        text = text.rpartition(part.before)[0]
    return replace(sample, completion=Completion(text, completion.finish_reason))


def seconds_of(judge: Judge | RewardJudge) -> float:
    """Return the seconds that one sample may take."""
    return judge.verifier.timeout_s if isinstance(judge, Judge) else judge.source.timeout_s


def _counts(part: Part, step: int, mode: str) -> bool:
    in_time = part.from_step <= step and (part.until_step is None or step <= part.until_step)
    return in_time and (not part.modes or mode in part.modes)
