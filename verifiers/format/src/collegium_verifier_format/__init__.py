"""Verifiers of form: format and length."""
