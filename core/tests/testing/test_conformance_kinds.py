"""Traps planted in routers, samplers, weighters, reward sources, task sources and losses are caught, too."""

from __future__ import annotations

import pytest

from collegium.testing.conformance import Subject, check_component, checks_for

HOOKS = {"router": "routers", "sampler": "samplers", "weighter": "weighters", "reward": "rewards", "task": "tasks"}
HOOKS["loss"] = "losses"
SOURCES = {
    "router": """
        from collegium import Router

        class Part(Router):
            def route(self, sample):
                if not sample.domain:
                    raise LookupError("no domain")
                return sample.domain
        """,
    "sampler": """
        from collegium import Sampler

        class Part(Sampler):
            def draw(self, count, rng):
                return rng.choices([task for name in sorted(self.pools) for task in self.pools[name]], k=count)
        """,
    "weighter": """
        from collegium import Weighter

        class Part(Weighter):
            def weights(self, domains, tokens):
                return [1.0] * len(domains)
        """,
    "reward": """
        from collegium import RewardSource, Score

        class Part(RewardSource):
            def score(self, batch):
                return [Score(-0.1 * len(sample.completion.text)) for sample in batch]
        """,
    "task": """
        from collegium import Task, TaskSource

        class Part(TaskSource):
            def tasks(self, split):
                start = 0 if split == "train" else 100
                return [Task(f"t{n}", f"{n} + 1 = ?", str(n + 1)) for n in range(start, start + 9)]
        """,
    "loss": """
        from collegium import Loss
        from collegium.training.streams import LossOutput

        class Part(Loss):
            def per_token(self, streams):
                return LossOutput(-streams.current, {"nll": -streams.current.detach()})
        """,
}
MUTANTS = [
    ("router", 'raise LookupError("no domain")', 'return "general"', "no-default-route"),
    ("router", "return sample.domain", "return {'math': 0.5, 'code': 0.6}", "routes-valid"),
    ("router", "return sample.domain", "return None", "routes-valid"),
    ("router", "return sample.domain", "self.n = getattr(self, 'n', 0) + 1; return f't{self.n}'", "routes-repeat"),
    ("sampler", "k=count", "k=max(count, 2)", "draws-the-number"),
    ("sampler", "return rng.choices", "import random; return random.choices", "draws-by-given-rng"),
    (
        "sampler",
        "return rng.choices",
        "self.n = getattr(self, 'n', 0) + 1; rng.seed(self.n); return rng.choices",
        "resumes",
    ),
    ("weighter", "[1.0] * len(domains)", "[1.0]", "weights-valid"),
    ("weighter", "[1.0] * len(domains)", "[2.0] * len(domains)", "weights-valid"),
    ("weighter", "[1.0] * len(domains)", "[float('nan')] * len(domains)", "weights-valid"),
    (
        "weighter",
        "[1.0] * len(domains)",
        "[float(len(domains))] + [0.0] * (len(domains) - 1)",
        "weights-follow-sequences",
    ),
    ("reward", "for sample in batch]", "for sample in batch[:-1]]", "finite-rewards"),
    ("reward", "-0.1 * len(sample.completion.text)", "1 / len(sample.completion.text)", "finite-rewards"),
    ("reward", "-0.1 * len(sample.completion.text)", "__import__('random').random()", "rewards-repeat"),
    (
        "reward",
        "for sample in batch]",
        "for sample in sorted(batch, key=lambda s: s.completion.text)]",
        "rewards-in-order",
    ),
    ("task", "else 100", "else 5", "splits-apart"),
    ("task", 'f"t{n}"', '"t"', "tasks-well-formed"),
    ("task", "str(n + 1))", 'str(n + 1), {}, "math")', "tasks-well-formed"),
    ("loss", "LossOutput(-streams.current,", "LossOutput(-streams.current.mean(),", "loss-finite"),
    ("loss", "LossOutput(-streams.current,", "LossOutput(-streams.current.detach(),", "gradient-finite"),
    ("loss", "(-streams.current,", "((streams.current - streams.current).sqrt(),", "gradient-finite"),
    ("loss", ".detach()}", "}", "loss-finite"),
    ("loss", "return LossOutput", "streams.token_ids += 1; return LossOutput", "loss-is-pure"),
]


def install(make_plugin, kind: str, source: str) -> None:
    plugin = f"""
        from collegium import component, hookimpl

        @hookimpl
        def register_{HOOKS[kind]}():
            return [component("part", "acme_part.part:Part", "A part.")]
        """
    card = f"{{card: 1, contract: 1, components: {{{kind}/part: {{}}}}}}"
    make_plugin("acme-part", card=card, plugin=plugin, part=source)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_sound_component_passes(make_plugin, kind):
    install(make_plugin, kind, SOURCES[kind])
    results = check_component(kind, "acme-part/part")
    assert {result.status for result in results} == {"passed"}, results


@pytest.mark.parametrize(("kind", "old", "new", "caught_by"), MUTANTS)
def test_a_planted_trap_is_caught(make_plugin, kind, old, new, caught_by):
    assert old in SOURCES[kind]
    install(make_plugin, kind, SOURCES[kind].replace(old, new))
    (check,) = [each for each in checks_for(kind) if each.name == caught_by]
    result = check.run(Subject(kind, "acme-part/part"))
    assert result.status == "failed", result
