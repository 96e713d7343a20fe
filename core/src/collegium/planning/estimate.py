"""The estimate of one stage, from its validated options and the shapes of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collegium.component import Use
from collegium.launch_config import LaunchConfig
from collegium.planning import memory
from collegium.planning.engines import NO_ENGINE, engine_memory
from collegium.planning.memory import GIB, WIDTH
from collegium.planning.resources import StageResources, launcher_of
from collegium.planning.rewards import reward_memory
from collegium.planning.shapes import Shapes, Unknown
from collegium.planning.workload import Workload, workload_of
from collegium.recipe.shape import ModelShape
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.rollout_config import RolloutConfig

if TYPE_CHECKING:
    from collegium.planning.plan import Plan, PlannedStage

CHUNK = 1024
"""Tokens whose logits log-probs hold at once: `collegium.training.logprobs.CHUNK`."""
KEPT = ("weights", "optimizer", "buckets")
IN_TURN = ("working", "gradients")
"""What training holds on a device, by the fields of `memory.States`: all the time, and while a model is updated."""
Part = int | Unknown
"""Bytes, or why they are unknown."""


def estimate(plan: Plan) -> dict[str, StageResources]:
    """Return what each of a plan's stages needs."""
    estimator = Estimator(plan)
    return {stage.id: estimator.of(stage) for stage in plan.stages.values()}


class Estimator:
    """Estimates the stages of a plan.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shapes = Shapes(plan)

    def of(self, stage: PlannedStage) -> StageResources:
        """Return what a stage needs."""
        launch, config = stage.node.launch, stage.config
        engine = stage.options.get("engine")
        known: dict[str, Any] = {
            "launcher": launcher_of(launch, self.plan.executor.use),
            "ranks": launch.ranks,
            "engine": engine["use"] if isinstance(engine, Mapping) else None,
            "capacity": None if launch.device_memory_gb is None else int(launch.device_memory_gb * GIB),
        }
        if not isinstance(config, OptimizerConfig):
            why = f"{stage.entry.id} takes no optimizer steps that the core knows of"
            return StageResources(**known, unknown={"stage": why})
        shape = self.shapes.of(stage.id)
        if isinstance(shape, Unknown):
            return StageResources(**known, unknown={"weights": shape.reason})
        return self._trained(stage, config, shape, known)

    def _trained(
        self, stage: PlannedStage, config: OptimizerConfig, shape: ModelShape, known: dict[str, Any]
    ) -> StageResources:
        """Estimate a stage with gradient steps whose model is known."""
        work = workload_of(stage, config, shape)
        launch = stage.node.launch
        beside = self._beside(stage, config)
        shapes = [shape, *(each for each in beside if isinstance(each, ModelShape))]
        parts: dict[str, Part] = {"loading": _loading(stage, config, shapes)}
        every = [memory.states(each, launch, config.precision, _trained_weights(config, each)) for each in shapes]
        parts |= {name: getattr(every[0], name) for name in KEPT}
        parts |= {name: max(getattr(each, name) for each in every) for name in IN_TURN}
        parts["beside"] = next((each for each in beside if isinstance(each, Unknown)), sum(map(_kept, every[1:])))
        parts |= self._passes(stage, config, shapes, work)
        parts |= self._teachers(stage, config, shape, work)
        whole = shape.count * 4
        parts["reference"] = memory.share(whole, _ways(launch)) if _reads_reference(stage) else 0
        rewards = reward_memory(stage, self.shapes)
        parts["reward_models"] = rewards if isinstance(rewards, Unknown) else rewards.kept
        parts["judging"] = 0 if isinstance(rewards, Unknown) else rewards.judging
        parts["scoring"] = self._scoring(stage, config, shapes)
        parts["ahead"] = shape.count * 4 if _staleness(config) else 0
        engine = engine_memory(stage, config, shape) if isinstance(config, RolloutConfig) else NO_ENGINE
        parts |= {"engine_weights": engine.weights, "kv_cache": engine.cache}
        parts |= {"sampling": engine.sampling, "syncing": engine.syncing}
        waiting = parts.pop("host")
        host = sum(each.host for each in every) + _waiting_weights(config, shape)
        return StageResources(
            **known,
            model=self._name(stage),
            parameters=shape.count,
            tokens_per_step=None if isinstance(work, Unknown) else work.tokens_per_step,
            tokens_per_rollouts=None if isinstance(work, Unknown) else work.tokens_per_rollouts,
            bytes={name: None if isinstance(part, Unknown) else part for name, part in parts.items()},
            engine_keeps=engine.keeps,
            host=None if isinstance(waiting, Unknown) else host + waiting,
            host_first=self._first(stage, config, shapes, 0 if isinstance(rewards, Unknown) else rewards.host),
            unknown={name: part.reason for name, part in parts.items() if isinstance(part, Unknown)},
        )

    def _name(self, stage: PlannedStage) -> str:
        """Return the model of `models` or the stage that a stage's weights come from at first."""
        name = stage.id
        while name in self.plan.stages and (found := self.plan.stages[name].node.inputs.get("init_from")):
            name = found[0]
        return name

    def _beside(self, stage: PlannedStage, config: OptimizerConfig) -> list[ModelShape | Unknown]:
        """Return the models that are trained beside the stage's own, in turn with it."""
        return [self.shapes.of(name) for name in config.trains_beside(stage.node.inputs)]

    # The passes

    def _passes(
        self, stage: PlannedStage, config: OptimizerConfig, shapes: Sequence[ModelShape], work: Workload | Unknown
    ) -> dict[str, Part]:
        """Return activations of the update, of the model with most, and its logits, which the first one alone has."""
        if isinstance(work, Unknown):
            return {"activations": work, "logits": work}
        logits = self._logits(stage, shapes[0], work)
        if any(shape.active_intermediate is None for shape in shapes):
            why = Unknown("of its experts, a token meets a number that is not given: give active_parameters")
            return {"activations": why, "logits": logits}
        launch = stage.node.launch
        activations = max(
            memory.activations(
                shape, work.rows, work.length, memory.mode_of(launch, config.precision),
                padded=work.padded, checkpointing=launch.gradient_checkpointing,
            )
            for shape in shapes
        )  # fmt: skip
        return {"activations": activations, "logits": logits}

    def _logits(self, stage: PlannedStage, shape: ModelShape, work: Workload) -> int:
        chunk = _loss_chunk(stage)
        most = min(chunk or CHUNK, work.rows * work.length)
        head = shape.embeddings * 4 if chunk is not None else 0  # the teacher's, beside the student's
        return memory.logits(shape, most, teacher=chunk is not None) + head

    # Teachers

    def _teachers(
        self, stage: PlannedStage, config: OptimizerConfig, shape: ModelShape, work: Workload | Unknown
    ) -> dict[str, Part]:
        """Return the largest teacher, for one is on the device at a time, and what waits of them in main memory."""
        if not stage.teachers:
            return {"teachers": 0, "host": 0}
        found = [self._teacher(stage, name) for name in sorted(stage.teachers)]
        missing = next((each for each in found if isinstance(each, Unknown)), None)
        if missing is not None:
            return {"teachers": missing, "host": missing}
        local = [each for each in found if isinstance(each, ModelShape)]
        if not local:
            return {"teachers": 0, "host": 0}
        ways = _teachers_ways(stage, config)
        largest = max(memory.share(each.count * WIDTH[each.dtype], ways) for each in local)
        waiting = sum(memory.share(each.count * WIDTH[each.dtype], ways) for each in local)
        if _loss_chunk(stage) is None or not isinstance(config, RolloutConfig):
            return {"teachers": largest, "host": waiting}
        if isinstance(work, Unknown):
            return {"teachers": work, "host": work}
        width = max(each.hidden * WIDTH[each.dtype] for each in local)
        own = -(-config.prompts * config.group // stage.node.launch.ranks) * config.sampling.max_tokens
        heads = sum(each.embeddings * WIDTH[each.dtype] for each in local)
        batches = _staleness(config) + 1  # one is trained on, the others wait
        return {"teachers": largest + own * width, "host": waiting + batches * (own * width + heads)}

    def _local_teachers(self, stage: PlannedStage) -> list[ModelShape]:
        found = [self._teacher(stage, name) for name in sorted(stage.teachers)]
        return [each for each in found if isinstance(each, ModelShape)]

    # Split weights

    def _scoring(self, stage: PlannedStage, config: OptimizerConfig, shapes: Sequence[ModelShape]) -> int:
        """Return what scoring puts together of split weights: two layers at a time; the trained models' ends stay."""
        launch = stage.node.launch
        if not launch.shards_weights:
            return 0
        narrow = memory.mode_of(launch, config.precision) == "low"
        read = [memory.reading(shape, 2 if narrow else 4) for shape in shapes]
        passes = [layers for _, layers in read]
        if _ways(launch) > 1 and _reads_reference(stage):
            passes.append(sum(memory.reading(shapes[0], 4)))
        if _teachers_ways(stage, config) > 1:
            passes += [sum(memory.reading(each, WIDTH[each.dtype])) for each in self._local_teachers(stage)]
        return sum(ends for ends, _ in read) + max(passes)

    def _first(
        self, stage: PlannedStage, config: OptimizerConfig, shapes: Sequence[ModelShape], rewards: int
    ) -> dict[str, int]:
        """Return what the first rank alone has whole in main memory: what it loads, and a checkpoint of all weights.

        Models are loaded and split one after the other; reward models that wait there for their turn stay.
        """
        needs = {"reward_models": rewards} if rewards else {}
        if not stage.node.launch.shards_weights:
            return needs
        trained = [_trained_weights(config, shape) for shape in shapes]
        # Weights and both moments of all that is trained.
        counts = [shape.count if some is None else some for shape, some in zip(shapes, trained, strict=True)]
        needs["checkpoint"] = 12 * sum(counts)
        if _waits(stage, config):
            teachers = self._local_teachers(stage) if _teachers_ways(stage, config) > 1 else []
            loaded = [4 * shape.count for shape in shapes] + [each.count * WIDTH[each.dtype] for each in teachers]
            needs["loading"] = max(loaded)
        return needs

    def _teacher(self, stage: PlannedStage, name: str) -> ModelShape | int | Unknown:
        """Return a teacher's shape, 0 for one that is served elsewhere."""
        teacher = stage.teachers[name]
        if isinstance(teacher, str):
            start = stage.node.inputs.get("init_from", [])
            return self.shapes.of(start[0] if teacher == "self" and start else teacher)
        return self._component(teacher)

    def _component(self, teacher: Use) -> ModelShape | int | Unknown:
        if teacher.options.get("url"):
            return 0
        path = teacher.options.get("path")
        if path is None:
            return Unknown(f"the core does not know what the teacher {teacher.use} holds")
        return self.shapes.of_path(str(path))


def _waits(stage: PlannedStage, config: OptimizerConfig) -> bool:
    """Tell whether the policy is loaded by the first rank alone, in main memory, before it is split."""
    whole = config.loads_whole or config.adapter is not None
    return stage.node.launch.strategy == "fsdp2" and not whole


def _kept(states: memory.States) -> int:
    return sum(getattr(states, name) for name in KEPT)


def _loading(stage: PlannedStage, config: OptimizerConfig, shapes: Sequence[ModelShape]) -> int:
    """Return what loading takes on each device: whole models, or a rank's share and what is on its way to others."""
    launch = stage.node.launch
    if not _waits(stage, config):
        return sum(4 * shape.count for shape in shapes)
    kept = sum(memory.share(4 * shape.count, launch.ranks) for shape in shapes) if launch.offload == "none" else 0
    return kept + min(memory.LOADING_BLOCK, max(4 * shape.count for shape in shapes))


def _ways(launch: LaunchConfig) -> int:
    """Return over how many ranks models that are read and not trained are split."""
    return launch.ranks if launch.strategy == "fsdp2" else 1


def _teachers_ways(stage: PlannedStage, config: OptimizerConfig) -> int:
    """Return over how many ranks teachers are split; with rollouts ahead they are asked in a thread, and are whole."""
    return 1 if _staleness(config) else _ways(stage.node.launch)


def _staleness(config: OptimizerConfig) -> int:
    """Return how many batches of rollouts run ahead of training."""
    return config.staleness if isinstance(config, RolloutConfig) else 0


def _waiting_weights(config: OptimizerConfig, shape: ModelShape) -> int:
    """Return the copies of weights that wait for rollouts: one more than batches ahead, as one is being handed over."""
    ahead = _staleness(config)
    return (ahead + 1) * shape.count * 4 if ahead else 0


def _trained_weights(config: OptimizerConfig, shape: ModelShape) -> int | None:
    """Return how many weights an adapter trains, at most; None where all are trained."""
    adapter = getattr(config, "adapter", None)
    rank = getattr(adapter, "rank", None)
    return memory.adapter_weights(shape, rank) if isinstance(rank, int) else None


def _reads_reference(stage: PlannedStage) -> bool:
    """Tell whether a stage scores with a frozen reference: its edge is given, or its loss or terms ask for one."""
    if stage.node.inputs.get("reference"):
        return True
    loss = getattr(stage.config, "loss", None)
    if getattr(loss, "needs_reference", False):
        return True
    used = [stage.options.get("loss"), *(stage.options.get("advantages") or ())]
    terms = [use for use in used if isinstance(use, Mapping) and isinstance(use.get("options"), Mapping)]
    return any(use["options"].get("kl_coefficient") or str(use["use"]).endswith("/kl") for use in terms)


def _loss_chunk(stage: PlannedStage) -> int | None:
    """Return the option `chunk` of a loss over the whole vocabulary, which reads the teachers' hidden states."""
    loss = stage.options.get("loss")
    options = loss.get("options") if isinstance(loss, Mapping) else None
    chunk = options.get("chunk") if isinstance(options, Mapping) else None
    return chunk if isinstance(chunk, int) else None
