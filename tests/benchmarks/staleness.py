"""Overlap: seconds of a GRPO step with rollouts one batch ahead of training, beside those with rollouts in turn.

The engine waits as one on another device would, without keeping the processor; the training step is a real one.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from collegium.builtin_components.engine import TransformersEngine
from collegium.component import component
from collegium.kinds.engine import Generation, SamplingParams
from collegium.testing.stages import run_toy, toy_domain, toy_job, toy_model, toy_registry

SLEEP_S = 0.2
STEPS = 16
PAIRS = 5
SIZES = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4}


class ElsewhereEngine(TransformersEngine):
    """Sample as the default engine does, after a wait."""

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingParams, seeds: Sequence[int]
    ) -> Sequence[Generation]:
        """Wait, then generate."""
        time.sleep(SLEEP_S)
        return super().generate(prompts, sampling, seeds)


def main() -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        toy_model(**SIZES).save(start)
        pairs = [[_step(Path(folder) / f"{turn}-{lag}", start, lag) for lag in (0, 1)] for turn in range(PAIRS)]
    in_turn, ahead = ([pair[lag] for pair in pairs] for lag in (0, 1))
    parts = {name: statistics.median(step[name] for step in in_turn) for name in in_turn[0]}
    ratio = statistics.median(one["step"] / other["step"] for one, other in zip(ahead, in_turn, strict=True))
    bound = max(parts["generate"], parts["step"] - parts["generate"]) / parts["step"]
    print(
        f"in turn: {parts['generate']:.2f} s generating, {parts['train']:.2f} s training, {parts['step']:.2f} s a step"
    )
    print(f"{'a step one batch ahead / in turn':<58}{ratio:>8.2f}")
    print(f"{'the same, were the overlap perfect':<58}{bound:>8.2f}")


def _step(directory: Path, start: Path, staleness: int) -> dict[str, float]:
    """Return the mean seconds of a step and of its parts, the first and last steps left out."""
    options = {
        "steps": STEPS,
        "prompts": 16,
        "group": 8,
        "micro_batch": 16,
        "staleness": staleness,
        "engine": "collegium-toy/elsewhere",
        "loss": {"use": "clipped", "importance": "tis"},
        "sampling": {"max_tokens": 4},
    }
    job = toy_job(
        "collegium-grpo/grpo", options, directory, domains=[toy_domain("copy")], inputs={"init_from": start}
    ).model_copy(update={"checkpoint_every": 10 * STEPS})
    engine = component("elsewhere", f"{__name__}:ElsewhereEngine", "An engine on another device.")
    outcome = run_toy(job, toy_registry([("engine", engine)]))
    if outcome.status != "completed":
        raise SystemExit(outcome.problem)
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()][2:-1]
    return {name: statistics.mean(row[f"time/{name}"] for row in rows) for name in ("step", "generate", "train")}


if __name__ == "__main__":
    main()
