"""The core's own plugin: its components register through the same hooks as everybody's."""
