"""A question asked until there is a usable answer: retries with backoff, deadline, budget and cache.

Waits are drawn uniformly below a bound that doubles ("full jitter"), so that many workers that failed together do not
come back together.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collegium_verifier_judge.answer import parse_answer
from collegium_verifier_judge.budget import Spending, Usage
from collegium_verifier_judge.cache import AnswerCache, digest_of
from collegium_verifier_judge.config import JudgeConfig
from collegium_verifier_judge.endpoint import Endpoint
from collegium_verifier_judge.failures import JudgeFailure, Repeatable
from collegium_verifier_judge.question import Question

LONGEST_BACKOFF_S = 60.0
MOST_KEPT = 500
"""Characters of the judge's reason that are kept."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A usable answer (see `parse_answer`), the usage that it took, and whether it was known already."""

    answer: Mapping[str, Any]
    usage: Usage
    cached: bool


class Asker:
    """Asks questions of one model. Safe to use from several threads."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self.endpoint = Endpoint(config)
        self.spending = Spending(config.budget)
        self.cache = AnswerCache(config.cache)
        self._closed = threading.Event()

    def close(self) -> None:
        """End waits and close what is open."""
        self._closed.set()
        self.endpoint.close()
        self.cache.close()

    def digest(self, question: Question) -> str:
        """Return what the answer is kept under: the question, the model, and how it is asked."""
        asked = self._body(question, "")
        del asked["messages"]  # they hold a token that changes; `identity` says what they are made of
        return digest_of({"question": question.identity(), "endpoint": self.config.endpoint, "request": asked})

    def ask(self, question: Question, end: float) -> Reply:
        """Return a usable answer.

        Args:
            question: What to ask.
            end: Moment (`time.monotonic`) after which it is too late.

        Raises:
            JudgeFailure: If there is none; says what happened last.
            BudgetSpent: If the budget does not allow another request.
        """
        digest = self.digest(question)
        known = self.cache.take(digest)
        if known is not None:
            return Reply(known, Usage(), cached=True)
        used: list[Usage] = []
        answer = self._ask_until_usable(question, end, random.Random(f"{self.config.seed}:{digest}"), used)
        self.cache.store(digest, answer)
        return Reply(answer, sum(used, Usage()), cached=False)

    def _ask_until_usable(
        self, question: Question, end: float, waits: random.Random, used: list[Usage]
    ) -> dict[str, Any]:
        attempt = 0
        while True:
            self.spending.take_call()
            used.append(Usage(calls=1))
            try:
                return self._attempt(question, end, used)
            except Repeatable as failed:
                self._wait(failed, attempt, waits, end)
            attempt += 1

    def _attempt(self, question: Question, end: float, used: list[Usage]) -> dict[str, Any]:
        try:
            return self._asked(question, end, used)
        except (JudgeFailure, Repeatable) as failed:
            failed.tell(self.endpoint.mask)
            raise

    def _asked(self, question: Question, end: float, used: list[Usage]) -> dict[str, Any]:
        token = question.new_token()
        seconds = min(self.config.request_s, max(0.001, end - time.monotonic()))
        reply = self.endpoint.ask(self._body(question, token), seconds)
        used.append(self.spending.add(reply.get("usage")))
        answer = parse_answer(_content(reply), question, token)
        return {**answer, "reason": self.endpoint.mask(answer["reason"])[:MOST_KEPT]}

    def _body(self, question: Question, token: str) -> dict[str, Any]:
        config = self.config
        body = {
            **config.params,
            "model": config.model,
            "messages": question.messages(token),
            "max_tokens": config.max_answer_tokens,
        }
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if config.response_format == "json_schema":
            schema = {"name": "verdict", "strict": True, "schema": question.schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif config.response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def _wait(self, failed: Repeatable, attempt: int, waits: random.Random, end: float) -> None:
        """Wait before the next attempt.

        Raises:
            JudgeFailure: If it was the last one, or the wait would outlast the item's time.
        """
        if attempt >= self.config.retries:
            raise JudgeFailure(f"{failed} (after {attempt + 1} attempts)") from failed
        bound = min(LONGEST_BACKOFF_S, self.config.backoff_s * 2**attempt)
        seconds = max(failed.wait_s, waits.uniform(0, bound))
        left = end - time.monotonic()
        if seconds >= left:
            raise JudgeFailure(
                f"{failed} (after {attempt + 1} attempts; the next, in {seconds:.3g} s, would be too late)"
            ) from failed
        if self._closed.wait(seconds):
            raise JudgeFailure(f"{failed} (closed while waiting for another attempt)") from failed


def _content(reply: Mapping[str, Any]) -> object:
    """Return the message's text.

    Raises:
        JudgeFailure: If the answer was cut, filtered or refused: asked again, it would be so again.
        Repeatable: If the reply does not have the form of a chat completion.
    """
    try:
        choice = reply["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        content, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Repeatable("the reply is no chat completion: it has the keys", said=", ".join(reply)) from None
    if finish == "length":
        raise JudgeFailure("the judge's answer was cut at max_answer_tokens (finish_reason 'length')")
    if finish not in (None, "stop"):
        raise JudgeFailure("the judge's answer did not end with finish_reason 'stop'", said=repr(finish))
    if refusal:
        raise JudgeFailure("the judge refused", said=repr(refusal))
    return content
