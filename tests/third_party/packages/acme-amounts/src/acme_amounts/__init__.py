"""Lab domain of chemical amounts: conversions between a unit and its prefixed forms."""
