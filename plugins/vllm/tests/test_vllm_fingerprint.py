"""Fingerprints: the same for every layout of the same weights, and different after any update."""

from __future__ import annotations

import pytest
import torch

from collegium_vllm.fingerprint import Figures, Fingerprint, figures_of, gathered, group_of


def weights_of(model):
    return {name: weight.clone() for name, weight in model.named_weights()}


def fingerprint_of(weights, dtype=torch.float32):
    fingerprint = Fingerprint(dtype)
    list(fingerprint.measure(weights.items()))
    return fingerprint


def held(weights):
    """Return what a worker that holds these weights says."""
    figures = {name: figures_of(weight) for name, weight in weights.items()}
    return {name: [each.total, each.squares, each.count] for name, each in figures.items()}


def merged_as_vllm_does(weights):
    """Merge projections, pad the vocabulary, shuffle the order."""
    made = dict(weights)
    for layer in ("model.layers.0", "model.layers.1"):
        parts = [made.pop(f"{layer}.self_attn.{name}_proj.weight") for name in "qkv"]
        made[f"{layer}.self_attn.qkv_proj.weight"] = torch.cat(parts)
        parts = [made.pop(f"{layer}.mlp.{name}_proj.weight") for name in ("gate", "up")]
        made[f"{layer}.mlp.gate_up_proj.weight"] = torch.cat(parts).t().contiguous()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        made[name] = torch.cat([made[name], torch.zeros(53, made[name].shape[1])])
    return dict(reversed(made.items()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_layout_does_not_matter_and_precision_is_the_engines(tiny, dtype):
    weights = weights_of(tiny(tied=False))
    rounded = {name: weight.to(dtype) for name, weight in weights.items()}
    assert fingerprint_of(weights, dtype).differences(gathered([held(merged_as_vllm_does(rounded))])) == []


def test_measured_weights_pass_in_the_engines_precision(tiny):
    weights = weights_of(tiny())
    passed = dict(Fingerprint(torch.bfloat16).measure(weights.items()))
    assert list(passed) == list(weights)
    assert all(torch.equal(passed[name], weights[name].bfloat16()) for name in weights)


@pytest.mark.parametrize("rate", [1e-3, 1e-6])
def test_a_step_of_any_optimizer_shows_in_every_group(tiny, rate):
    model = tiny(tied=False)
    before = held(weights_of(model))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(rate * torch.randn_like(weight).sign())
    different = fingerprint_of(weights_of(model)).differences(gathered([before]))
    assert [line.partition(":")[0] for line in different] == ["embed_tokens", "layer 0", "layer 1", "lm_head", "norm"]


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_that_was_forgotten_is_named(tiny, tied):
    before, after = weights_of(tiny(tied=tied)), weights_of(tiny(seed=1, tied=tied))
    (different,) = fingerprint_of(after).differences(
        gathered([held({**after, "lm_head.weight": before["lm_head.weight"]})])
    )
    assert different.startswith("lm_head: trainer sum ")
    total = figures_of(after["lm_head.weight"]).total
    assert f"{total:.12g}" in different


def test_one_weight_changed_by_one_unit_in_the_last_place_shows():
    torch.manual_seed(0)
    weight = torch.randn(512, 512).bfloat16()
    changed = weight.clone()
    changed[3, 4] = torch.nextafter(changed[3, 4], torch.tensor(9.0).bfloat16())
    assert not figures_of(weight).agrees(figures_of(changed))


def test_the_order_of_summation_does_not_show():
    torch.manual_seed(0)
    weight = torch.randn(3_000_000) * 0.02 + 0.5
    assert figures_of(weight).agrees(figures_of(weight[torch.randperm(len(weight))]))


@pytest.mark.parametrize("missing", ["trainer", "engine"])
def test_a_group_that_one_side_lacks_is_different(tiny, missing):
    weights = weights_of(tiny())
    fewer = {name: weight for name, weight in weights.items() if "layers.1" not in name}
    ours, theirs = (fewer, weights) if missing == "trainer" else (weights, fewer)
    (different,) = fingerprint_of(ours).differences(gathered([held(theirs)]))
    assert f"{missing} no such weights" in different


def test_nan_is_different_from_everything():
    broken = figures_of(torch.tensor([1.0, float("nan")]))
    assert not broken.agrees(broken)
    assert not broken.agrees(Figures(1.0, 1.0, 2))


def test_weights_split_over_workers_add_up_and_copies_count_once(tiny):
    weights = weights_of(tiny(tied=False))
    halves = [
        {
            name: part if weight.ndim > 1 else weight
            for name, weight in weights.items()
            for part in [weight.chunk(2)[rank]]
        }
        for rank in range(2)
    ]
    assert fingerprint_of(weights).differences(gathered([held(half) for half in halves])) == []
    stale = [halves[0], {**halves[1], "lm_head.weight": halves[1]["lm_head.weight"] * 2}]
    (different,) = fingerprint_of(weights).differences(gathered([held(half) for half in stale]))
    assert different.startswith("lm_head")


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("model.layers.11.mlp.experts.7.w1.weight", "layer 11"),
        ("transformer.h.3.attn.c_attn.bias", "layer 3"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "lm_head"),
        ("weight", "weight"),
    ],
)
def test_the_group_is_the_layer_or_the_module(name, group):
    assert group_of(name) == group
