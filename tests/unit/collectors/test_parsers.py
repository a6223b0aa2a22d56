"""Parsers give back what was written, and refuse nonsense by name instead of stumbling or guessing."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.collectors.cpu import MODES, parse_stat
from collectors_dagster.collectors.disk import WholeDisks, parse_diskstats
from collectors_dagster.collectors.filesystem import parse_mountinfo
from collectors_dagster.collectors.load import parse_loadavg
from collectors_dagster.collectors.memory import MEMINFO, VMSTAT, parse_meminfo, parse_vmstat
from collectors_dagster.collectors.network import COLUMNS, parse_net_dev
from collectors_dagster.collectors.pressure import parse_pressure
from collectors_dagster.collectors.procfs import KeyedFile, natural, shown
from collectors_dagster.errors import InvalidSampleError
from tests.support.trees import DATA

COUNTER = st.integers(0, 2**64 - 1)
DEVICE = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.@", min_size=1, max_size=15).map(str.encode)
DISKS = WholeDisks(Path("/nonexistent"))

PARSERS: dict[str, Callable[[bytes], object]] = {
    "proc/stat": parse_stat,
    "proc/loadavg": parse_loadavg,
    "proc/meminfo": lambda data: parse_meminfo(data, KeyedFile(tuple(MEMINFO))),
    "proc/vmstat": lambda data: parse_vmstat(data, KeyedFile(tuple(VMSTAT))),
    "proc/diskstats": lambda data: parse_diskstats(data, WholeDisks(DATA / "linux-6.18/sys")),
    "proc/net/dev": parse_net_dev,
    "proc/pressure/io": parse_pressure,
    "proc/self/mountinfo": parse_mountinfo,
}


@given(st.sampled_from(sorted(PARSERS)), st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(source: str, data: bytes) -> None:
    refused_or_parsed(PARSERS[source], data)


@given(st.sampled_from(sorted(PARSERS)), st.data())
def test_a_damaged_file_is_parsed_or_refused(source: str, data: st.DataObject) -> None:
    whole = (DATA / "linux-6.18" / source).read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 40))
    noise = data.draw(st.binary(max_size=20))
    refused_or_parsed(PARSERS[source], whole[:at] + noise + whole[at + length :])


def refused_or_parsed(parse: Callable[[bytes], object], data: bytes) -> None:
    try:
        parsed = parse(data)
    except InvalidSampleError:
        return
    assert all(math.isfinite(number) and number >= 0 for number in numbers(parsed))


def numbers(parsed: object) -> list[float]:
    if isinstance(parsed, int | float):
        return [parsed]
    if isinstance(parsed, dict):
        return numbers(list(parsed.values()))
    if isinstance(parsed, list | tuple):
        return [number for part in parsed for number in numbers(part)]
    return []


@given(st.lists(st.lists(COUNTER, min_size=10, max_size=10), min_size=1, max_size=8), COUNTER)
def test_stat_gives_back_what_was_written(cores: list[list[int]], switches: int) -> None:
    lines = [b"cpu  1 2 3 4", *(b"cpu%d " % at + fields(core) for at, core in enumerate(cores)), b"ctxt %d" % switches]
    stat = parse_stat(b"\n".join(lines))
    assert stat.ticks == [core[: len(MODES)] for core in cores]
    assert stat.scheduler == {b"ctxt": switches}


@given(st.lists(st.tuples(DEVICE, st.lists(COUNTER, min_size=16, max_size=16)), max_size=6))
def test_net_dev_gives_back_what_was_written(interfaces: list[tuple[bytes, list[int]]]) -> None:
    kept = [each for each in interfaces if each[0] != b"lo" and not each[0].startswith(b"veth")]
    lines = [b"header", b"header", *(b"  %b:" % name + fields(counters) for name, counters in interfaces)]
    names, values = parse_net_dev(b"\n".join(lines))
    assert list(names) == [name for name, _ in kept]
    assert values == [float(counters[column]) for _, counters in kept for column in COLUMNS]


@given(st.permutations(sorted(MEMINFO)), st.data())
def test_meminfo_finds_its_keys_in_any_order(order: list[bytes], data: st.DataObject) -> None:
    layout = KeyedFile(tuple(MEMINFO))
    for keys in (order, [*order[:3], b"MemTotal:"], order):  # the same layout object sees the file change shape
        sizes = {key: data.draw(st.integers(0, 2**50)) for key in dict.fromkeys(keys)}
        values = parse_meminfo(b"\n".join(b"%b %d kB" % item for item in sizes.items()), layout)
        assert dict(zip(layout.present, values, strict=True)) == {key: 1024.0 * size for key, size in sizes.items()}


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_a_mountpoint_survives_the_kernels_escaping(name: str) -> None:
    path = b"/" + name.encode("utf-8", "replace").replace(b"\r", b"r")
    escaped = path.replace(b"\\", b"\\134")
    for plain, octal in ((b" ", b"\\040"), (b"\t", b"\\011"), (b"\n", b"\\012")):
        escaped = escaped.replace(plain, octal)
    (mount,) = parse_mountinfo(b"22 20 8:1 / " + escaped + b" rw,relatime shared:1 - ext4 /dev/sda rw")
    assert mount.mountpoint.encode() == path


@pytest.mark.parametrize("text", [b"-1", b"1_0", b"", b"1.5", b"9" * 21, b"\xb2", b" 1"])
def test_a_counter_is_made_of_digits(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a counter"):
        natural(text)


@given(st.binary())
def test_any_kernel_name_can_be_stored(name: bytes) -> None:
    text = shown(name)
    assert "\x00" not in text
    text.encode("utf-8")


def fields(values: list[int]) -> bytes:
    return b" ".join(b"%d" % value for value in values)
