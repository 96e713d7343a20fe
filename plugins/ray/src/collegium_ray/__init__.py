"""The executor `ray`: stages as tasks of a Ray cluster."""
