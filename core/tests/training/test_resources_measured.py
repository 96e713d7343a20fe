"""The plan's estimate of memory against the tensors of real models and a real optimizer step."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from collegium.launch_config import LaunchConfig
from collegium.planning import memory
from collegium.planning.shapes import Unknown, shape_of_folder, shape_of_spec
from collegium.recipe.shape import ModelShape
from collegium.testing.stages import TOY_MODEL
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.packing import Example
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.trainer import Trainer

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
ROWS, LENGTH = 4, 32


def spec(architecture: str = "llama", **changes: object) -> ModelSpec:
    sizes = {name: value for name, value in {**SIZES, **changes}.items() if value is not None}
    return ModelSpec(architecture=architecture, sizes=sizes)


def shape_of(given: ModelSpec) -> ModelShape:
    found = shape_of_spec(given)
    assert isinstance(found, ModelShape), found
    return found


class Saved:
    """Collects the storages that autograd keeps for the backward pass, the weights' left out."""

    def __init__(self, model: LanguageModel) -> None:
        self._weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self._alive: list[Tensor] = []
        self.storages: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._alive.append(tensor)  # so that no other tensor gets its address
            self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def __enter__(self) -> Saved:
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self.keep, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._hooks.__exit__(*raised)

    @property
    def total(self) -> int:
        return sum(self.storages.values())


def kept_by_a_pass(given: ModelSpec, mode: memory.Mode, *, padded: bool) -> int:
    """Bytes that a forward pass over ROWS x LENGTH tokens leaves for the backward pass."""
    model = initialise(given, seed=0)
    model.model.train()
    if mode == "low":
        model.model.to(torch.bfloat16)
    tokens = torch.randint(2, 50, (ROWS, LENGTH))
    if padded:
        mask = torch.ones(ROWS, LENGTH, dtype=torch.long)
        mask[0, -3:] = 0
    else:
        causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
        dtype = torch.float32 if mode == "float32" else torch.bfloat16
        mask = torch.zeros(ROWS, 1, LENGTH, LENGTH, dtype=dtype).masked_fill(~causal, torch.finfo(dtype).min)
    positions = torch.arange(LENGTH).expand(ROWS, LENGTH)
    with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"), Saved(model) as saved:
        model.model.base_model(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False)
    return saved.total


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("llama", {}),
        ("llama", {"num_key_value_heads": 4, "tie_word_embeddings": False}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("mistral", {}),
        ("qwen2", {"head_dim": None}),
        ("qwen3", {"tie_word_embeddings": False, "head_dim": 32}),
        ("qwen3", {"attention_bias": True}),
    ],
)
def test_the_weights_of_a_dense_model_are_counted_exactly(architecture, changes, tmp_path):
    given = spec(architecture, **changes)
    model = initialise(given, seed=0)
    real = sum(weight.numel() for weight in model.parameters())
    assert shape_of(given).count == real
    model.save(tmp_path)
    saved = shape_of_folder(tmp_path)
    assert isinstance(saved, ModelShape)
    assert (saved.count, saved.dtype, saved.layers, saved.vocabulary) == (real, "float32", 2, len(model.head))


def test_the_weights_of_another_saved_model_are_counted_in_its_files(tmp_path):
    given = spec("gemma2", query_pre_attn_scalar=16).model_copy()
    given.sizes["final_logit_softcapping"] = None
    found = shape_of_spec(given)
    assert isinstance(found, Unknown)
    assert "not counted" in found.reason
    model = initialise(given, seed=0)
    model.save(tmp_path)
    assert shape_of_folder(tmp_path).count == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("mode", ["float32", "autocast", "low"])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_what_a_layer_keeps_is_counted(architecture, padded, mode):
    two, three = spec(architecture), spec(architecture, num_hidden_layers=3)
    real = kept_by_a_pass(three, mode, padded=padded) - kept_by_a_pass(two, mode, padded=padded)
    counted = memory.layer_activations(shape_of(two), ROWS, LENGTH, mode, padded=padded)
    if mode == "autocast":  # its copies of the matrices are the part `working`
        norms = 2 * 64 + (2 * 16 if architecture == "qwen3" else 0)
        counted += 2 * (shape_of(two).layer_parameters - norms)
    assert counted == real


def examples(lengths: list[int]) -> list[Example]:
    rng = random.Random(0)
    return [
        Example(tuple(rng.randrange(2, 50) for _ in range(length)), 1, str(index))
        for index, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(("layout", "lengths"), [("packed", [16] * 8), ("length-grouped", [32, 32, 32, 30])])
def test_a_real_step_holds_exactly_the_states_and_the_activations_within_a_twentieth(layout, lengths):
    given = spec()
    shape, model = shape_of(given), initialise(given, seed=0)
    config = SupervisedConfig(steps=1, batch=len(lengths), row_tokens=LENGTH, micro_batch=ROWS, layout=layout)
    model.model.train()
    trainer = Trainer(model, config, 1)
    gradients: dict[str, int] = {}
    for name, weight in model.model.named_parameters():
        weight.register_post_accumulate_grad_hook(
            lambda weight, name=name: gradients.update({name: weight.grad.untyped_storage().nbytes()})
        )
    with Saved(model) as saved:
        supervised_step(trainer, examples(lengths), config)

    states = memory.states(shape, LaunchConfig(), "float32")
    moments = [
        value
        for state in trainer.strategy.optimizer_state().values()
        for name, value in state.items()
        if name != "step"
    ]
    assert states.weights == sum(weight.untyped_storage().nbytes() for weight in model.parameters())
    assert states.gradients == sum(gradients.values())
    assert states.optimizer == sum(value.untyped_storage().nbytes() for value in moments)
    assert (states.working, states.host) == (0, 0)
    estimated = memory.activations(shape, ROWS, LENGTH, "float32", padded=layout == "length-grouped")
    assert 0.95 * estimated <= saved.total <= estimated


def test_with_checkpointing_each_layer_keeps_its_input():
    kept = []
    for layers in (2, 3):
        given = spec(num_hidden_layers=layers)
        model = initialise(given, seed=0)
        model.model.gradient_checkpointing_enable({"use_reentrant": False})
        model.model.train()
        tokens = torch.randint(2, 50, (ROWS, LENGTH))
        with Saved(model) as saved:
            model.model.base_model(input_ids=tokens, use_cache=False)
        kept.append(saved.total)
    less, more = (
        memory.activations(
            shape_of(spec(num_hidden_layers=layers)), ROWS, LENGTH, "float32", padded=True, checkpointing=True
        )
        for layers in (2, 3)
    )
    assert more - less == kept[1] - kept[0] == ROWS * LENGTH * 64 * 4


def test_the_cache_of_generation_is_counted_exactly():
    given = spec()
    model = initialise(given, seed=0)
    with torch.no_grad():
        cache = model.model(input_ids=torch.randint(2, 50, (ROWS, LENGTH)), use_cache=True).past_key_values
    real = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert memory.kv_cache(shape_of(given), ROWS * LENGTH, 4) == real


def test_the_toy_models_shape_is_known():
    toy = ModelSpec.model_validate(TOY_MODEL)
    assert shape_of(toy).count == sum(weight.numel() for weight in initialise(toy, 0).parameters())
