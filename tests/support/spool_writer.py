"""A process that writes into a spool as fast as it can and says on standard output which numbers are safe."""

import sys
from array import array
from pathlib import Path

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors.runner import Sweep
from tests.support.spools import COLUMNS, HEADER, limits


def main() -> None:
    clock = SystemClock()
    spool = Spool(Path(sys.argv[1]), HEADER, limits(), clock, Form())
    start_ns, count = int(sys.argv[2]), 0
    while True:
        # The host's clock of this test: one second per number, whoever writes.
        wall_ns = start_ns + spool.next_seq * 10**9
        number = spool.append(
            Sweep(COLUMNS, array("d", [float(spool.next_seq), 7.0 * spool.next_seq])), wall_ns, wall_ns
        )
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        spool.tend()
        count += 1
        if count % 40 == 0:
            spool.close()  # a rotation, so that kills fall into packing too


if __name__ == "__main__":
    main()
