"""Spotify's datasets: one file each, from the client page by page into the store. Async; knows no Dagster.

Every file has one coroutine ``pull(work) -> Pulled``. It asks ``work.client``, writes through ``work.store`` in
transactions that also say where to go on, and can be killed after any of them. ``runner.py`` books how it ended.
"""
