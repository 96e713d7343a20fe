"""Progress while a run goes on: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as RemainingColumn

from collegium.job import StageEvent

SHOWN = {
    "loss": "loss {:.3f}",
    "reward": "reward {:.3f}",
    "kl": "KL {:.4f}",
    "time/tokens_per_second": "{:,.0f} tokens/s",
}
"""Step metrics to show, and how."""
LINE_EVERY = 15.0
"""Seconds between a stage's lines where there is no terminal."""


class ProgressDisplay:
    """Shows each running stage: step, reward or loss, KL, tokens/s, time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            RemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._last_line: dict[str, float] = {}

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._bars.stop()

    def __call__(self, event: StageEvent) -> None:
        """Take one event."""
        if event.kind == "step":
            self._step(event)
        elif event.kind == "started":
            self._say(f"{event.stage}: started")
        elif event.kind == "evaluated":
            if event.text:  # the run's own word, after the worker's
                self._end(event)
        else:
            self._say(f"{event.stage}: {event.text}")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def _step(self, event: StageEvent) -> None:
        facts = describe(event.metrics)
        if self.console.is_terminal:
            if event.stage not in self._tasks:
                self._tasks[event.stage] = self._bars.add_task(event.stage, total=event.total, facts="")
            self._bars.update(self._tasks[event.stage], completed=event.step, total=event.total, facts=facts)
            return
        now = time.monotonic()
        began, first = self._begun.setdefault(event.stage, (now, event.step))
        if event.step == event.total or now - self._last_line.get(event.stage, began) >= LINE_EVERY:
            self._last_line[event.stage] = now
            done = event.step - first
            left = (now - began) / done * (event.total - event.step) if done else None
            remaining = f", {left:.0f} s left" if left else ""
            self._say(f"{event.stage}: step {event.step}/{event.total}, {facts}{remaining}")

    def _end(self, event: StageEvent) -> None:
        if event.stage in self._tasks:
            self._bars.remove_task(self._tasks.pop(event.stage))
        scores = ", ".join(f"{domain} {score:.3f}" for domain, score in event.metrics.items())
        self._say(f"{event.stage}: {event.text}{f'; held out: {scores}' if scores else ''}")


def describe(metrics: Mapping[str, float]) -> str:
    """Return the shown metrics in words."""
    return ", ".join(form.format(metrics[name]) for name, form in SHOWN.items() if name in metrics)
