"""The options: light, bounded, and wrong ones refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from collegium.plugins.registry import Registry
from collegium.testing.conformance.check import Check, checks_for
from collegium.testing.conformance.subject import Subject
from collegium_ppo.config import PpoConfig, PretrainingConfig


def test_the_stage_is_found_through_its_entry_point_and_knows_its_edges():
    entry = Registry.discover().find("stage", "ppo")
    assert entry.id == "collegium-ppo/ppo"
    assert entry.config_class() is PpoConfig
    assert PpoConfig.requires == {"init_from"}
    assert {"reference", "reward_models"} <= PpoConfig.accepts
    assert PpoConfig.distributed


def test_planning_imports_no_torch():
    code = "import sys, collegium_ppo.plugin, collegium_ppo.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_defaults_are_instructgpts():
    config = PpoConfig()
    assert (config.kl_coefficient, config.clip, config.gamma, config.epochs, config.group) == (0.02, 0.2, 1.0, 1, 1)
    assert config.prompts // config.minibatches == 64
    assert PretrainingConfig().weight == 27.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl_target": 6.0, "kl_coefficient": 0}, "multiplies kl_coefficient, which is 0"),
        ({"prompts": 4, "group": 2, "minibatches": 9}, "minibatches 9 is more than the batch's 8 rollouts"),
        ({"staleness": 1}, "ppo corrects nothing for that"),
        ({"kl_estimator": "k2"}, "kl_estimator"),
        ({"gamma": 0}, "gamma"),
        ({"gae_lambda": 1.1}, "gae_lambda"),
        ({"clip": 1.0}, "clip"),
        ({"value_clip": 0}, "value_clip"),
        ({"value_lr": 0}, "value_lr"),
        ({"value_init": "random"}, "value_init"),
        ({"score_scale": 0}, "score_scale"),
        ({"pretraining": {"weight": 0}}, "weight"),
        ({"pretraining": {"txt": "a"}}, "txt"),
        ({"lam": 0.9}, "lam"),
        ({"sampling": {"top_p": 0.9}}, "add keep_mask: true"),
        (
            {"entropy_coefficient": 0.1, "sampling": {"top_p": 0.9, "keep_mask": True}},
            "the entropy bonus is of the whole distribution",
        ),
        ({"sampling": {"temperature": 0.0}}, "there is no distribution to learn"),
    ],
)
def test_wrong_options_are_refused_with_the_reason(options, message):
    with pytest.raises(ValidationError, match=message):
        PpoConfig(**options)


def test_the_text_file_is_part_of_the_fingerprint():
    assert PpoConfig(pretraining={"text": "corpus.txt"}).content_paths() == (Path("corpus.txt"),)
    assert PpoConfig(pretraining={}).content_paths() == ()


@pytest.mark.parametrize("check", [pytest.param(each, id=each.name) for each in checks_for("stage")])
def test_the_stage_conforms(check: Check):
    result = check.run(Subject("stage", "collegium-ppo/ppo", {}))
    assert result.status == "passed", result
