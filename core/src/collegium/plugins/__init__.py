"""Discovery, the plugin contract, and the registry that resolves component names."""

from collegium.plugins.discovery import PluginRecord, discover
from collegium.plugins.registry import Entry, Registry

__all__ = ["Entry", "PluginRecord", "Registry", "discover"]
