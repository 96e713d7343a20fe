"""Audit of a verifier: error rates on labelled cases, perturbations, exploit probes, agreement of two, latency."""

from collegium.audit.run import Depth, run_audit
from collegium.audit.spec import AuditReport, AuditSpec
from collegium.audit.variants import changed_numbers
from collegium.kinds.perturbation import Perturbation, white_space

__all__ = ["AuditReport", "AuditSpec", "Depth", "Perturbation", "changed_numbers", "run_audit", "white_space"]
