"""DeepSpeed ZeRO through `accelerate`: the optimizer's state (1), gradients (2) and weights (3) split over the ranks.

Source: ZeRO (arXiv 1910.02054); offload: ZeRO-Offload (arXiv 2101.06840).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DeepSpeedPlugin
from torch import Tensor, nn
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from collegium.errors import PluginNotFound, PolicyError
from collegium.training.distributed import World
from collegium.training.language_model import LanguageModel
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.strategy import MOMENTS, OptimizerState, adamw, low_precision, named_trained

BUCKET = 500_000_000
"""Numbers that the ranks add up at once, for which ZeRO-3 keeps a buffer; no more than there are weights."""
STALE_S = 600
"""Seconds after which the lock of a build is that of a process which died."""


class Zero:
    """The strategies ``zero1``, ``zero2`` and ``zero3``.

    Args:
        policy: Its forward pass is wrapped; with ``zero3`` its weights are split in place.
        config: Of the optimizer.
        world: The ranks.
    """

    def __init__(self, policy: LanguageModel, config: OptimizerConfig, world: World) -> None:
        if find_spec("deepspeed") is None:
            raise PluginNotFound(
                f"the strategy {world.launch.strategy!r} needs DeepSpeed, which is not installed",
                fix="DS_BUILD_OPS=0 pip install --no-build-isolation 'collegium[deepspeed]'",
            )
        use_own_extensions()
        self.policy = policy
        self.world = world
        self.splits_weights = world.launch.strategy == "zero3"
        _ = policy.vocabulary, policy.width, policy.can_pack(2)
        policy.compute_dtype = low_precision(config) or policy.model.dtype
        buffers = {name: buffer.clone() for name, buffer in policy.model.named_buffers()}
        self._frozen = frozen(policy) if config.precision != "float32" else {}
        self.accelerator = accelerator_for(
            config, world, sum(weight.numel() for weight in policy.parameters()), on_cpu=policy.device.type == "cpu"
        )
        forward = policy.forward_module
        self.named = dict(named_trained(policy))
        head = policy.head
        engine, self.optimizer = self.accelerator.prepare(forward, adamw(policy, config))
        for name, buffer in policy.model.named_buffers():
            buffer.data = buffers[name]  # DeepSpeed rounds them too, such as the rotary frequencies
        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]  # models loaded from here on stay whole
        self.engine: Any = engine
        policy.forward_module = engine
        if self.splits_weights:
            import deepspeed

            deepspeed.zero.register_external_parameter(forward, head)
        policy.shards = self
        self._check()

    def _check(self) -> None:
        """Check that DeepSpeed splits what it should over all ranks.

        Raises:
            PolicyError: If it does not: each rank would train alone.
        """
        import torch.distributed as dist

        found = self.engine.zero_optimization_stage(), dist.get_world_size(self.engine.data_parallel_group)
        expected = int(self.world.launch.strategy[-1]), self.world.size
        whole = [name for name, weight in self.named.items() if self.splits_weights and not hasattr(weight, "ds_id")]
        if found != expected or whole:
            raise PolicyError(
                f"DeepSpeed runs stage {found[0]} on {found[1]} ranks, expected stage {expected[0]} on {expected[1]}"
                + (f"; {len(whole)} weights are whole, such as {whole[0]!r}" if whole else ""),
                fix="check the versions of deepspeed and accelerate",
            )

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Do nothing: ranks add up after every micro-batch."""
        return nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient; `update` is apart from it."""
        self.engine.set_gradient_accumulation_boundary(is_boundary=last)
        self.engine.backward(loss * self.world.size, scale_wrt_gas=False)
        if not last:
            self.engine.step()  # not at a boundary: it only counts the micro-batch

    def update(self, lr: float, most: float) -> float:
        """Clip, update and return the gradient's norm; DeepSpeed knows it only after the update."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def forget(self) -> None:
        """Forget the gradient."""
        self.engine.optimizer.zero_grad()

    @torch.no_grad()
    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight, whole, one at a time, in float32."""
        for name, weight in self.policy.model.state_dict(keep_vars=True).items():
            if weight.requires_grad:
                yield name, self._master(weight)
            elif name in self._frozen:
                yield name, self._frozen[name].to(weight.device)
            else:
                with self._gathered(weight):
                    whole = weight.detach().clone()
                yield name, whole

    @torch.no_grad()
    def trained_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the trained weights, whole, one at a time."""
        yield from ((name, self._master(weight)) for name, weight in self.named.items())

    def _master(self, weight: Tensor) -> Tensor:
        """Return a trained weight, whole, in the optimizer's precision."""
        from deepspeed.utils import safe_get_full_fp32_param

        whole: Tensor = safe_get_full_fp32_param(weight)
        return whole.detach().reshape(self._shape(weight))

    @staticmethod
    def _shape(weight: Tensor) -> torch.Size:
        return torch.Size(getattr(weight, "ds_shape", weight.shape))

    @staticmethod
    def _gathered(weight: Tensor, *, change: bool = False) -> AbstractContextManager[Any]:
        """Put a weight together for a while; with `change`, what rank 0 writes into it stays."""
        from deepspeed.runtime.zero import GatheredParameters

        split = hasattr(weight, "ds_id")
        gathered: AbstractContextManager[Any] = GatheredParameters(
            [weight] if split else [], modifier_rank=0 if change else None
        )
        return gathered

    @torch.no_grad()
    def optimizer_state(self) -> OptimizerState:
        """Return the optimizer's state, whole."""
        from deepspeed.utils import safe_get_full_optimizer_state

        steps = next((state["step"] for state in self._inner.state.values() if "step" in state), None)
        if steps is None:
            return {}
        return {
            name: {
                "step": torch.as_tensor(steps, dtype=torch.float32).cpu().clone(),
                **{
                    key: safe_get_full_optimizer_state(weight, key).reshape(self._shape(weight)).to("cpu", copy=True)
                    for key in MOMENTS
                },
            }
            for name, weight in self.named.items()
        }

    @property
    def _inner(self) -> torch.optim.Optimizer:
        """AdamW itself, over the flat parts that this rank holds."""
        inner: torch.optim.Optimizer = self.engine.optimizer.optimizer
        return inner

    def take(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take whole weights by name."""
        self.load(dict(weights), {})

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], optimizer: OptimizerState) -> None:
        """Take weights and optimizer state."""
        for name, weight in self.policy.model.state_dict(keep_vars=True).items():
            if name not in weights:
                continue
            with self._gathered(weight, change=True):
                if not self.splits_weights or self.world.is_main:
                    weight.data.copy_(weights[name])
            if weight.requires_grad:
                self._set(weight, weights[name])
        if not optimizer:
            return
        steps = next(iter(optimizer.values()))["step"]
        for part in self._parts():  # DeepSpeed makes the state at the first update, which is too late here
            self._inner.state[part] = {"step": steps.clone()} | {key: torch.zeros_like(part) for key in MOMENTS}
        if not self.splits_weights:
            self.engine.optimizer._lazy_init_hp_params_optimizer_state()  # each weight's place in the state
        for name, weight in self.named.items():
            for key in MOMENTS:
                self._set(weight, optimizer[name][key], key)

    def _parts(self) -> list[Tensor]:
        """Return the flat parts of the weights that this rank's optimizer updates."""
        if self.splits_weights:  # between updates no parameter group has them
            return list(self.engine.optimizer.fp32_partitioned_groups_flat)
        return [part for group in self._inner.param_groups for part in group["params"]]

    def _set(self, weight: Tensor, value: Tensor, key: str | None = None) -> None:
        """Give a weight's float32 form, or one of its moments, a value."""
        from deepspeed import utils

        whole = value.to(self.policy.device, torch.float32)
        if self.splits_weights:  # DeepSpeed's own way of cutting fails where the ranks do not divide the weight
            size = -(-whole.numel() // self.world.size)
            padded = nn.functional.pad(whole.flatten(), (0, size * self.world.size - whole.numel()))
            own = padded[self.world.rank * size :][:size]
            if key is None:
                utils.safe_set_local_fp32_param(weight, own)
            else:
                utils.safe_set_local_optimizer_state(weight, own, key)
        elif key is None:
            utils.safe_set_full_fp32_param(weight, whole)
        else:
            utils.safe_set_full_optimizer_state(weight, whole, key)


def frozen(policy: LanguageModel) -> dict[str, Tensor]:
    """Return copies, in main memory, of the weights that are not trained: DeepSpeed keeps none in float32."""
    return {
        name: weight.detach().to("cpu", copy=True)
        for name, weight in policy.model.named_parameters()
        if not weight.requires_grad
    }


def use_own_extensions() -> None:
    """Give DeepSpeed's compiled helpers a folder that no other Python environment shares.

    The first run in an environment compiles one. Killed meanwhile, it leaves a lock for which later runs would wait
    without end; a lock older than any build takes is removed.
    """
    environment = hashlib.sha256(f"{sys.prefix} {torch.__version__}".encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"collegium-ops-{os.getuid()}-{environment}"
    folder = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(folder)))
    for lock in folder.glob("*/lock"):
        with contextlib.suppress(FileNotFoundError):  # another rank was first
            if time.time() - lock.stat().st_mtime > STALE_S:
                lock.unlink()


def accelerator_for(config: OptimizerConfig, world: World, weights: int, *, on_cpu: bool) -> Accelerator:
    """Return `accelerate` set up for DeepSpeed and a number of weights."""
    if on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        os.environ.setdefault("DS_BUILD_OPS", "0")
    launch = world.launch
    stage: dict[str, Any] = {"stage": int(launch.strategy[-1]), "reduce_bucket_size": min(BUCKET, weights)}
    if launch.offload != "none":
        stage["offload_optimizer"] = {"device": "cpu"}
    if launch.offload == "parameters":
        stage["offload_param"] = {"device": "cpu"}
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": stage,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": config.precision == "bfloat16"},
        # Else gradients are added up in bfloat16: 8% off after 4,096 micro-batches, where fsdp2 is 0.4% off.
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
    }
    plugin = DeepSpeedPlugin(hf_ds_config=settings, zero3_init_flag=False)
    return Accelerator(deepspeed_plugin=plugin)  # not cpu=True: that is plain DDP, without a word
