"""The engine `transformers`: sampling in process with the policy's own weights and key-value cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import DynamicCache

from collegium.builtin_components.configs import TransformersEngineConfig
from collegium.errors import EngineError
from collegium.kinds.engine import Engine, Generation, SamplingParams
from collegium.training.language_model import LanguageModel
from collegium.training.tokenizers import padding
from collegium.training.vision import Pictures, model_inputs

Request: TypeAlias = tuple[tuple[int, ...], tuple[bytes, ...]]
"""A prompt's ids and its pictures."""
COMPACT_BELOW = 0.75
"""Share of a decoding batch still running below which the finished rows are dropped from it."""


class TransformersEngine(Engine):
    """Sample with the weights that training holds; `sync` only takes note of them, so it costs nothing."""

    Config = TransformersEngineConfig
    records_kept = True
    reads_images = True

    def sync(self, policy: LanguageModel, version: int) -> None:
        """Sample from `policy` from now on; where its weights are split over ranks, from a copy of them."""
        self._policy = policy.whole()
        self._version = version

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingParams,
        seeds: Sequence[int],
        images: Sequence[tuple[bytes, ...]] | None = None,
    ) -> Sequence[Generation]:
        """Return one generation per prompt; it depends on nothing but prompt, pictures, seed, weights and `sampling`.

        Raises:
            EngineError: If there is no policy yet, a prompt is empty, or a completion may not fit the model's context.
            PolicyError: If there are pictures and the policy reads text alone.
        """
        policy = getattr(self, "_policy", None)
        if policy is None:
            raise EngineError("the engine has no weights", fix="call sync before generate", owner="collegium")
        empty = [index for index, prompt in enumerate(prompts) if not len(prompt)]
        if empty:
            raise EngineError(f"prompts {empty[:5]} have no token", fix="give each task a prompt", owner="collegium")
        check_room(policy, prompts, sampling)
        shown = [tuple(prompt) for prompt in prompts], images or [()] * len(prompts)
        requests = list(zip(*shown, strict=True))
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        made: dict[int, Generation] = {}
        training = policy.model.training
        policy.model.eval()
        try:
            for start in range(0, len(order), self.config.batch):
                rows = order[start : start + self.config.batch]
                decoding = _Decoding(policy, [requests[row] for row in rows], sampling, [seeds[row] for row in rows])
                made.update(zip(rows, decoding.run(self._version), strict=True))
        finally:
            policy.model.train(training)
        return [made[index] for index in range(len(prompts))]


def check_room(policy: LanguageModel, prompts: Sequence[Sequence[int]], sampling: SamplingParams) -> None:
    """Check that the longest prompt and its completion fit the model's context.

    Raises:
        EngineError: If they do not.
    """
    longest, most = max(map(len, prompts), default=0), policy.context_length
    if most is not None and longest + sampling.max_tokens > most:
        raise EngineError(
            f"a prompt of {longest} tokens and {sampling.max_tokens} sampled ones exceed the model's context of {most}",
            fix="lower sampling.max_tokens, shorten the prompts, or use a model with a longer context",
            owner="collegium",
        )


class _Decoding:
    """One batch being decoded. Rows: ``R`` still in the batch, of which `running` are unfinished."""

    def __init__(
        self, policy: LanguageModel, requests: list[Request], sampling: SamplingParams, seeds: list[int]
    ) -> None:
        self.policy = policy
        self.sampling = sampling
        self.noise = uniforms(seeds, sampling.max_tokens).to(policy.device)
        self.stop = torch.tensor(sorted(policy.stop_ids), device=policy.device)
        self.cache = DynamicCache(config=policy.model.config)
        self.requests = requests
        self.mask = torch.zeros(0, 0, dtype=torch.long)
        self.padded = False
        count = len(requests)
        self.rows = torch.arange(count, device=policy.device)
        self.running = torch.ones(count, dtype=torch.bool, device=policy.device)
        self.sampled = torch.zeros(count, sampling.max_tokens, dtype=torch.long, device=policy.device)
        self.logprobs = torch.zeros(count, sampling.max_tokens, device=policy.device)
        self.lengths = torch.full((count,), sampling.max_tokens, device=policy.device)
        self.stopped = torch.zeros(count, dtype=torch.bool, device=policy.device)
        self.kept: list[list[tuple[int, ...]]] | None = [[] for _ in requests] if sampling.keep_mask else None

    def run(self, version: int) -> list[Generation]:
        """Decode to the end and return the generations in the order of the prompts."""
        logits, positions = self._read_prompts()
        for step in range(self.sampling.max_tokens):
            chosen, logprobs = self._choose(logits, step)
            self.sampled[self.rows, step], self.logprobs[self.rows, step] = chosen, logprobs
            self._finish(chosen, step)
            if not self.running.any():
                break
            tokens, positions = chosen[:, None], positions + 1
            self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=1)
            if self.running.sum() < COMPACT_BELOW * len(self.rows):
                tokens, positions = self._compact(tokens, positions)
            logits = self._logits(tokens, positions)
        return self._generations(version)

    def _read_prompts(self) -> tuple[Tensor, Tensor]:
        """Run the prompts, each different one once, and return every row's next logits and last position."""
        unique = {request: index for index, request in enumerate(dict.fromkeys(self.requests))}
        width = max(len(prompt) for prompt, _ in unique)
        tokens = torch.full((len(unique), width), padding(self.policy.tokenizer), dtype=torch.long)
        mask = torch.zeros(len(unique), width, dtype=torch.long)
        for (prompt, _), row in unique.items():
            tokens[row, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
            mask[row, width - len(prompt) :] = 1
        self.mask = mask.to(self.policy.device)
        self.padded = bool((mask == 0).any())
        positions = (self.mask.cumsum(dim=1) - 1).clamp_min(0)
        tokens = tokens.to(self.policy.device)
        logits = self._logits(tokens, positions, self.policy.pictures(tokens, [images for _, images in unique]))
        rows = torch.tensor([unique[request] for request in self.requests], device=self.policy.device)
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]
        return logits[rows], positions[rows, -1:]

    def _logits(self, tokens: Tensor, positions: Tensor, pictures: Pictures | None = None) -> Tensor:
        """Return the logits of the next token, ``[R, V]`` float32."""
        output = self.policy.model.base_model(
            **model_inputs(self.policy.model, tokens, pictures),
            attention_mask=self.mask if self.padded else None,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        hidden = output.last_hidden_state[:, -1]
        return torch.nn.functional.linear(hidden, self.policy.head, self.policy.head_bias).float()

    def _choose(self, logits: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the next token of each row and its log-prob under the distribution it was drawn from, ``[R]`` each."""
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1), torch.zeros(len(logits), device=logits.device)
        logprobs = torch.log_softmax(logits / self.sampling.temperature, dim=-1)
        if self.sampling.top_p < 1:
            logprobs = keep_nucleus(logprobs, self.sampling.top_p)
            self._record(logprobs)
        chosen = draw(logprobs, self.noise[self.rows, step])
        return chosen[:, 0], logprobs.gather(1, chosen)[:, 0]

    def _record(self, logprobs: Tensor) -> None:
        """Note the ids that truncation kept in every row, where that is asked for."""
        if self.kept is None:
            return
        found = logprobs > float("-inf")
        sets = torch.split(found.nonzero()[:, 1].cpu(), found.sum(dim=1).tolist())
        for row, ids, running in zip(self.rows.tolist(), sets, self.running.tolist(), strict=True):
            if running:
                self.kept[row].append(tuple(ids.tolist()))

    def _finish(self, chosen: Tensor, step: int) -> None:
        ended = self.running & torch.isin(chosen, self.stop)
        self.lengths[self.rows[ended]] = step + 1
        self.stopped[self.rows[ended]] = True
        self.running &= ~ended

    def _compact(self, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Drop the finished rows from the batch and its cache."""
        kept = self.running.nonzero()[:, 0]
        self.cache.batch_select_indices(kept)
        self.rows, self.mask, self.running = self.rows[kept], self.mask[kept], self.running[kept]
        return tokens[kept], positions[kept]

    def _generations(self, version: int) -> list[Generation]:
        sampled, logprobs = self.sampled.tolist(), self.logprobs.tolist()
        return [
            Generation(
                token_ids=tuple(sampled[row][:length]),
                logprobs=tuple(logprobs[row][:length]),
                finish_reason="stop" if stopped else "length",
                weight_version=version,
                kept=None if self.kept is None else tuple(self.kept[row]),
            )
            for row, (length, stopped) in enumerate(zip(self.lengths.tolist(), self.stopped.tolist(), strict=True))
        ]


def uniforms(seeds: Sequence[int], count: int) -> Tensor:
    """Return `count` numbers in [0, 1) from each seed, ``[len(seeds), count]`` float64; the same on every device."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(rows)


def draw(logprobs: Tensor, noise: Tensor) -> Tensor:
    """Invert each row's cumulative distribution at `noise`: ``[R, V]`` and ``[R]`` to tokens ``[R, 1]``."""
    cumulative = logprobs.double().exp().cumsum(dim=-1)
    # Rounding may leave the total a little below or above 1; a token of probability 0 is never the first above.
    wanted = noise[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, wanted, right=True).clamp_max(logprobs.shape[1] - 1)


def keep_nucleus(logprobs: Tensor, top_p: float) -> Tensor:
    """Restrict log-probs ``[R, V]`` to the smallest set of tokens whose mass reaches `top_p`, and renormalise."""
    ordered, index = logprobs.sort(dim=-1, descending=True)
    mass_before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    ordered = ordered.masked_fill(mass_before >= top_p, float("-inf"))
    return torch.log_softmax(torch.full_like(logprobs, float("-inf")).scatter(1, index, ordered), dim=-1)
