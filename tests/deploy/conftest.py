"""Fixtures of the deployment's tests."""

from tests.unit.conftest import project

__all__ = ["project"]
