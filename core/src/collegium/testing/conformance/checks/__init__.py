"""The checks, one module per kind of component; `general` and `process` hold those of every kind."""
