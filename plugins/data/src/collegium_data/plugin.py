"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> Sequence[Component]:
    """Offer the stages."""
    return [
        component(
            "curate",
            "collegium_data.curate:CurateStage",
            "Demonstrations and data mixed, deduplicated and decontaminated, with the prompts that go with them.",
            config="collegium_data.curate_config:CurateConfig",
        ),
        component(
            "difficulty-filter",
            "collegium_data.difficulty:DifficultyFilterStage",
            "The training prompts that a model solves neither too often nor too seldom.",
            config="collegium_data.sampling_configs:DifficultyFilterConfig",
        ),
        component(
            "preference-pairs",
            "collegium_data.delta:PreferencePairsStage",
            "A strong model's completions against a weak one's, without scores (delta learning).",
            config="collegium_data.sampling_configs:PreferencePairsConfig",
        ),
        component(
            "ghost-attention",
            "collegium_data.ghost_attention:GhostAttentionStage",
            "Dialogues that keep to an instruction of their first turn.",
            config="collegium_data.sampling_configs:GhostAttentionConfig",
        ),
    ]
