"""The claims. The names of stages and domains, and the steps that make budgets equal, stand here and nowhere else.

An override of ``null`` takes a stage or an edge away. Where the compared variants differ in more than steps, the run
prints both budgets and says whether they are equal.
"""

from __future__ import annotations

from tests.claims.claim import Claim, Variant
from tests.claims.measures import probe, score

FORM = "tests/claims/probes/deepseek-r1.yaml"

KEEP_ALL_ROUNDS = Claim(
    name="llama-2-all-rounds",
    source="Llama 2, arXiv 2307.09288, section 3.2.3",
    says="Fine-tuning on the best samples of all earlier rounds beats fine-tuning on the last round's only.",
    variants=(
        Variant("all rounds", "recipes/llama-2.yaml", ("rounds-r3-sft",)),
        Variant(
            "last round", "recipes/llama-2.yaml", ("rounds-r3-sft",), ("stages.rounds.stages.best.data_from=null",)
        ),
    ),
    measures={"score": score()},
)
AVERAGING = Claim(
    name="llama-3-averaging",
    source="Llama 3, arXiv 2407.21783, section 4.1.5",
    says="The average of models of different data and hyper-parameters beats the models that it is of.",
    variants=(
        Variant("average", "recipes/llama-3.yaml", ("rounds-r2-dpo",), budget=("rounds-r2-dpo-a", "rounds-r2-dpo-b")),
        Variant("its models", "recipes/llama-3.yaml", ("rounds-r2-dpo-a", "rounds-r2-dpo-b")),
    ),
    measures={"score": score()},
    least=0.01,
)
COLD_START = Claim(
    name="deepseek-r1-readability",
    source="DeepSeek-R1, arXiv 2501.12948, sections 2.2 and 2.3",
    says="Cold-start data and the reward for language make R1 more readable than R1-Zero, and it scores higher.",
    variants=(
        Variant("r1", "recipes/deepseek-r1.yaml", ("reasoning",)),
        Variant("r1-zero", "recipes/deepseek-r1-zero.yaml", ("rl",)),
    ),
    measures={"score": score("math"), "form": probe(FORM, "form"), "language": probe(FORM, "language")},
    budget="rollouts",
)
MIXED_RL = Claim(
    name="deepseek-v3.2-mixed-rl",
    source="DeepSeek-V3.2, arXiv 2512.02556, section 3",
    says="One mixed RL after the distillation of specialists beats the distillation alone, trained on for as long.",
    variants=(
        Variant("then mixed RL", "recipes/deepseek-v3.2.yaml", ("mixed",), budget=("distilled", "mixed")),
        Variant(
            "alone", "recipes/deepseek-v3.2.yaml", ("distilled",), ("stages.distilled.steps=500", "stages.mixed=null")
        ),
    ),
    measures={"score": score()},
)
WARM_UP = Claim(
    name="nemotron-3-ultra-warm-up",
    source="Nemotron 3 Ultra, MOPD warm-up",
    says="A light SFT on the teachers' data before the first MOPD beats an MOPD of as many steps without it.",
    variants=(
        Variant("warm-up", "recipes/nemotron-3-ultra.yaml", ("mopd-1",), budget=("warm-up", "mopd-1")),
        Variant(
            "none",
            "recipes/nemotron-3-ultra.yaml",
            ("mopd-1",),
            ("stages.mopd-1.init_from=rlvr", "stages.mopd-1.steps=120"),
        ),
    ),
    measures={"score": score()},
)
SECOND_ROUND = Claim(
    name="nemotron-3-ultra-round-2",
    source="Nemotron 3 Ultra, MOPD-2",
    says="A second round, with teachers branched from the first student, beats a first round of as many steps.",
    variants=(
        Variant("round 2", "recipes/nemotron-3-ultra.yaml", ("mopd-2",), budget=("mopd-1", "mopd-2")),
        Variant("round 1", "recipes/nemotron-3-ultra.yaml", ("mopd-1",), ("stages.mopd-1.steps=200",)),
    ),
    measures={"score": score()},
)
CROSS_STAGE = Claim(
    name="glm-5-cross-stage",
    source="GLM-5, on-policy cross-stage distillation",
    says="Distilling the earlier stages' checkpoints recovers what later stages forgot; more of the last stage does not.",
    variants=(
        Variant("distilled", "recipes/glm-5.yaml", ("final",), budget=("general", "final")),
        Variant(
            "more general RL", "recipes/glm-5.yaml", ("general",), ("stages.general.steps=160", "stages.final=null")
        ),
    ),
    measures={"reasoning": score("math", "code"), "all domains": score()},
)
TRACES = Claim(
    name="mai-thinking-1-traces",
    source="MAI-Thinking-1, consolidation",
    says="SFT on traces of the climbs consolidates them better than MOPD from the same climbs.",
    variants=(
        Variant("trace SFT", "recipes/mai-thinking-1.yaml", ("consolidated",)),
        Variant(
            "MOPD",
            "recipes/mai-thinking-1.yaml",
            ("by-mopd",),
            (
                "stages.by-mopd={use: mopd, init_from: base, teachers: {from: climb}, steps: 300, prompts: 64, "
                "lr: 3.0e-4, sampling: {max_tokens: 28}}",
            ),
        ),
    ),
    measures={"score": score()},
)

CLAIMS = {
    claim.name: claim
    for claim in (
        KEEP_ALL_ROUNDS,
        AVERAGING,
        COLD_START,
        MIXED_RL,
        WARM_UP,
        SECOND_ROUND,
        CROSS_STAGE,
        TRACES,
    )
}
