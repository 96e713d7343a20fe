"""The stage `lm-eval`: the harness's `simple_evaluate` on the model, in this process, with local data.

Source: EleutherAI, lm-evaluation-harness. Differences: built-in tasks are not loaded (their data is on the hub), and
a task that asks the hub for anything fails.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from importlib import metadata
from typing import Any

from collegium import DataError, PluginError, Stage
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium_lm_eval.config import LmEvalConfig
from collegium_lm_eval.offline import offline
from collegium_lm_eval.results import metrics_of, report_of


class LmEvalStage(Stage):
    """Evaluate the model of ``init_from``; leaves ``lm-eval.json``, and its scores as the stage's metrics."""

    Config = LmEvalConfig

    def run(self, context: StageContext) -> None:
        """Run every task.

        Raises:
            PluginError: If the harness is not installed.
            DataError: If a task is not defined in the folder, or fails.
        """
        version = _harness_version()
        output = context.output.absolute()
        policy = LanguageModel.load(context.init_path, context.device)
        policy.model.train(False)
        # The harness resolves data files from the current directory; a task's data lies beside the task.
        with offline(context.directory.absolute() / "datasets"), contextlib.chdir(self.config.include_path):
            found = self._evaluate(policy, context.seed)
        output.mkdir(parents=True, exist_ok=True)
        report = {"harness": version, **report_of(found)}
        (output / "lm-eval.json").write_text(json.dumps(report, indent=1, sort_keys=True), encoding="utf-8")
        context.emit(1, 1, metrics_of(found["results"]))

    def _evaluate(self, policy: LanguageModel, seed: int) -> dict[str, Any]:
        harness: Any = importlib.import_module("lm_eval")  # by name: it is optional, so a type checker may lack it
        models: Any = importlib.import_module("lm_eval.models.huggingface")
        known: Any = importlib.import_module("lm_eval.tasks")
        config: LmEvalConfig = self.config
        manager = known.TaskManager(include_path=".", include_defaults=False)
        if unknown := sorted(set(config.tasks) - set(manager.all_tasks)):
            raise DataError(
                f"{str(config.include_path)!r} defines no task {unknown[0]!r}; it has {', '.join(manager.all_tasks)}",
                fix="name one of these, or add its YAML file to the folder",
                owner="collegium-lm-eval",
            )
        length = config.max_length or policy.context_length
        model = models.HFLM(
            pretrained=policy.model, tokenizer=policy.tokenizer, batch_size=config.batch, max_length=length
        )
        try:
            found = harness.simple_evaluate(
                model,
                tasks=list(config.tasks),
                num_fewshot=config.num_fewshot,
                limit=config.limit,
                log_samples=False,
                bootstrap_iters=0,
                apply_chat_template=config.apply_chat_template,
                task_manager=manager,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"the harness failed: {type(error).__name__}: {error}",
                fix="check the task's YAML and its data_files; nothing is fetched from the hub",
                owner="collegium-lm-eval",
            ) from error
        return dict(found or {})


def _harness_version() -> str:
    try:
        return metadata.version("lm-eval")
    except metadata.PackageNotFoundError:
        raise PluginError(
            "the stage lm-eval needs the package lm-eval, which is not installed",
            fix="pip install 'collegium-lm-eval[harness]'",
            owner="collegium-lm-eval",
        ) from None
