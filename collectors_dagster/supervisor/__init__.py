"""The local stack: what runs, in which order, and how it is started, watched and stopped.

`component` and `lifecycle` decide (pure, driven by a Clock); `loop` acts. The supervisor is one small detached
process; `control` is how the command line talks to it: a lock, signals, and one state file.
Imports neither Dagster nor numpy nor a database driver: it stays small because it always runs.
"""
