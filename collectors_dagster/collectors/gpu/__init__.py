"""NVIDIA GPUs through NVML, which may hang or crash: it runs in a child process, watched from here.

``catalogue`` names the metrics, ``child`` is the script that asks NVML (the only place that imports pynvml), ``guard``
decides when to start, ask, kill and wait, ``process`` does it, ``collector`` turns answers into readings.
"""

from collectors_dagster.collectors.gpu.collector import Gpu

__all__ = ["Gpu"]
