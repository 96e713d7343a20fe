"""Fixtures for plugin authors: ``pytest_plugins = ["collegium.testing.fixtures"]``."""
