"""What settings make of the spool's form."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("name", "package"), [("lz4", "lz4"), ("zstd", "zstandard")])
def test_a_codec_that_is_not_installed_is_refused_with_the_remedy(name: str, package: str) -> None:
    program = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from collectors_dagster.agent.form import compressor_of\n"
        "compressor_of('auto').packed(bytes(range(256)) * 8, 'kind')\n"
        f"compressor_of({name!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    told = (
        f"ConfigurationError: agent.spool_compression: {name} is not installed here; install its package, or say auto"
    )
    assert done.stderr.splitlines()[-1].endswith(told)
