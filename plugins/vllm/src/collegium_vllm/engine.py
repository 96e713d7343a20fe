"""What both engines do: weights in, fingerprint checked, generations out."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Engine, Generation, SamplingParams
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium_vllm.checkpoint_weights import checkpoint_weights
from collegium_vllm.errors import engine_error
from collegium_vllm.fingerprint import Fingerprint, gathered
from collegium_vllm.runtime import Runtime
from collegium_vllm.sampling import Request, check_requests, generation_of


class SyncedEngine(Engine):
    """An engine whose vLLM starts with the first `sync` and gets the trainer's weights, in place, with every one."""

    served = False
    """Whether the ranks share one vLLM, to which rank 0 sends the weights; else each rank has its own."""

    _runtime: Runtime | None = None
    _version: int | None = None
    _stop_ids: tuple[int, ...] = ()
    _asleep = False

    def start(self, policy: LanguageModel) -> Runtime:
        """Start vLLM for a policy's architecture, with any weights, or attach to a running one."""
        raise NotImplementedError

    def sync(self, policy: LanguageModel, version: int) -> None:
        """Send the policy's weights, and check that vLLM has them.

        Raises:
            EngineError: If vLLM cannot start, dies, or has other weights afterwards.
            ConfigError: If the options do not fit this machine.
        """
        self._version = None  # whatever goes wrong below, nothing is sampled from weights of unknown origin
        runtime = self._started(policy)
        self._wake(runtime)
        self._stop_ids = tuple(sorted(policy.stop_ids))
        sends = world().is_main or not self.served
        fingerprint = Fingerprint(runtime.description.dtype)
        if self.served:
            world().barrier()  # no rank may still be sampling from the weights before
        weights = fingerprint.measure(checkpoint_weights(policy))
        if sends:
            runtime.load(weights)
        for _ in weights:  # every rank has to iterate to the end; on those that send nothing is left
            pass
        if sends:
            self._check(fingerprint, runtime, version)
        if self.served:
            world().barrier()
        self._version = version

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingParams,
        seeds: Sequence[int],
        images: Sequence[tuple[bytes, ...]] | None = None,
    ) -> Sequence[Generation]:
        """Return one generation per prompt, each drawn with its own seed.

        Raises:
            EngineError: If there are no weights yet, a prompt has no room or has pictures, or vLLM fails.
        """
        if images is not None and any(images):
            raise engine_error(
                "vLLM is given token ids alone here, and some prompts have pictures",
                fix="use engine: transformers in stages with pictures",
            )
        runtime, version = self._runtime, self._version
        if runtime is None or version is None:
            raise engine_error("the engine has no weights", fix="call sync before generate")
        check_requests(prompts, sampling, seeds, runtime.description.max_model_len)
        if not len(prompts):
            return []
        self._wake(runtime)
        requests = [
            Request(tuple(prompt), sampling, seed, self._stop_ids) for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        self._version = None  # for as long as it may fail
        answers = runtime.complete(requests)
        if len(answers) != len(requests):
            raise engine_error(f"vLLM returned {len(answers)} answers to {len(requests)} prompts", fix="report it")
        if self.config.sleep_between:
            runtime.sleep()
            self._asleep = True
        self._version = version
        return [generation_of(each, answer, version) for each, answer in zip(requests, answers, strict=True)]

    def close(self) -> None:
        """Stop vLLM, if this engine started it; a later `sync` starts it again."""
        runtime, self._runtime, self._version = self._runtime, None, None
        self._asleep = False
        if runtime is not None:
            runtime.close()

    def _started(self, policy: LanguageModel) -> Runtime:
        if self._runtime is not None and not self._runtime.is_usable():
            self.close()
        if self._runtime is None:
            runtime = self.start(policy)
            try:
                runtime.description.check_sleep(wanted=self.config.sleep_between)
                runtime.description.check_dtype(self.config.dtype, policy.compute_dtype)
            except BaseException:
                runtime.close()
                raise
            self._runtime = runtime
        return self._runtime

    def _wake(self, runtime: Runtime) -> None:
        if self._asleep:
            runtime.wake()
            self._asleep = False

    def _check(self, fingerprint: Fingerprint, runtime: Runtime, version: int) -> None:
        """Compare the weights that vLLM holds with those of the trainer."""
        different = fingerprint.differences(gathered(runtime.figures()))
        if different:
            more = f"; and {len(different) - 3} groups more" if len(different) > 3 else ""
            raise engine_error(
                f"vLLM does not have the trainer's weights of version {version}: {'; '.join(different[:3])}{more}",
                fix="resume the run; if it happens again, this version of vLLM does not update this architecture in "
                "place, and the engine transformers has to sample",
            )
