"""Run a stage as a worker runs it, on toy domains and with real components: for tests of stage plugins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from collegium.component import Component, Kind, Use, component
from collegium.job import DomainSpec, EvaluationSpec, InputArtifact, StageEvent, StageJob, StageOutcome
from collegium.kinds.engine import SamplingParams
from collegium.plugins.discovery import PluginRecord, discover
from collegium.plugins.registry import Registry
from collegium.testing.toy_domain import ALPHABET
from collegium.training.execute import run_job
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec

TOY = "collegium-toy"
TOY_COMPONENTS: tuple[tuple[Kind, Component], ...] = (
    ("task", component("toy", "collegium.testing.toy_domain:ToyTasks", "Copy or reverse a word.")),
    ("verifier", component("toy", "collegium.testing.toy_domain:ToyVerifier", "Exact match.")),
    ("environment", component("toy", "collegium.testing.toy_domain:ToyEnvironment", "Says letters backwards.")),
)
TOY_MODEL: dict[str, Any] = {
    "architecture": "llama",
    "sizes": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    },
    "tokenizer": {"characters": ALPHABET},
}
"""Options of a model of some twenty thousand weights."""


def toy_model(seed: int = 0, **sizes: Any) -> LanguageModel:
    """Return a toy model with random weights.

    Args:
        seed: Of its weights.
        sizes: What differs from `TOY_MODEL`'s sizes.
    """
    return initialise(ModelSpec(**{**TOY_MODEL, "sizes": {**TOY_MODEL["sizes"], **sizes}}), seed)


def toy_registry(more: Sequence[tuple[Kind, Component]] = ()) -> Registry:
    """Return the installed plugins together with the toy domain and further components of a test."""
    manager, records = discover()
    toy = PluginRecord(TOY, "0", __name__, "loaded", components=(*TOY_COMPONENTS, *more))
    return Registry(manager, [*records, toy])


def toy_domain(
    name: str, verifier: Mapping[str, Any] | None = None, environment: Mapping[str, Any] | None = None, **options: Any
) -> DomainSpec:
    """Return a toy domain, ready for a job; with the toy environment if its options are given."""
    return DomainSpec(
        name=name,
        task=Use(use=f"{TOY}/toy", options={"operation": name, **options}),
        verifier=Use(use=f"{TOY}/toy", options=dict(verifier or {})),
        environment=None if environment is None else Use(use=f"{TOY}/toy", options=dict(environment)),
    )


def toy_job(
    use: str,
    options: Mapping[str, Any],
    directory: Path,
    *,
    domains: Sequence[DomainSpec],
    inputs: Mapping[Any, str | Path] | None = None,
    evaluate: bool = False,
    **fields: Any,
) -> StageJob:
    """Return a stage job in a folder.

    Args:
        use: Full id of the stage.
        options: Its options.
        directory: Where it runs.
        domains: What it trains on (and is evaluated on, if `evaluate`).
        inputs: Edge to the one folder it gives.
        evaluate: Whether to evaluate on the domains.
        fields: Further fields of the job.
    """
    named = {domain.name: domain for domain in domains}
    edges = {edge: [InputArtifact(source=str(edge), path=str(path))] for edge, path in (inputs or {}).items()}
    base: dict[str, Any] = {
        "id": directory.name,
        "use": use,
        "options": dict(options),
        "seed": 1,
        "domains": named,
        "evaluate_on": named if evaluate else {},
        "evaluation": EvaluationSpec(sampling=SamplingParams(max_tokens=8, temperature=0.0)),
        "inputs": edges,
        "directory": str(directory),
    }
    return StageJob(**{**base, **fields})


def run_toy(job: StageJob, registry: Registry | None = None, events: list[StageEvent] | None = None) -> StageOutcome:
    """Run a job in this process as a worker does."""
    return run_job(job, registry or toy_registry(), (events if events is not None else []).append)


def run_and_kill(job: StageJob, step: int) -> int:
    """Run a job in a process of its own that is killed (SIGKILL) once a step is reported; return its exit code, -9."""
    file = Path(job.directory).with_suffix(".job.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(job.model_dump_json())
    command = [sys.executable, "-m", __name__, str(file), str(step)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def journal_of(job: StageJob) -> list[dict[str, Any]]:
    """Return the job's metrics, step by step, without what depends on the clock."""
    rows = [json.loads(line) for line in (Path(job.directory) / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def weights_of(job: StageJob) -> dict[str, Tensor]:
    """Return the weights of the model that the job left."""
    return LanguageModel.load(Path(job.directory) / "output" / "model").model.state_dict()


def kill_after(job: StageJob, step: int) -> None:
    """Run a job and kill this process, without any clean-up, once a step is reported; never returns.

    Call it in a process of its own, as `run_and_kill` does: ``python -m collegium.testing.stages JOB.json STEP``.
    """

    def listen(event: StageEvent) -> None:
        if event.kind == "step" and event.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    outcome = run_job(job, toy_registry(), listen)
    raise SystemExit(f"the stage ended before step {step}: {outcome}")


if __name__ == "__main__":
    kill_after(StageJob.model_validate_json(Path(sys.argv[1]).read_text()), int(sys.argv[2]))
