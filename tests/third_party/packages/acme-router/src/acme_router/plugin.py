"""Entry point of acme-router."""

from collegium import component, hookimpl


@hookimpl
def register_routers():
    """Offer the router `by-unit`."""
    return [component("by-unit", "acme_router.router:ByUnitRouter", "Route by the unit that the prompt asks for.")]
