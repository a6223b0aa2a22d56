"""Dagster's programs, without what each of their processes would load and never use: 7 MB.

``python -m collectors_dagster.supervisor.dagster_process dagster api grpc ...`` is ``python -m dagster api grpc ...``.
Alembic's templates load all of Pygments, 4 MB in every process of Dagster, to colour a page about their errors, and
httpx loads its command line, 3 MB; nobody here asks for either. Told that these are not there, both do without.
Processes that a code server spawns for
its runs import this module first, as every spawned process does with its parent's, and so are spared as well.
"""

import runpy
import sys

for unused in ("mako.ext.pygmentplugin", "httpx._main"):
    sys.modules.setdefault(unused, None)  # type: ignore[arg-type]  # None: "not there"

if __name__ == "__main__":
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__")
