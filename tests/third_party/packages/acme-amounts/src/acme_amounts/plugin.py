"""Entry point of acme-amounts."""

from collegium import component, hookimpl


@hookimpl
def register_tasks():
    """Offer the task source `amounts`."""
    return [component("amounts", "acme_amounts.tasks:AmountsTasks", "Conversions of chemical amounts and volumes.")]
