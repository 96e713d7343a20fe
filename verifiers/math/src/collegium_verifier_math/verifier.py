"""The `math` verifier: find the answer, compare plain numbers exactly, ask a worker process about the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field

from collegium import Completion, Config, Error, Score, Task, Verdict, Verifier
from collegium.kinds.perturbation import Perturbation, white_space
from collegium_verifier_math.clock import clock_time, same_time
from collegium_verifier_math.extraction import Extraction, extract, without_thinking
from collegium_verifier_math.form import (
    UNEVALUATED,
    ends_in_an_offer,
    has_work_left,
    holds_another_number,
    is_question_or_work,
    offers_several,
    written_value,
)
from collegium_verifier_math.letters import are_letters, bare_letters
from collegium_verifier_math.plain_number import last_plain_number, plain_number, single_number
from collegium_verifier_math.pool import WorkerPool
from collegium_verifier_math.units import Quantity, quantity

LONGEST_ANSWER = 2_000
"""Characters of an answer; a longer one is wrong."""
SEARCHED_TAIL = 4_000
"""Characters at the end of an unmarked completion in which `lenient` looks for an answer."""
MOST_KEPT = 200
"""Characters of an answer that are kept in a verdict's details."""


class MathConfig(Config):
    """Options of the `math` verifier."""

    mode: Literal["strict", "lenient"] = "lenient"
    """``strict`` takes only a marked answer (or a number that is the whole completion) and compares decimals exactly;
    ``lenient`` falls back on the last number or formula and lets an answer differ from a decimal reference by one part
    in a million."""
    answer_after: str | None = Field(default=None, min_length=1)
    """If given, the answer is what follows this mark's last occurrence on its line, and nothing else is looked at."""
    answer: Literal["any", "number"] = "any"
    """``number`` takes one plain number (``-3``, ``1,234.50``, or ``2/3`` in lowest terms) with nothing after it, and
    an unmarked completion only if it is nothing else: for tasks whose question, repeated, would equal the reference."""
    cpu_s: float = Field(default=3.0, gt=0, le=60)
    """CPU seconds that a worker may spend on one answer; one that takes more is wrong, with the reason in `details`."""
    workers: int = Field(default=min(2, os.cpu_count() or 1), ge=1, le=64)
    """Most worker processes; none is started before an answer needs more than plain numbers."""


@dataclass(frozen=True, slots=True)
class Question:
    """What only a worker can decide: whether `answer` equals `gold` (for the task of this id)."""

    gold: str
    answer: Extraction
    task: str


class MathVerifier(Verifier):
    """Judge whether a completion's answer equals `task.reference`: `Score` 1 or 0.

    A missing or unparseable reference is an `Error`. An answer that is missing, cannot be parsed or exceeds its limits
    is a `Score` of 0 whose details say so. Source of the symbolic rules: the `math-verify` library.
    """

    Config = MathConfig
    timeout_s = 60.0
    """The pool keeps the per-answer limit itself; this leaves room for starting a worker on a busy machine."""

    def __init__(self, config: MathConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._pool = WorkerPool(self.config.workers, self.config.cpu_s)

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion."""
        found = self._judge_in_process(completion, task)
        return self._ask(found) if isinstance(found, Question) else found

    def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
        """Judge many; those that need a worker process run on all workers at once."""
        found = [self._judge_in_process(each, task) for each, task in zip(completions, tasks, strict=True)]
        questions = [each for each in found if isinstance(each, Question)]
        if not questions:
            return [each for each in found if not isinstance(each, Question)]
        with ThreadPoolExecutor(self.config.workers) as threads:
            answers = threads.map(self._ask, questions)
            return [next(answers) if isinstance(each, Question) else each for each in found]

    def perturbations(self, completion: Completion, task: Task) -> Iterator[Perturbation]:
        """White space around an answer does not matter, nor does LaTeX's other way to write a fraction."""
        yield from white_space(completion, task)
        if "\\frac{" in completion.text:
            yield Perturbation("dfrac", completion.text.replace("\\frac{", "\\dfrac{"), changes_value=False)

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def _judge_in_process(self, completion: Completion, task: Task) -> Verdict | Question:
        """Judge what plain text and plain numbers can decide; else say what to ask a worker."""
        gold = _gold(task)
        if gold is None:
            return Error(f"task {task.id!r} has no reference answer")
        answer = self._answer(completion.text)
        if answer is None:
            return Score(0.0, {"answer": None, "why": "no answer found"})
        if len(answer.text) > LONGEST_ANSWER:
            return _zero(answer, f"the answer has more than {LONGEST_ANSWER} characters")
        if why := self._fault_of_form(gold, answer):
            return _zero(answer, why)
        return self._compare(gold, answer, task)

    def _compare(self, gold: str, answer: Extraction, task: Task) -> Verdict | Question:
        """Compare times, quantities and plain numbers; else ask."""
        if (time := clock_time(gold)) is not None and (found_time := clock_time(answer.text)) is not None:
            return Score(float(same_time(time, found_time)), _details(answer))
        if (wanted := quantity(gold)) is not None and (found := quantity(answer.text)) is not None:
            return self._compare_quantities(wanted, found, answer, task)
        if are_letters(gold, answer.text):
            return Score(float(bare_letters(gold) == bare_letters(answer.text)), _details(answer))
        value = written_value(answer.text) if plain_number(gold) is not None and answer.how != "whole" else None
        asked = answer if value is None else replace(answer, text=value)
        return self._compare_numbers(gold, asked) or Question(gold, asked, task.id)

    def _compare_quantities(
        self, gold: Quantity, answer: Quantity, found: Extraction, task: Task
    ) -> Verdict | Question:
        """Compare what stands before two known units."""
        if gold.dimension != answer.dimension:
            return _zero(found, f"the unit is one of {answer.measures}, the reference's of {gold.measures}")
        bare = replace(found, text=answer.number)
        if gold.size == answer.size:
            return self._compare_numbers(gold.number, bare) or Question(gold.number, bare, task.id)
        expected, value = plain_number(gold.number), plain_number(answer.number)
        if expected is None or value is None:
            return _zero(found, "the unit is of another size, and only plain numbers are converted")
        return self._score(expected * gold.size, value * answer.size, found)

    def _fault_of_form(self, gold: str, answer: Extraction) -> str | None:
        """Say why the answer is wrong whatever its value; None if its value decides."""
        if self.config.answer == "number":
            if single_number(answer.text) is None:
                return "the answer is not one plain number"
            if answer.after:
                return "more text follows the answer"
        if offers_several(answer.text, gold) and answer.how != "whole":
            return "the answer offers several"
        value = plain_number(gold)
        if value is None or written_value(answer.text) is not None:
            other = value is not None and holds_another_number(answer.text, value)
            return "the equation holds another number" if other else None
        if answer.how == "whole":
            return UNEVALUATED if is_question_or_work(answer.text) else None
        return UNEVALUATED if answer.how == "boxed" or has_work_left(answer.text) else None

    def _answer(self, text: str) -> Extraction | None:
        found = extract(text, self.config.answer_after)
        if found is not None and found.text:
            return found
        if self.config.answer_after is not None:
            return None
        body = without_thinking(text).strip()
        if ends_in_an_offer(body[-SEARCHED_TAIL:]):
            return None
        if self.config.answer == "number":
            return Extraction(body, "whole") if body else None
        if self.config.mode == "strict":
            return Extraction(body, "whole") if plain_number(body) is not None else None
        number = last_plain_number(body)
        if number is not None:
            return Extraction(number, "last number")
        return Extraction(body[-SEARCHED_TAIL:][-LONGEST_ANSWER:], "whole") if body else None

    def _compare_numbers(self, gold: str, answer: Extraction) -> Verdict | None:
        expected, found = plain_number(gold), plain_number(answer.text)
        return None if expected is None or found is None else self._score(expected, found, answer)

    def _score(self, expected: Fraction, found: Fraction, answer: Extraction) -> Score:
        same = found == expected
        if self.config.mode == "lenient" and expected.denominator > 1:
            same = abs(found - expected) * 1_000_000 <= abs(expected)
        return Score(float(same), _details(answer))

    def _ask(self, question: Question) -> Verdict:
        answer = question.answer
        outcome = self._pool.ask(question.gold, answer.text)
        if outcome.kind == "gold":
            return Error(f"reference {question.gold[:MOST_KEPT]!r} of task {question.task!r}: {outcome.note}")
        if outcome.kind == "failed":
            return Error(outcome.note)
        if outcome.kind == "answer":
            return _zero(answer, outcome.note)
        if not outcome.parsed:
            return _zero(answer, "the answer cannot be parsed")
        return Score(float(outcome.equal), _details(answer))


def _gold(task: Task) -> str | None:
    """Return the reference answer: the marked part of a worked solution, or all of it; None if there is none."""
    text = (task.reference or "").strip()
    if not text or len(text) > 50 * LONGEST_ANSWER:
        return None
    marked = extract(text) if "####" in text or "\\boxed" in text else None
    return (marked.text if marked else text[-LONGEST_ANSWER:]) or None


def _details(answer: Extraction) -> dict[str, str]:
    return {"answer": answer.text[:MOST_KEPT], "found_by": answer.how}


def _zero(answer: Extraction, why: str) -> Score:
    return Score(0.0, {**_details(answer), "why": why})
