"""The worker process: reads one question per line, answers in two lines, and dies rather than exceed its limits.

Lines are JSON. Question: ``{"gold", "answer", "cpu_s"}``. First reply: ``{"gold": true|false}``; if true, the second
is ``{"equal": bool, "parsed": bool}`` or ``{"problem": "..."}``.

The CPU limit is a kernel timer whose signal keeps its default action, so it ends the process even inside one long C
call (``10**10**10``), and a process whose parent has died does not outlive it either.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

MEMORY_BYTES = 4 << 30


def main() -> None:
    """Serve questions until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a library prints must not be taken for a reply
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our input
    from collegium_verifier_math import equivalence  # after the limits, and once: it takes seconds

    _reply(replies, {"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, question["cpu_s"])
        _answer(question, replies, equivalence)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _answer(question: dict[str, Any], replies: Any, equivalence: Any) -> None:
    gold_words = equivalence.words_of(question["gold"])
    gold = _guarded(equivalence.parse_gold, question["gold"])
    known = bool(gold_words) or (bool(gold) and not isinstance(gold, str))
    _reply(replies, {"gold": known})
    if not known:
        return
    if gold_words and gold_words == equivalence.words_of(question["answer"]):
        _reply(replies, {"equal": True, "parsed": True})
        return
    if equivalence.bases_differ(question["gold"], question["answer"]):
        _reply(replies, {"equal": False, "parsed": True})
        return
    answer = _guarded(equivalence.parse_answer, question["answer"])
    if isinstance(answer, str):
        _reply(replies, {"problem": answer})
    else:
        same = _guarded(lambda: bool(gold and answer) and equivalence.equal(gold, answer))
        parsed = bool(answer) or equivalence.words_of(question["answer"]) is not None
        _reply(replies, {"problem": same} if isinstance(same, str) else {"equal": same, "parsed": parsed})


def _guarded(function: Any, *arguments: Any) -> Any:
    """Call a parser; return a problem's name as text where it gives up on hostile input."""
    try:
        return function(*arguments)
    except Exception as error:  # any parser failure is the input's, and is told
        return type(error).__name__


def _reply(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    main()
