"""Checks."""

CHECKS: list[object] = []
