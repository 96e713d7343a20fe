"""The kinds of component, one module each: the classes that a plugin subclasses."""
