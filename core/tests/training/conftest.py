"""Jobs of every kind of stage that trains, small and uneven, and what they come to in one process."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from collegium.job import StageJob
from collegium.launch_config import LaunchConfig
from collegium.testing.stages import Use, journal_of, run_toy, toy_domain, toy_job, toy_model

NUMBERS = ("loss", "grad_norm", "reward", "kl", "entropy", "accuracy", "margin")
STEPS = 4
WORDS = ["".join(letters) for letters in itertools.product("abcdef", repeat=3) if letters[0] != letters[2]]
"""None of these reads the same backwards."""

# Rows that ranks times micro-batches do not divide, several micro-batches per rank and several updates per batch.
SFT = {"steps": STEPS, "batch": 21, "micro_batch": 2, "row_tokens": 24, "lr": 1e-3, "warmup": 2}
GRPO = {"steps": 2, "prompts": 5, "group": 4, "micro_batch": 3, "minibatches": 2, "sampling": {"max_tokens": 6}}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("collegium-sft/sft", SFT),
    "grpo": (
        "collegium-grpo/grpo",
        {**GRPO, "lr": 1e-3, "loss": {"use": "collegium-grpo/clipped", "kl_coefficient": 0.1}},
    ),
    "mopd": (
        "collegium-mopd/mopd",
        {"steps": STEPS, "prompts": 9, "micro_batch": 2, "lr": 1e-3, "sampling": {"max_tokens": 6}},
    ),
    "dpo": ("collegium-dpo/dpo", {"steps": STEPS, "batch": 7, "micro_batch": 2, "lr": 1e-3, "heldout": 9}),
    "reward-model": (
        "collegium-reward-model/reward-model",
        {"steps": STEPS, "batch": 5, "micro_batch": 4, "lr": 1e-3, "heldout": 0.1},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class RankLab:
    """Makes jobs and remembers what one process makes of them."""

    folder: Path

    def job(
        self, kind: str, name: str, launch: LaunchConfig | None = None, *, head: str = "tied", **options: Any
    ) -> StageJob:
        """Return a job of a kind in a folder of its own; its numbers depend on neither name nor launch."""
        use, usual = KINDS[kind]
        fields: dict[str, Any] = {"id": kind, "launch": launch or LaunchConfig(), "checkpoint_every": 3}
        if kind == "mopd":
            fields["teachers"] = {
                domain: Use(use="collegium/checkpoint", options={"path": str(self.folder / f"teacher-{domain}")})
                for domain in ("copy", "reverse")
            }
        files = {"dpo": "pairs.jsonl", "reward-model": "rankings.jsonl"}
        paths = [str(self.folder / files[kind])] if kind in files else []
        data = {"data": paths if kind == "reward-model" else paths[0]} if paths else {}
        domains = [] if kind in files else [toy_domain("copy"), toy_domain("reverse")]
        return toy_job(
            use, {**usual, **data, **options}, self.folder / "jobs" / name,
            domains=domains, inputs={"init_from": self.folder / f"base-{head}"}, **fields,
        )  # fmt: skip

    def alone(self, kind: str, *, head: str = "tied", **options: Any) -> StageJob:
        """Return the finished job of one process."""
        key = hashlib.sha256(json.dumps([kind, head, options], sort_keys=True).encode()).hexdigest()[:12]
        job = self.job(kind, f"single-{kind}-{key}", head=head, **options)
        if not (Path(job.directory) / "output").exists():
            outcome = run_toy(job)
            assert outcome.status == "completed", outcome.problem
        return job

    def stopped(self, finished: StageJob, name: str, launch: LaunchConfig) -> StageJob:
        """Return a job that a finished one would be, had it been killed after its first checkpoint."""
        job = finished.model_copy(update={"directory": str(self.folder / "jobs" / name), "launch": launch})
        checkpoints = Path(finished.directory) / "checkpoints"
        first = min(checkpoints.glob("step-*"))
        shutil.copytree(first, Path(job.directory) / "checkpoints" / first.name)
        shutil.copy(Path(finished.directory) / "metrics.jsonl", Path(job.directory) / "metrics.jsonl")
        return job

    @staticmethod
    def weights(job: StageJob) -> dict[str, Tensor]:
        """Return the weights of the artifact, as they lie in its files."""
        return saved_weights(Path(job.directory) / "output" / "model")

    def base_weights(self) -> dict[str, Tensor]:
        """Return the weights that jobs start from."""
        return saved_weights(self.folder / "base-tied")

    @staticmethod
    def checkpoint(job: StageJob) -> dict[str, Any]:
        """Return the newest checkpoint's state."""
        path = max((Path(job.directory) / "checkpoints").glob("step-*")) / "state.pt"
        return dict(torch.load(path, weights_only=True))

    def assert_same(self, job: StageJob, expected: StageJob, tolerance: float = 2e-5) -> None:
        """Check that two finished jobs came to the same figures and weights."""
        ours, theirs = numbers_of(job), numbers_of(expected)
        assert len(ours) == len(theirs)
        assert len(ours) > 1
        for step, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1):
            assert one == pytest.approx(other, abs=tolerance, rel=tolerance), f"{job.directory}, step {step}"
        found, wanted = self.weights(job), self.weights(expected)
        assert found.keys() == wanted.keys()
        for name, weight in wanted.items():
            where = f"{job.directory}: {name}"
            torch.testing.assert_close(found[name], weight, atol=tolerance, rtol=tolerance, msg=where)


def numbers_of(job: StageJob) -> list[dict[str, float]]:
    """Return the figures of each step that do not depend on how the work was dealt."""
    return [{name: row[name] for name in NUMBERS if name in row} for row in journal_of(job)]


def saved_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a model's folder."""
    return {name: weight for file in folder.glob("*.safetensors") for name, weight in load_file(file).items()}


@pytest.fixture(scope="session")
def rank_lab(tmp_path_factory: pytest.TempPathFactory) -> RankLab:
    """Return a lab with models that have a tied and an untied head, teachers and data."""
    folder = tmp_path_factory.mktemp("ranks")
    domains = [toy_domain("copy", right=0.5), toy_domain("reverse", right=0.5)]
    options = {"steps": 120, "batch": 32, "lr": 3e-3, "layout": "length-grouped"}
    for head, tied in (("tied", True), ("untied", False)):
        toy_model(3, tie_word_embeddings=tied).save(folder / f"start-{head}")
        job = toy_job(
            "collegium-sft/sft", options, folder / f"sft-{head}",
            domains=domains, inputs={"init_from": folder / f"start-{head}"},
        )  # fmt: skip
        assert run_toy(job).status == "completed"
        shutil.copytree(folder / f"sft-{head}" / "output" / "model", folder / f"base-{head}")
    for seed, domain in enumerate(("copy", "reverse")):
        toy_model(10 + seed).save(folder / f"teacher-{domain}")
    _write(folder / "pairs.jsonl", [{"prompt": f"#{word}=", "chosen": word, "rejected": word[::-1]} for word in WORDS])
    rankings = [
        {"prompt": f"#{word}=", "completions": [word, word[:2] + "#", "#~#"][: 2 + index % 2]}
        for index, word in enumerate(WORDS)
    ]
    _write(folder / "rankings.jsonl", rankings)
    return RankLab(folder)


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
