"""The verifier `judge`: a language model's judgement by a rubric.

Pairwise comparison asks both orders, since judges prefer a place (Zheng et al., arXiv 2306.05685, section 4); a winner
counts only if both orders name it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from collegium import Abstain, Completion, ConfigError, Error, Score, Task, Verdict, Verifier
from collegium_verifier_judge.asking import Asker, Reply
from collegium_verifier_judge.budget import Usage
from collegium_verifier_judge.cache import digest_of
from collegium_verifier_judge.config import ITEM_LIMIT_S, JudgeConfig
from collegium_verifier_judge.endpoint import OWNER
from collegium_verifier_judge.failures import BudgetSpent, JudgeFailure
from collegium_verifier_judge.question import Question, prompt_as_text

VALUES = {"A": 1.0, "tie": 0.5, "B": 0.0}


class JudgeVerifier(Verifier):
    """Ask a model about each completion; see `JudgeConfig` for the three modes.

    An answer that cannot be had or used, a missing reference and a spent budget are an `Error` that says so.

    Raises:
        ConfigError: If the key's variable is not set, or the rubric or the cache cannot be read.
    """

    Config = JudgeConfig
    timeout_s = ITEM_LIMIT_S
    deterministic = False
    """Services do not promise the same answer even at temperature 0. The cache is the judge's own."""
    network: ClassVar[bool] = True
    writes_files: ClassVar[bool] = True
    """The cache, where one is named."""

    def __init__(self, config: JudgeConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._rubric = _read_rubric(self.config)
        self._asker = Asker(self.config)

    @property
    def spent(self) -> Usage:
        """What the judge has used up since it was built."""
        return self._asker.spending.total

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion."""
        end = time.monotonic() + self.config.item_s
        reference = self._reference(task)
        if self.config.mode != "pointwise" and not reference:
            return Error(f"task {task.id!r} has no reference, which mode {self.config.mode!r} needs")
        try:
            if self.config.mode == "pairwise":
                return self._compare(completion, task, reference, end)
            return self._grade(completion, task, reference, end)
        except JudgeFailure as failure:
            return Error(str(failure))
        except BudgetSpent as spent:
            return Abstain(str(spent)) if self.config.budget.when_spent == "abstain" else Error(str(spent))

    def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
        """Judge many at once, `concurrency` at a time; equal ones are judged once."""
        items = list(zip(completions, tasks, strict=True))
        keys = [self._key(*item) for item in items]
        distinct = dict(zip(keys, items, strict=True))
        with ThreadPoolExecutor(self.config.concurrency, thread_name_prefix="collegium-llm-judge") as threads:
            verdicts = dict(zip(distinct, threads.map(lambda item: self.verify(*item), distinct.values()), strict=True))
        return [verdicts[key] for key in keys]

    def close(self) -> None:
        """Close connections and cache, and end waits."""
        self._asker.close()

    def _grade(self, completion: Completion, task: Task, reference: str, end: float) -> Verdict:
        shown = [("PROMPT", prompt_as_text(task)), (_named("RESPONSE", completion), completion.text)]
        if self.config.mode == "reference":
            shown.insert(1, ("REFERENCE", reference))
        question = self._question(*shown)
        reply = self._asker.ask(question, end)
        points = float(reply.answer["points"])
        details = {"points": points, "scale": self.config.scale, "reason": reply.answer["reason"]}
        return self._score(points / self.config.scale, {**details, **self._facts(question, [reply])})

    def _compare(self, completion: Completion, task: Task, reference: str, end: float) -> Verdict:
        prompt = ("PROMPT", prompt_as_text(task))
        names = [_named(name, completion) for name in ("RESPONSE A", "RESPONSE B")]
        first = self._question(prompt, (names[0], completion.text), ("RESPONSE B", reference))
        second = self._question(prompt, ("RESPONSE A", reference), (names[1], completion.text))
        replies = [self._asker.ask(question, end) for question in (first, second)]
        values = [VALUES[replies[0].answer["winner"]], 1 - VALUES[replies[1].answer["winner"]]]
        agree = values[0] == values[1]
        if not agree and self.config.disagreement == "abstain":
            return Abstain(f"the judge's winner depends on the order: {values[0]:g} shown first, {values[1]:g} second")
        reasons = [reply.answer["reason"] for reply in replies]
        details = {"shown_first": values[0], "shown_second": values[1], "orders_agree": agree, "reasons": reasons}
        return self._score(values[0] if agree else 0.5, {**details, **self._facts(first, replies)})

    def _score(self, value: float, details: Mapping[str, Any]) -> Score:
        return Score(value if self.config.pass_at is None else float(value >= self.config.pass_at), details)

    def _reference(self, task: Task) -> str:
        """Return the reference where the mode uses one; pointwise judgement does not read it."""
        return "" if self.config.mode == "pointwise" else (task.reference or "").strip()

    def _key(self, completion: Completion, task: Task) -> str:
        """Return the digest of what the judge sees of an item, and of the task's id, which errors name."""
        response = [completion.text, completion.finish_reason]
        shown = {"response": response, "id": task.id, "prompt": task.prompt, "reference": self._reference(task)}
        return digest_of(shown)

    def _question(self, *texts: tuple[str, str]) -> Question:
        config = self.config
        return Question(config.mode, self._rubric, config.scale, texts, config.max_characters)

    def _facts(self, question: Question, replies: Sequence[Reply]) -> dict[str, Any]:
        usage = sum((reply.usage for reply in replies), Usage())
        return {
            "judge": self.config.model,
            "cached": all(reply.cached for reply in replies),
            "cut_characters": question.cut_characters,
            "usage": usage.to_json(),
        }


def _named(name: str, completion: Completion) -> str:
    return f"{name} (CUT OFF AT ITS TOKEN LIMIT)" if completion.finish_reason == "length" else name


def _read_rubric(config: JudgeConfig) -> str:
    if config.rubric_file is None:
        return str(config.rubric)
    try:
        text = config.rubric_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"rubric_file {str(config.rubric_file)!r} cannot be read: {error}",
            fix="name a UTF-8 text file",
            owner=OWNER,
        ) from error
    if not text.strip():
        raise ConfigError(f"rubric_file {str(config.rubric_file)!r} is blank", fix="write a rubric", owner=OWNER)
    return text
