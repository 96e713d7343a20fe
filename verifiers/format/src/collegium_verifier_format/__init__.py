"""Verifiers of form: format, length, language and repetition."""
