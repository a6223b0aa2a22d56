"""Parsers give back what was written, and refuse nonsense by name instead of stumbling or guessing."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.collectors.accounts import parse_passwd
from collectors_dagster.collectors.cgroup import Facts, SourceFile, parse_io, source_files
from collectors_dagster.collectors.cgroup_tree import cgroup_of, parse_membership
from collectors_dagster.collectors.cpu import MODES, parse_stat
from collectors_dagster.collectors.disk import WholeDisks, parse_diskstats
from collectors_dagster.collectors.filesystem import parse_mountinfo
from collectors_dagster.collectors.load import parse_loadavg
from collectors_dagster.collectors.memory import MEMINFO, VMSTAT, parse_meminfo, parse_vmstat
from collectors_dagster.collectors.network import COLUMNS, parse_net_dev
from collectors_dagster.collectors.pressure import parse_pressure
from collectors_dagster.collectors.process_table import parse_process_io, parse_process_stat, parse_process_user
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
    "proc/self/cgroup": parse_membership,
    "proc/411/stat": lambda data: parse_process_stat(data)[2:],
    "proc/411/status": parse_process_user,
    "proc/411/io": parse_process_io,
    "etc/passwd": parse_passwd,
}
CGROUP_FILES = source_files(100)


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


@given(st.sampled_from(CGROUP_FILES), st.binary(max_size=100))
def test_any_file_of_a_cgroup_is_parsed_or_refused(file: SourceFile, data: bytes) -> None:
    refused_or_parsed(lambda data: list(file.parse(data).values()), data)


@given(st.sampled_from(CGROUP_FILES), st.data())
def test_a_damaged_file_of_a_cgroup_is_parsed_or_refused(file: SourceFile, data: st.DataObject) -> None:
    found = sorted((DATA / "cgroups-v2").rglob(file.name)) + sorted((DATA / "cgroups-v1").rglob(file.name))
    whole = found[0].read_bytes() if found else b""
    at, noise = data.draw(st.integers(0, len(whole))), data.draw(st.binary(max_size=10))
    refused_or_parsed(lambda data: list(file.parse(data).values()), whole[:at] + noise + whole[at + len(noise) :])


NUMBERS = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")


@given(st.dictionaries(st.tuples(st.integers(0, 999), st.integers(0, 999)), st.lists(COUNTER, min_size=6, max_size=6)))
def test_io_gives_back_what_was_written(devices: dict[tuple[int, int], list[int]]) -> None:
    lines = [
        f"{major}:{minor} " + " ".join(f"{name}={value}" for name, value in zip(NUMBERS, values, strict=True))
        for (major, minor), values in devices.items()
    ]
    facts: Facts = parse_io("\n".join(lines).encode())
    assert len(facts) == 4 * len(devices)
    for (major, minor), values in devices.items():
        told = [value for (_, device), value in facts.items() if device == f"{major}:{minor}"]
        assert told == [float(value) for value in values[:4]]


@given(st.binary(max_size=64), st.lists(COUNTER, min_size=22, max_size=22))
def test_a_process_gives_back_what_was_written_whatever_its_name(name: bytes, numbers: list[int]) -> None:
    stat = parse_process_stat(b"%d (%b) S " % (numbers[0], name) + fields(numbers[1:]))
    assert (stat.executable, stat.state) == (name, b"S")
    assert (stat.flags, stat.user_ticks, stat.system_ticks) == (numbers[6], numbers[11], numbers[12])
    assert (stat.threads, stat.start_ticks, stat.resident_pages) == (numbers[17], numbers[19], numbers[21])


@given(
    st.lists(st.text("abc.-:", min_size=1, max_size=6).filter(lambda name: ".." not in name), min_size=1, max_size=4)
)
def test_the_cgroup_of_a_process_is_told_whatever_version_there_is(names: list[str]) -> None:
    path = "/" + "/".join(names)
    version_2 = f"0::{path}\n"
    version_1 = f"3:memory:{path}\n2:cpu,cpuacct:/\n1:name=systemd:/user.slice\n"
    hybrid = f"{version_1}0::/\n"
    for text in (version_2, version_1, hybrid):
        assert cgroup_of(parse_membership(text.encode())) == path


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
