"""A small pool of warm sandboxes, safe to use from several threads."""

from __future__ import annotations

import queue
import threading
from typing import Any

from collegium import VerifierError
from collegium_verifier_code.hints import OWNER
from collegium_verifier_code.inside.limits import Limits
from collegium_verifier_code.worker import Worker, WorkerLost


class Pool:
    """Warm sandboxes that items are handed to.

    Args:
        size: How many.
        limits: What each submission may use.

    Raises:
        VerifierError: If the sandbox cannot be made here.
    """

    def __init__(self, size: int, limits: Limits) -> None:
        self.size, self._limits = size, limits
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._all: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        try:
            for _ in range(size):
                self._idle.put(self._start())
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Process ids of the sandboxes, as they are now."""
        with self._lock:
            return [worker.pid for worker in self._all]

    def judge(self, item: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Judge an item in an idle sandbox, waiting for one if need be.

        A sandbox that dies under an item is replaced and the item tried once more.

        Returns:
            The grader's report; ``{"error": why}`` where there is none.
        """
        problem = ""
        for _ in range(2):
            worker = self._idle.get()
            try:
                report = worker.judge(item, limit_s)
            except TimeoutError:
                self._replace(worker)
                return {"checks": [], "total": 1, "cause": f"timed out: no verdict within {limit_s:g} s"}
            except WorkerLost as error:
                problem = str(error)
                self._replace(worker)
            except BaseException:
                self._replace(worker)
                raise
            else:
                self._idle.put(worker)
                return report
        return {"error": f"two sandboxes in a row ended under this item: {problem}"}

    def close(self) -> None:
        """End all sandboxes and wait until they have ended."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.close()

    def _start(self) -> Worker:
        worker = Worker(self._limits)
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker
        worker.close()
        raise VerifierError(
            "the verifier was closed while it was at work", fix="close it after its last batch", owner=OWNER
        )

    def _replace(self, worker: Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.close()
        self._idle.put(self._start())
