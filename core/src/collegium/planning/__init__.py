"""Planning: from a loaded recipe to a plan with every component resolved and every stage fingerprinted."""

from collegium.planning.plan import Plan, PlannedStage, make_plan

__all__ = ["Plan", "PlannedStage", "make_plan"]
