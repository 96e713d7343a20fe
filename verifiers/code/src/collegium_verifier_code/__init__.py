"""Judge a model's Python by running it against tests in a sandbox of Linux namespaces.

Imports nothing: the sandbox's own process loads this package from a bare interpreter.
"""
