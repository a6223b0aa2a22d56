"""Dagster projects that ``bench.run_cost`` compares ours with."""
