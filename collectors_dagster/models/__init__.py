"""Detectors and forecasters: pure computing on arrays. Files of a model live in a directory the caller names.

No model is stored as pickle; see :mod:`collectors_dagster.models.bundle`.
"""
