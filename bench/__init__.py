"""Benchmarks: each compares with a peer or a floor measured in the same run and prints ratios as JSON.

``python -m bench.NAME --json`` runs one, ``python -m bench`` runs all and writes ``docs/benchmarks.md``.
"""
