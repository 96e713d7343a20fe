"""Episodes: completions of one or several turns, between a model and the environment of the task's domain.

Token in, token out (GLM-5): an episode is one list of ids that only grows. The model continues from the ids as they
are; what it sampled is never decoded and encoded again, and a reply is encoded alone and appended. A turn of the model
ends with its end-of-sequence token, which stays in the ids and is trained. The ids of replies are read and never
trained: `Generation.sampled` is False there and their log-prob is 0.

An episode ends with ``stop`` when the environment has nothing more to say, and with ``length`` when it is cut: a turn
without an end, `max_turns` turns, `sampling.max_tokens` sampled tokens (of all turns together; replies do not count),
or a reply after which there is no room in `max_context` or the model's context. The last id is always a sampled one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from transformers import PreTrainedTokenizerBase

from collegium.environment_host import EnvironmentHost
from collegium.errors import DataError
from collegium.kinds.engine import Engine, Generation, SamplingParams
from collegium.kinds.environment import Episode
from collegium.task import FinishReason, Sample, Task
from collegium.training.generation import generate
from collegium.training.language_model import LanguageModel
from collegium.training.seeds import derive
from collegium.training.tokenizers import decode_completion, encode_reply
from collegium.verdict import Error, Verdict


@dataclass(frozen=True, slots=True)
class Played:
    """How an episode went.

    Args:
        generation: All its turns; `sampled` is None if no environment took part.
        turns: The model's turns.
        problem: What the environment failed with; the generation is what there was until then, and is not trained on.
    """

    generation: Generation
    turns: int = 1
    problem: Error | None = None


@dataclass(slots=True)
class _Running:
    """An episode that is being played."""

    prompt: list[int]
    images: tuple[bytes, ...]
    seed: int
    host: EnvironmentHost
    episode: Episode
    parts: list[Generation] = field(default_factory=list)
    turns: int = 0
    finish: FinishReason | None = None
    problem: Error | None = None

    @property
    def ids(self) -> list[int]:
        """Prompt and all turns."""
        return [*self.prompt, *(token for part in self.parts for token in part.token_ids)]

    @property
    def sampled(self) -> int:
        """Tokens that the model sampled."""
        return sum(part.length for part in self.parts)

    @property
    def turn_seed(self) -> int:
        """The seed of the next turn; that of the first is the prompt's."""
        return derive(self.seed, "turn", self.turns) if self.turns else self.seed

    def end(self, finish: FinishReason, problem: Error | None = None) -> None:
        """Be over."""
        self.finish, self.problem = finish, problem

    def played(self) -> Played:
        """Return how it went, as one generation."""
        return Played(_joined(self.parts, self.finish or "length"), self.turns, self.problem)


def play(
    engine: Engine,
    policy: LanguageModel,
    tasks: Sequence[Task],
    prompts: Sequence[list[int]],
    sampling: SamplingParams,
    seeds: Sequence[int],
    hosts: Mapping[str, EnvironmentHost],
) -> list[Played]:
    """Play one episode per task, all of them turn by turn; tasks of domains without environment have one turn.

    Args:
        engine: Has the weights already.
        policy: Whose tokenizer and context it is.
        tasks: What each episode is about; equal ones may stand side by side.
        prompts: Each task's prompt as ids.
        sampling: Its `max_tokens` bounds what the model samples in an episode.
        seeds: One per episode; the same seed, prompt and weights give the same episode.
        hosts: Domain to environment, of the domains that have one.

    Raises:
        EngineError: If the engine fails, or a prompt with a first turn does not fit the model's context.
    """
    made = generate(engine, list(prompts), sampling, seeds, [task.images for task in tasks]) if prompts else []
    started = [index for index, task in enumerate(tasks) if task.domain in hosts]
    running: dict[int, _Running] = {}
    failed: dict[int, Played] = {}
    try:
        for index, opened in zip(started, _open([tasks[index] for index in started], hosts), strict=True):
            if isinstance(opened, Error):
                failed[index] = Played(_joined([made[index]], "length"), problem=opened)
            else:
                host = hosts[tasks[index].domain]
                running[index] = _Running(prompts[index], tasks[index].images, seeds[index], host, opened)
        _converse(engine, policy, sampling, running, made)
    finally:
        for host in hosts.values():
            host.close([each.episode for each in running.values() if each.host is host])
    played = {index: each.played() for index, each in running.items()} | failed
    return [played[index] if index in played else Played(each) for index, each in enumerate(made)]


def settle(
    samples: Sequence[Sample], played: Sequence[Played], hosts: Mapping[str, EnvironmentHost]
) -> list[Verdict | None]:
    """Count the episodes in their environments' error budgets, and return the verdicts on those that failed.

    Returns:
        One per sample: None where a verifier or reward source has to judge it.

    Raises:
        VerifierError: If an environment's error budget is spent and the policy says ``stop``.
    """
    for domain, host in hosts.items():
        pairs = zip(samples, played, strict=True)
        host.record([each.problem for sample, each in pairs if sample.domain == domain])
    return [
        None if each.problem is None else hosts[sample.domain].verdict(each.problem)
        for sample, each in zip(samples, played, strict=True)
    ]


def _converse(
    engine: Engine,
    policy: LanguageModel,
    sampling: SamplingParams,
    running: Mapping[int, _Running],
    first: Sequence[Generation],
) -> None:
    """Play every episode to its end; `first` are the first turns of all rows."""
    turns = [(each, first[index]) for index, each in running.items()]
    while turns:
        for each, made in turns:
            _take(each, made, sampling)
        ended = [each for each, _ in turns if each.finish is None]
        _answer(ended, policy, sampling)
        turns = list(_next_turns(engine, policy, sampling, [each for each in ended if each.finish is None]))


def _take(each: _Running, made: Generation, sampling: SamplingParams) -> None:
    """Add a turn, cut where the episode's tokens are used up."""
    room = sampling.max_tokens - each.sampled
    cut = made.length > room
    each.parts.append(_cut(made, room) if cut else made)
    each.turns += 1
    if cut or made.finish_reason == "length":
        each.end("length")


def _answer(ended: Sequence[_Running], policy: LanguageModel, sampling: SamplingParams) -> None:
    """Ask the environments about turns that ended, and append what they say where the episode goes on."""
    tokenizer = policy.tokenizer
    for host in dict.fromkeys(each.host for each in ended):
        own = [each for each in ended if each.host is host]
        texts = [decode_completion(tokenizer, list(each.parts[-1].token_ids), policy.stop_ids) for each in own]
        answers = host.reply([(each.episode, text) for each, text in zip(own, texts, strict=True)])
        for each, answer in zip(own, answers, strict=True):
            if answer is None:
                each.end("stop")
                continue
            reply = answer if isinstance(answer, Error) else _reply_ids(tokenizer, answer, host)
            if isinstance(reply, Error):
                each.end("length", reply)
            else:
                _append(each, reply, policy, sampling)


def _append(each: _Running, reply: list[int], policy: LanguageModel, sampling: SamplingParams) -> None:
    """Append a reply, or cut the episode where no further turn is allowed or fits after it."""
    most = _context(each, policy)
    full = most is not None and len(each.ids) + len(reply) >= most
    if full or each.turns >= each.host.config.max_turns or each.sampled >= sampling.max_tokens:
        each.end("length")
        return
    version = each.parts[-1].weight_version
    zeros = (0.0,) * len(reply)
    each.parts.append(Generation(tuple(reply), zeros, "stop", version, sampled=(False,) * len(reply)))


def _next_turns(
    engine: Engine, policy: LanguageModel, sampling: SamplingParams, going: list[_Running]
) -> Iterator[tuple[_Running, Generation]]:
    """Sample the next turn of each episode: those in one call whose context has room for the longest of their turns."""
    ids = [each.ids for each in going]
    rooms = [_room(each, len(before), policy, sampling) for each, before in zip(going, ids, strict=True)]
    left = list(range(len(going)))
    while left:
        longest = max(rooms[index] for index in left)
        most = policy.context_length
        chosen = [index for index in left if most is None or len(ids[index]) + longest <= most]
        left = [index for index in left if index not in set(chosen)]
        limits = sampling.model_copy(update={"max_tokens": longest})
        turn_seeds = [going[index].turn_seed for index in chosen]
        shown = [going[index].images for index in chosen]
        made = generate(engine, [ids[index] for index in chosen], limits, turn_seeds, shown)
        for index, turn in zip(chosen, made, strict=True):
            yield going[index], _cut(turn, rooms[index]) if turn.length > rooms[index] else turn


def _room(each: _Running, tokens: int, policy: LanguageModel, sampling: SamplingParams) -> int:
    """Return how many tokens the next turn may have, at least one."""
    most, budget = _context(each, policy), sampling.max_tokens - each.sampled
    return budget if most is None else min(budget, most - tokens)


def _context(each: _Running, policy: LanguageModel) -> int | None:
    limits = [most for most in (policy.context_length, each.host.config.max_context) if most is not None]
    return min(limits, default=None)


def _open(tasks: Sequence[Task], hosts: Mapping[str, EnvironmentHost]) -> list[Episode | Error]:
    """Open an episode of each task with its domain's environment, in order."""
    opened: dict[int, Episode | Error] = {}
    for domain, host in hosts.items():
        own = [index for index, task in enumerate(tasks) if task.domain == domain]
        if host.quarantined:
            opened |= dict.fromkeys(own, Error(f"quarantined: {host.budget.quarantine}", host.owner))
        else:
            opened |= zip(own, host.open([tasks[index] for index in own]), strict=True)
    return [opened[index] for index in range(len(tasks))]


def _reply_ids(tokenizer: PreTrainedTokenizerBase, text: str, host: EnvironmentHost) -> list[int] | Error:
    """Encode a reply by itself; special tokens stand only in what the recipe puts around it."""
    parts = ((host.config.prefix, True), (text, False), (host.config.suffix, True))
    try:
        return [token for part, special in parts for token in encode_reply(tokenizer, part, special=special)]
    except DataError as error:
        return Error(error.problems[0].what, host.owner)


def _cut(made: Generation, room: int) -> Generation:
    """Return a turn's first `room` tokens, without an end."""
    return replace(
        made,
        token_ids=made.token_ids[:room],
        logprobs=made.logprobs[:room],
        finish_reason="length",
        kept=made.kept and made.kept[:room],
    )


def _joined(parts: Sequence[Generation], finish: FinishReason) -> Generation:
    """Return turns and replies as one generation, as old as its oldest turn."""
    truncated = any(part.kept is not None for part in parts)
    return Generation(
        token_ids=tuple(token for part in parts for token in part.token_ids),
        logprobs=tuple(value for part in parts for value in part.logprobs),
        finish_reason=finish,
        weight_version=min(part.weight_version for part in parts),
        sampled=tuple(own for part in parts for own in part.sampled or (True,) * len(part.token_ids)),
        kept=tuple(ids for part in parts for ids in part.kept or ((),) * len(part.token_ids)) if truncated else None,
    )
