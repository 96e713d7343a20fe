"""DeepSpeed ZeRO through `accelerate`: the optimizer's state (1), gradients (2) and weights (3) split over the ranks.

Source: ZeRO (arXiv 1910.02054); offload: ZeRO-Offload (arXiv 2101.06840).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DeepSpeedPlugin
from torch import Tensor
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from collegium.errors import PluginNotFound, PolicyError
from collegium.training.distributed import World
from collegium.training.language_model import LanguageModel
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.strategy import MOMENTS, OptimizerState, adamw, low_precision, named_trained


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
        self.policy = policy
        self.world = world
        self.splits_weights = world.launch.strategy == "zero3"
        _ = policy.vocabulary, policy.width, policy.can_pack(2)
        policy.compute_dtype = low_precision(config) or policy.model.dtype
        self.accelerator = accelerator_for(config, world, on_cpu=policy.device.type == "cpu")
        forward = policy.forward_module
        self.named = dict(named_trained(policy))
        head = policy.head
        engine, self.optimizer = self.accelerator.prepare(forward, adamw(policy, config))
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
        """Yield every weight, whole, one at a time; in the optimizer's precision where it is trained."""
        from deepspeed.utils import safe_get_full_fp32_param

        for name, weight in self.policy.model.state_dict(keep_vars=True).items():
            master = safe_get_full_fp32_param(weight) if weight.requires_grad else None
            if master is not None:
                yield name, master.detach().reshape(self._shape(weight))
            else:
                with self._gathered(weight):
                    whole = weight.detach().clone()
                yield name, whole

    @staticmethod
    def _shape(weight: Tensor) -> torch.Size:
        return torch.Size(getattr(weight, "ds_shape", weight.shape))

    @staticmethod
    def _gathered(weight: Tensor, *, change: bool = False) -> AbstractContextManager[Any]:
        """Put a weight together for a while; with `change`, what rank 0 writes into it stays."""
        from deepspeed.zero import GatheredParameters

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

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], optimizer: OptimizerState) -> None:
        """Take weights and optimizer state."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, weight in self.policy.model.state_dict(keep_vars=True).items():
            with self._gathered(weight, change=True):
                if not self.splits_weights or self.world.is_main:
                    weight.data.copy_(weights[name])
            if weight.requires_grad:
                safe_set_full_fp32_param(weight, weights[name].to(self.policy.device, torch.float32))
        if not optimizer:
            return
        steps = next(iter(optimizer.values()))["step"]
        for group in self._inner.param_groups:
            for part in group["params"]:  # DeepSpeed makes the state at the first update, which is too late here
                self._inner.state[part] = {"step": steps.clone()} | {key: torch.zeros_like(part) for key in MOMENTS}
        for name, weight in self.named.items():
            for key in MOMENTS:
                safe_set_full_optimizer_state(weight, optimizer[name][key].to(self.policy.device), key)


def accelerator_for(config: OptimizerConfig, world: World, *, on_cpu: bool) -> Accelerator:
    """Return `accelerate` set up for DeepSpeed."""
    if on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        os.environ.setdefault("DS_BUILD_OPS", "0")
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(tempfile.gettempdir()) / f"collegium-ops-{os.getuid()}"))
    launch = world.launch
    stage: dict[str, Any] = {"stage": int(launch.strategy[-1])}
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
    }
    plugin = DeepSpeedPlugin(hf_ds_config=settings, zero3_init_flag=False)
    return Accelerator(deepspeed_plugin=plugin)  # not cpu=True: that is plain DDP, without a word
