"""The only place with drivers: databases, caches, registries and services of others.

Each package maps its driver's errors to :mod:`collectors_dagster.errors` at one border. What lives
here neither decides nor computes.
"""
