"""A package that offers a component of every kind and listens to every event."""
