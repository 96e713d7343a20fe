"""Write new plugin packages that work at once (light: no torch)."""
