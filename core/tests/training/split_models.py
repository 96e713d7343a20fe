"""One rank of `test_waiting.py`: loads models that fsdp2 splits, and writes down what it has of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from collegium.launch_config import LaunchConfig
from collegium.testing.stages import TOY_MODEL
from collegium.training import waiting
from collegium.training.distributed import end_world, start_world, world
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.reference import Reference
from collegium.training.scalar_head import ScalarHeadModel
from collegium.training.trainer import Trainer

SCALAR = ("model-tied", "model-gpt2")
TOKENS = torch.tensor([[2, 3, 4, 5, 6], [7, 8, 9, 2, 3]])
BLOCK = 1000
"""Bytes: most weights go out in several blocks, which do not divide them."""


@contextmanager
def sent() -> Iterator[list[int]]:
    """Collect the bytes that the first rank has on its device to be sent, call by call."""
    scatter, sizes = dist.scatter, []

    def noted(got: torch.Tensor, parts: Any, **options: Any) -> Any:
        sizes.append(got.nbytes + sum(part.nbytes for part in parts or ()))
        return scatter(got, parts, **options)

    dist.scatter = noted
    try:
        yield sizes
    finally:
        dist.scatter = scatter


@torch.no_grad()
def look_at(policy: LanguageModel) -> dict[str, Any]:
    """Return what this rank has, and what all of them have together."""
    own = {name: weight for name, weight in policy.model.named_parameters()}
    return {
        "split": all(isinstance(weight.data, DTensor) for weight in own.values()),
        "kept": sum(weight.to_local().numel() for weight in own.values()),
        "meta": [name for name, each in (*own.items(), *policy.model.named_buffers()) if each.is_meta],
        "tied": policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight,
        "buffers": {name: buffer.clone() for name, buffer in policy.model.named_buffers()},
        "states": policy.hidden_states(TOKENS, None),
        "head": policy.copy_of_head(),
        "weights": policy.state_dict(),
        "dtype": str(policy.compute_dtype),
        "stop": policy.stop_ids,
        "waits": policy.waiting is not None,
    }


def read_only(path: Path, dtype: torch.dtype | str = torch.float32) -> dict[str, Any]:
    policy = LanguageModel.load(path, dtype=dtype)
    before = {
        "device": str(policy.device),
        "has": policy.waiting is not None and policy.waiting.source is not None,
        "packs": policy.can_pack(8),
        "vocabulary": policy.vocabulary,
    }
    with sent() as sizes:
        found = look_at(policy.split())
    return {**found, "before": before, "sent": max(sizes)}


def trained(policy: LanguageModel, folder: Path | None = None) -> dict[str, Any]:
    """Return what a policy is after `Trainer` took it; save it as a stage does."""
    trainer = Trainer(policy, OptimizerConfig(), 1)
    found = {**look_at(policy), "checkpoint": trainer.state_dict()["model"]}
    if folder is not None and world().is_main:
        policy.save(folder, found["weights"])
    return found


def scored(policy: ScalarHeadModel, folder: Path) -> dict[str, Any]:
    """Return what a model with a scalar head is before and after `Trainer` took it; save it as a stage does."""
    before = {"has": policy.waiting is not None and policy.waiting.source is not None, "packs": policy.can_pack(8)}
    with sent() as sizes:
        Trainer(policy, OptimizerConfig(), 1)
    own = dict(policy.model.named_parameters())
    found = {
        "before": before,
        "sent": max(sizes),
        "split": all(isinstance(weight.data, DTensor) for weight in own.values()),
        "kept": sum(weight.to_local().numel() for weight in own.values()),
        "weights": policy.state_dict(),
        "states": policy.hidden_states(TOKENS, None).detach(),
    }
    if world().is_main:
        policy.save(folder, found["weights"])
    world().barrier()
    return found


def alone(path: Path) -> dict[str, Any]:
    """Let one rank use a model that nothing splits."""
    if world().is_main:
        return {}
    policy = LanguageModel.load(path)
    return {"states": policy.hidden_states(TOKENS, None), "weights": policy.state_dict()}


def refreshed(start: Path, other: Path) -> dict[str, Any]:
    """Return a reference that took the weights of a split policy, and one that took its state from a file."""
    policy = LanguageModel.load(other)
    reference = Reference(str(start), policy, refresh_every=1)
    Trainer(policy, OptimizerConfig(), 1)
    before = look_at(reference.model)
    reference.before_step(2)
    state = world().from_main(reference.state_dict())
    resumed = Reference(str(start), policy, refresh_every=1)
    resumed.load_state_dict(state)
    return {"before": before, "after": look_at(reference.model), "resumed": look_at(resumed.model)}


def main(folder: Path, size: int) -> None:
    torch.set_num_threads(1)
    start_world(LaunchConfig(strategy="fsdp2", processes=size))
    waiting.BLOCK = BLOCK
    models = {path.name: path for path in sorted(folder.glob("model-*"))}
    found: dict[str, Any] = {name: read_only(path, "auto") for name, path in models.items()}
    found["trained"] = trained(LanguageModel.load(models["model-experts"]), folder / "saved-experts")
    found["scratch"] = trained(initialise(ModelSpec(**TOY_MODEL), 5))
    for name in SCALAR:
        new = ScalarHeadModel.from_checkpoint(models[name], head="new", seed=7)
        found[f"new-{name}"] = scored(new, folder / f"scalar-{name}")
        old = ScalarHeadModel.from_checkpoint(folder / f"scalar-{name}")
        found[f"old-{name}"] = scored(old, folder / f"again-{name}")
    found["alone"] = alone(models["model-tied"])
    found["refreshed"] = refreshed(models["model-tied"], models["model-other"])
    torch.save(found, folder / f"rank-{world().rank}.pt")
    end_world()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
