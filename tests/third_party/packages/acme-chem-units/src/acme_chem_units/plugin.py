"""Entry point of acme-chem-units."""

from collegium import component, hookimpl


@hookimpl
def register_verifiers():
    """Offer the verifier `units`."""
    return [component("units", "acme_chem_units.verifier:UnitsVerifier", "Chemical quantities, equal in value.")]
