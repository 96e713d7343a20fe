"""The claims. The names of stages and domains, and the steps that make budgets equal, stand here and nowhere else.

An override of ``null`` takes a stage or an edge away: what a claim does not need is not run.
"""

from __future__ import annotations

from collegium.component import Use
from tests.claims.claim import Claim, Variant
from tests.claims.measures import judged, score

LLAMA_2, LLAMA_3 = "recipes/llama-2.yaml", "recipes/llama-3.yaml"
R1, R1_ZERO = "recipes/deepseek-r1.yaml", "recipes/deepseek-r1-zero.yaml"
V3_2, GLM_5, MAI = "recipes/deepseek-v3.2.yaml", "recipes/glm-5.yaml", "recipes/mai-thinking-1.yaml"
NEMOTRON, ROUND_1 = "recipes/nemotron-3-ultra.yaml", ("stages.branch=null", "stages.mopd-2=null")

FORM = Use(use="format", options={"tags": ["think"], "answer_follows": True, "must_stop": True})
LATIN = Use(use="language", options={"scripts": ["Latin"], "min_share": 1.0})

ROUNDS = ("stages.loop.rounds=3", "stages.ppo=null")
KEEP_ALL_ROUNDS = Claim(
    name="llama-2-all-rounds",
    source="Llama 2, arXiv 2307.09288, section 3.2.3",
    says="Llama 2: fine-tuning on the best samples of all rounds beats fine-tuning on the last round's",
    variants=(
        Variant("all rounds", LLAMA_2, ("loop-r3-chat",), ROUNDS),
        Variant("last round", LLAMA_2, ("loop-r3-chat",), (*ROUNDS, "stages.loop.stages.best.data_from=null")),
    ),
    measures={"score": score()},
)
AVERAGED_SFT = Claim(
    name="llama-3-averaged-sft",
    source="Llama 3, arXiv 2407.21783, section 4.1.5",
    says="Llama 3: the average of two SFT models beats the mean of the two",
    variants=(
        Variant("average", LLAMA_3, ("loop-r2-chat",), budget=("loop-r2-chat-a", "loop-r2-chat-b")),
        Variant("its models", LLAMA_3, ("loop-r2-chat-a", "loop-r2-chat-b")),
    ),
    measures={"score": score()},
    least=0.01,
)
AVERAGED_DPO = Claim(
    name="llama-3-averaged-dpo",
    source="Llama 3, arXiv 2407.21783, section 4.1.5",
    says="Llama 3: the average of two DPO models beats the mean of the two",
    variants=(
        Variant("average", LLAMA_3, ("loop-r2-best",), budget=("loop-r2-dpo-a", "loop-r2-dpo-b")),
        Variant("its models", LLAMA_3, ("loop-r2-dpo-a", "loop-r2-dpo-b")),
    ),
    measures={"score": score()},
    least=0.01,
)
COLD_START = Claim(
    name="deepseek-r1-readability",
    source="DeepSeek-R1, arXiv 2501.12948, sections 2.2 and 2.3",
    says="DeepSeek-R1 is more readable than R1-Zero after as many rollouts, and scores higher",
    variants=(
        Variant("r1", R1, ("final",), ("stages.small-base=null", "stages.small=null"), budget=("reasoning", "final")),
        Variant("r1-zero", R1_ZERO, ("zero",)),
    ),
    measures={
        "form": judged(R1, "math", FORM),
        "language": judged(R1, "math", LATIN),
        "score": judged(R1, "math"),
    },
    budget="rollouts",
)
MIXED_RL = Claim(
    name="deepseek-v3.2-mixed-rl",
    source="DeepSeek-V3.2, arXiv 2512.02556, section 3",
    says="DeepSeek-V3.2: mixed RL after the distillation beats as many steps of distillation alone",
    variants=(
        Variant("then mixed RL", V3_2, ("mixed",), budget=("distilled", "mixed")),
        Variant("alone", V3_2, ("distilled",), ("stages.mixed=null", "stages.distilled.steps=460")),
    ),
    measures={"score": score()},
)
WARM_UP = Claim(
    name="nemotron-3-ultra-warm-up",
    source="Nemotron 3 Ultra, MOPD warm-up",
    says="Nemotron 3 Ultra: a warm-up SFT before MOPD beats as many steps of MOPD alone",
    variants=(
        Variant("warm-up", NEMOTRON, ("mopd-1",), ROUND_1, budget=("warmup", "mopd-1")),
        Variant(
            "none",
            NEMOTRON,
            ("mopd-1",),
            (
                *ROUND_1,
                "stages.traces=null",
                "stages.warmup=null",
                "stages.mopd-1.init_from=rlvr",
                "stages.mopd-1.steps=90",
            ),
        ),
    ),
    measures={"score": score()},
)
SECOND_ROUND = Claim(
    name="nemotron-3-ultra-round-2",
    source="Nemotron 3 Ultra, MOPD-2",
    says="Nemotron 3 Ultra: a second round with new teachers beats as many steps of the first (teachers not counted)",
    variants=(
        Variant("round 2", NEMOTRON, ("mopd-2",), budget=("mopd-1", "mopd-2")),
        Variant("round 1", NEMOTRON, ("mopd-1",), (*ROUND_1, "stages.mopd-1.steps=110")),
    ),
    measures={"score": score()},
)
CROSS_STAGE = Claim(
    name="glm-5-cross-stage",
    source="GLM-5, on-policy cross-stage distillation",
    says="GLM-5: cross-stage distillation recovers what later stages forgot, as more of the last stage does not",
    variants=(
        Variant("distilled", GLM_5, ("cross-stage",), budget=("general", "cross-stage")),
        Variant("more general RL", GLM_5, ("general",), ("stages.cross-stage=null", "stages.general.steps=120")),
    ),
    measures={"earlier domains": score("math", "code", "agent"), "last domain": score("general")},
    budget="rollouts",
)
BY_MOPD = (
    "stages.by-mopd={use: mopd, init_from: sft, loss: sampled-token, steps: 170, prompts: 128, lr: 3.0e-4, "
    "schedule: linear, warmup: 3, sampling: {max_tokens: 40}, teachers: {math: {stage: climb-stem}, "
    "code: {stage: climb-stem}, agent: {stage: climb-agent}, helpful: {stage: climb-helpful}}}"
)
TRACES = Claim(
    name="mai-thinking-1-traces",
    source="MAI-Thinking-1, consolidation",
    says="MAI-Thinking-1: SFT on the climbs' traces beats MOPD from the same climbs",
    variants=(
        Variant(
            "trace SFT",
            MAI,
            ("consolidated",),
            ("stages.final=null",),
            budget=("traces-stem", "traces-agent", "traces-helpful", "consolidated"),
        ),
        Variant(
            "MOPD",
            MAI,
            ("by-mopd",),
            (
                *(f"stages.{stage}=null" for stage in ("final", "consolidated")),
                *(f"stages.traces-{climb}=null" for climb in ("stem", "agent", "helpful")),
                "admission.margin=-1.0",
                BY_MOPD,
            ),
        ),
    ),
    measures={"score": score()},
    budget="tokens",
)

CLAIMS = {
    claim.name: claim
    for claim in (
        KEEP_ALL_ROUNDS,
        AVERAGED_SFT,
        AVERAGED_DPO,
        COLD_START,
        MIXED_RL,
        WARM_UP,
        SECOND_ROUND,
        CROSS_STAGE,
        TRACES,
    )
}
