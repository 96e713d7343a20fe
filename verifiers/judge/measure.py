"""Measure the reward model verifier on real preference pairs: train a small one, then judge pairs that it never saw.

The checkpoint is made here, so the figures speak of the verifier's working and of a 0.4-million-weight model, not of
whatever checkpoint a recipe names. The LLM judge has no error rate of its own and none is measured.

``python measure.py DATA`` prints the pairwise accuracy beside the length baselines.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from collegium.audit import AuditSpec

VERIFIER = "collegium-verifier-judge/reward-model"
FILE = "pref_small_politeness.jsonl"
SOURCE = "rasbt/LLMs-from-scratch, instruction-data-with-preference (Apache-2.0)"
CHECKPOINT = Path(".collegium/measure/reward-model")
"""Where `audits` leaves its model, from the working directory; made anew each time."""
PAD, EOS = "<pad>", "<eos>"


@dataclass(frozen=True)
class Pair:
    """A prompt with a preferred and a rejected completion."""

    id: str
    prompt: str
    chosen: str
    rejected: str


def read_pairs(data: Path) -> list[Pair]:
    """Return the pairs whose completions differ."""
    rows = [json.loads(line) for line in (data / FILE).read_text(encoding="utf-8").splitlines()]
    return [_pair(row) for row in rows if row["chosen"] != row["rejected"]]


def _pair(row: dict[str, Any]) -> Pair:
    prompt = "\n".join(part for part in (row["instruction"], row["input"], "") if part) + "\n"
    return Pair(row["id"], prompt, row["chosen"], row["rejected"])


def split(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Return pairs to train on (70%), to calibrate on (10%), and held out (20%), by a hash of the id.

    A prompt that occurs in the first two is not held out.
    """
    parts: tuple[list[Pair], list[Pair], list[Pair]] = ([], [], [])
    for pair in pairs:
        tenth = int(hashlib.sha256(pair.id.encode()).hexdigest(), 16) % 10
        parts[2 if tenth < 2 else 1 if tenth == 9 else 0].append(pair)
    known = {pair.prompt for part in parts[:2] for pair in part}
    return parts[0], parts[1], [pair for pair in parts[2] if pair.prompt not in known]


def train_reward_model(
    pairs: Sequence[Pair], folder: Path, *, epochs: int = 5, seed: int = 0, width: int = 128
) -> None:
    """Train a one-layer Llama with a reward head by the Bradley-Terry loss, and save it with a byte-level tokenizer.

    The loss is ``-log sigmoid(reward of the chosen - reward of the rejected)``.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer = _tokenizer(pairs)
    model = _model(len(tokenizer), width)
    encoded = sorted((_encode(tokenizer, pair) for pair in pairs), key=lambda both: len(both[0]))
    batches = [encoded[start : start + 16] for start in range(0, len(encoded), 16)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1, betas=(0.9, 0.98))
    steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 20) * (1 - step / steps))
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for index in torch.randperm(len(batches), generator=order).tolist():
            rewards = _rewards(model, [side for both in batches[index] for side in both])
            loss = -torch.nn.functional.logsigmoid(rewards[0::2] - rewards[1::2]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _tokenizer(pairs: Sequence[Pair]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([text for each in pairs for text in (each.prompt, each.chosen, each.rejected)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=EOS, pad_token=PAD)


def _model(vocabulary: int, width: int) -> Any:
    from transformers import AutoModelForSequenceClassification, LlamaConfig

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        num_labels=1,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return AutoModelForSequenceClassification.from_config(config)


def _encode(tokenizer: Any, pair: Pair) -> tuple[list[int], list[int]]:
    prompt = tokenizer.encode(pair.prompt)
    end = tokenizer.eos_token_id
    chosen, rejected = ([*prompt, *tokenizer.encode(text), end] for text in (pair.chosen, pair.rejected))
    return chosen, rejected


def _rewards(model: Any, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    width = max(map(len, sequences))
    tokens = torch.tensor([[*sequence, *[0] * (width - len(sequence))] for sequence in sequences])
    mask = torch.tensor([[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in sequences])
    logits: torch.Tensor = model(input_ids=tokens, attention_mask=mask).logits
    return logits[:, 0]


def raw_rewards(folder: Path, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """Return each pair's raw rewards, as the reward source gives them.

    Raises:
        RuntimeError: If a completion gets none.
    """
    from collegium import Completion, Sample, Score, Task
    from collegium_verifier_judge.reward_model import RewardModelScore

    source = RewardModelScore({"path": folder})
    texts = [(pair, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    verdicts = source.score([Sample(Task(pair.id, pair.prompt), Completion(text)) for pair, text in texts])
    values = [verdict.value for verdict in verdicts if isinstance(verdict, Score)]
    if len(values) != len(texts):
        raise RuntimeError(f"{len(texts) - len(values)} of {len(texts)} completions got no reward")
    return list(zip(values[0::2], values[1::2], strict=True))


def calibrate(rewards: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return ``(shift, scale)`` by which sigmoid((reward - shift) / scale) best tells chosen from rejected.

    Maximum likelihood with a small penalty on the slope (Platt scaling), since pairs may be separable.
    """
    import torch

    raw = torch.tensor([value for both in rewards for value in both], dtype=torch.float64)
    labels = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(len(rewards))
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # slope, intercept
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = parameters[0] * raw + parameters[1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels) + 1e-3 * parameters[0] ** 2
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        return loss

    optimizer.step(closure)
    slope, intercept = parameters.tolist()
    if slope <= 0:
        raise RuntimeError(f"the reward model prefers what was rejected (slope {slope:g})")
    return round(-intercept / slope, 3), round(1 / slope, 3)


def pairwise(rewards: Sequence[tuple[float, float]]) -> float:
    """Return the share of pairs whose chosen completion has the higher value; equal ones count half."""
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in rewards) / len(rewards)


def trained(data: Path, folder: Path) -> tuple[float, float, list[Pair]]:
    """Train on real pairs into a folder; return shift, scale and the held-out pairs."""
    train, calibration, heldout = split(read_pairs(data))
    train_reward_model(train, folder)
    shift, scale = calibrate(raw_rewards(folder, calibration))
    return shift, scale, heldout


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield the audit of the reward model verifier on held-out completions."""
    from collegium.audit import AuditSpec
    from collegium.testing.conformance.cases import Case

    CHECKPOINT.mkdir(parents=True, exist_ok=True)
    shift, scale, heldout = trained(data, CHECKPOINT)
    rewards = raw_rewards(CHECKPOINT, heldout)
    cases = []
    for pair in heldout:
        for side, label in (("chosen", 1), ("rejected", 0)):
            cases.append(
                Case(id=f"{pair.id}/{side}", prompt=pair.prompt, completion=getattr(pair, side), expected=label)
            )
    length = length_baseline(heldout)
    yield AuditSpec(
        name="politeness, held-out completions, by a small reward model trained on the rest",
        verifier=VERIFIER,
        cases=cases,
        options={"path": str(CHECKPOINT), "shift": shift, "scale": scale, "pass_at": 0.5},
        learned=True,
        source=SOURCE,
        note=f"{len(heldout)} pairs: {pairwise(rewards):.1%} pairwise; by length {max(length, 1 - length):.1%}",
    )


def length_baseline(pairs: Sequence[Pair]) -> float:
    """Return the pairwise accuracy of "the longer completion is the better one"."""
    return pairwise([(float(len(pair.chosen)), float(len(pair.rejected))) for pair in pairs])


def report(data: Path) -> dict[str, float]:
    """Return the held-out figures: pairwise accuracy, with its standard error, beside baselines of length."""
    with tempfile.TemporaryDirectory() as folder:
        shift, scale, heldout = trained(data, Path(folder))
        rewards = raw_rewards(Path(folder), heldout)
    longer = length_baseline(heldout)
    accuracy = pairwise(rewards)
    right = [a > shift for a, _ in rewards] + [b <= shift for _, b in rewards]
    short = [both for both, pair in zip(rewards, heldout, strict=True) if len(pair.chosen) < len(pair.rejected)]
    return {
        "pairs": len(heldout),
        "pairwise": accuracy,
        "standard_error": math.sqrt(accuracy * (1 - accuracy) / len(heldout)),
        "longer_is_better": longer,
        "shorter_is_better": 1 - longer,
        "pairwise_where_the_chosen_is_shorter": pairwise(short),
        "single_completions_at_0.5": sum(right) / len(right),
        "shift": shift,
        "scale": scale,
    }


if __name__ == "__main__":
    for name, value in report(Path(sys.argv[1])).items():
        print(f"{name:<40}{value:.4g}")
