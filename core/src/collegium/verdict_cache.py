"""A bounded cache of verdicts, keyed by everything that a verifier can see of a sample."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from collegium.task import Completion, Sample, Task
from collegium.verdict import Error, Verdict

Key = bytes


class VerdictCache:
    """The most recently used verdicts. Errors are not kept: the next attempt may succeed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.hits = 0
        self._verdicts: OrderedDict[Key, Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, keys: Sequence[Key]) -> dict[Key, Verdict]:
        """Return the verdicts that are known, and count one hit per entry of `keys` that is."""
        known: dict[Key, Verdict] = {}
        with self._lock:
            for key in keys:
                if key in self._verdicts:
                    self._verdicts.move_to_end(key)
                    known[key] = self._verdicts[key]
                    self.hits += 1
        return known

    def store(self, fresh: Mapping[Key, Verdict], *, asked: int) -> None:
        """Keep new verdicts; `asked` samples wanted them, so all but one per verdict were saved a computation."""
        with self._lock:
            self.hits += asked - len(fresh)
            self._verdicts.update((key, verdict) for key, verdict in fresh.items() if not isinstance(verdict, Error))
            while len(self._verdicts) > self.size:
                self._verdicts.popitem(last=False)


def digest_keys(samples: Sequence[Sample]) -> list[Key]:
    """Return one key per sample: equal if and only if completion and task are equal in all that a verifier can read."""
    tasks: dict[int, bytes] = {}  # samples of one group share their task object, and are alive while this runs
    keys = []
    for sample in samples:
        identity = id(sample.task)
        if identity not in tasks:
            tasks[identity] = _task_content(sample.task)
        keys.append(_digest(tasks[identity], _completion_content(sample.completion)))
    return keys


def _task_content(task: Task) -> bytes:
    return json.dumps([task.id, task.prompt, task.reference, task.data, task.domain], default=repr).encode()


def _completion_content(completion: Completion | None) -> bytes:
    if completion is None:
        return b""
    # JSON escapes lone surrogates, which a decoded completion may hold and which plain UTF-8 cannot carry.
    return json.dumps([completion.text, completion.finish_reason, completion.token_ids]).encode()


def _digest(task: bytes, completion: bytes) -> Key:
    digest = blake2b(len(task).to_bytes(8, "big"), digest_size=16)
    digest.update(task)
    digest.update(completion)
    return digest.digest()
