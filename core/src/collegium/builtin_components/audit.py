"""The stage `audit`: a verifier's error rates, measured in the run and kept with its lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collegium.audit import AuditReport, AuditSpec, Depth, run_audit
from collegium.builtin_components.audit_config import AuditConfig
from collegium.errors import VerifierError
from collegium.kinds.stage import Stage
from collegium.plugins.registry import Registry
from collegium.store import write_json
from collegium.testing.conformance.cases import read_cases

if TYPE_CHECKING:
    from collegium.training.context import StageContext

FILE = "audit.json"


class AuditStage(Stage):
    """Audit a verifier, leave ``audit.json``, and stop the run if it is worse than the recipe allows."""

    Config = AuditConfig

    def run(self, context: StageContext) -> None:
        """Audit and keep the result.

        Raises:
            VerifierError: If the agreement is below `fail_under`, or more probes passed than `most_exploits`.
        """
        config: AuditConfig = self.config
        spec = AuditSpec(str(config.cases), config.verifier.use, read_cases(config.cases), config.verifier.options)
        depth = Depth(config.threshold, perturb=config.perturb, exploits=config.exploits)
        report = run_audit(spec, Registry.discover(context.job.blocked), depth)
        context.output.mkdir(parents=True, exist_ok=True)
        write_json(context.output / FILE, report.to_json())
        context.journal.metrics(1, metrics_of(report))
        self._require(report)

    def _require(self, report: AuditReport) -> None:
        owner = report.verifier.rpartition("/")[0]
        config: AuditConfig = self.config
        if report.agreement is None:
            raise VerifierError(f"{config.cases} has no labelled case", fix="give cases with expected 0 or 1")
        if report.agreement < config.fail_under:
            raise VerifierError(
                f"{report.verifier} agrees with {report.agreement:.2%} of {report.cases} labelled cases, "
                f"{config.fail_under:.2%} is demanded; such as {', '.join(report.disagreements[:5])}",
                fix=f"collegium audit {report.verifier} --cases {config.cases} lists them",
                owner=owner,
            )
        passed = report.exploits.passed if report.exploits else []
        if len(passed) > config.most_exploits:
            raise VerifierError(
                f"{report.verifier} passes {len(passed)} completions that answer nothing, "
                f"{config.most_exploits} may; such as {', '.join(passed[:5])}",
                fix=f"collegium audit {report.verifier} --cases {config.cases} lists them",
                owner=owner,
            )


def metrics_of(report: AuditReport) -> dict[str, float]:
    """Return a report's figures as a stage's metrics."""
    found = {
        "audit/cases": report.cases,
        "audit/agreement": report.agreement,
        "audit/false_positive_rate": report.false_positive_rate,
        "audit/false_negative_rate": report.false_negative_rate,
        "audit/abstained": len(report.abstained),
        "audit/errors": len(report.errors),
    }
    if report.perturbations is not None:
        found |= {"audit/rewritten_lost": len(report.perturbations.lost)}
        found |= {"audit/rewritten_kept": len(report.perturbations.kept)}
    if report.exploits is not None:
        found |= {"audit/exploits_passed": len(report.exploits.passed)}
    return {name: float(value) for name, value in found.items() if value is not None}
