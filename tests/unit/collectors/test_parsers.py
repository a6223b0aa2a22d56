"""Parsers give back what was written, and refuse nonsense by name instead of stumbling or guessing."""

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.collectors.accounts import parse_passwd
from collectors_dagster.collectors.cgroup import Facts, SourceFile, parse_io, source_files
from collectors_dagster.collectors.cgroup_tree import cgroup_of, parse_membership
from collectors_dagster.collectors.clock import parse_boot_time
from collectors_dagster.collectors.cpu import MODES, StatFile, parse_stat
from collectors_dagster.collectors.disk import COLUMNS as DISK_COLUMNS
from collectors_dagster.collectors.disk import Diskstats, WholeDisks
from collectors_dagster.collectors.filesystem import parse_mountinfo
from collectors_dagster.collectors.frequency import parse_frequencies
from collectors_dagster.collectors.limits import LIMITS, USED, parse_sysctl, parse_threads
from collectors_dagster.collectors.load import parse_loadavg
from collectors_dagster.collectors.memory import (
    IN_KIBIBYTES,
    MEMINFO,
    meminfo_layout,
    parse_meminfo,
    parse_vmstat,
    vmstat_layout,
)
from collectors_dagster.collectors.network import COLUMNS, NetDev
from collectors_dagster.collectors.pressure import parse_pressure
from collectors_dagster.collectors.process_table import parse_process_io, parse_process_stat, parse_process_user
from collectors_dagster.collectors.procfs import GroupedFile, HeadedFile, KeyedFile, natural, naturals, shown
from collectors_dagster.collectors.protocols import NETSTAT, SNMP, SNMP6, parse_protocols
from collectors_dagster.collectors.schedstat import parse_schedstat
from collectors_dagster.collectors.sockets import SERIES as SOCKETS
from collectors_dagster.collectors.sockets import parse_sockstat
from collectors_dagster.errors import InvalidSampleError
from tests.support.trees import DATA

COUNTER = st.integers(0, 2**64 - 1)
DEVICE = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.@", min_size=1, max_size=15).map(str.encode)
WHOLE = WholeDisks(DATA / "linux-5.15-container/sys")


class AnyDisk(WholeDisks):
    """Every name is a whole disk."""

    def __contains__(self, device: bytes) -> bool:
        return True


PARSERS: dict[str, Callable[[bytes], object]] = {
    "proc/stat": lambda data: (parse_stat(data, StatFile()), parse_boot_time(data)),
    "proc/schedstat": parse_schedstat,
    "proc/loadavg": lambda data: (parse_loadavg(data), parse_threads(data)),
    "proc/meminfo": lambda data: parse_meminfo(data, meminfo_layout()),
    "proc/vmstat": lambda data: parse_vmstat(data, vmstat_layout()),
    "proc/diskstats": lambda data: Diskstats(WHOLE).parse(data),
    "proc/net/dev": lambda data: NetDev().parse(data),
    "proc/net/snmp": lambda data: parse_protocols(data, HeadedFile(tuple(SNMP))),
    "proc/net/netstat": lambda data: parse_protocols(data, HeadedFile(tuple(NETSTAT))),
    "proc/net/sockstat": lambda data: parse_sockstat(data, GroupedFile(tuple(SOCKETS))),
    "proc/sys/fs/file-nr": lambda data: parse_sysctl(data, USED["fs/file-nr"]),
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
    whole = (DATA / "linux-5.15-container" / source).read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 40))
    noise = data.draw(st.binary(max_size=20))
    refused_or_parsed(PARSERS[source], whole[:at] + noise + whole[at + length :])


LAYOUTS: dict[str, Callable[[], KeyedFile | HeadedFile]] = {
    "proc/stat": StatFile,
    "proc/meminfo": meminfo_layout,
    "proc/vmstat": vmstat_layout,
    "proc/net/snmp": lambda: HeadedFile(tuple(SNMP)),
    "proc/net/netstat": lambda: HeadedFile(tuple(NETSTAT)),
    "proc/net/sockstat": lambda: GroupedFile(tuple(SOCKETS)),
}


def test_a_core_whose_row_was_cut_by_damage_is_read_anew_when_it_is_whole() -> None:
    whole = b"cpu 1 2 3 4\ncpu0 1 2 3 4 5 6 7 8 9 10\nctxt 77\n"
    for at in range(len(whole)):
        layout = StatFile()
        with suppress(InvalidSampleError):
            parse_stat(whole[:at] + b"x" + whole[at + 1 :], layout)
        assert parse_stat(whole, layout) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 77]


def test_names_over_an_empty_line_are_refused() -> None:
    with pytest.raises(ValueError, match="do not stand under their names"):
        HeadedFile((b"IpExt:InOctets",)).pick(b"IpExt: InOctets\n\nIpExt: 50000\n")


@given(st.sampled_from(sorted(LAYOUTS)), st.data())
def test_what_a_layout_remembers_never_shows_in_what_it_reads_next(source: str, data: st.DataObject) -> None:
    """Whole, damaged and foreign files in any order: what is read is what a layout reads that has seen none before.

    A key that appears in the place of another one, the rest being the same, may be missed: no kernel does that.
    """
    whole = (DATA / "linux-5.15-container" / source).read_bytes()
    other = (DATA / "linux-3.10" / source).read_bytes()
    layout = LAYOUTS[source]()
    for _ in range(5):
        text = data.draw(st.sampled_from([whole, other, b""]))
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(text)))
            text = (
                text[:at]
                + data.draw(st.sampled_from([b"\n", b" ", b"7", b"x", b":"]))
                + text[at + data.draw(st.integers(0, 9)) :]
            )
        found, expected = read_by(layout, text), read_by(LAYOUTS[source](), text)
        if found is not None and expected is not None:
            assert not found.items() - expected.items()


def read_by(layout: KeyedFile | HeadedFile, text: bytes) -> dict[bytes, int] | None:
    try:
        values = layout.pick(text)
    except (ValueError, LookupError):
        return None
    return dict(zip(layout.present, values, strict=True))


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
    layout = StatFile()
    ticks = [tick for core in cores for tick in core[: len(MODES)]]
    guests = [tick for core in cores for tick in core[len(MODES) :]]
    assert parse_stat(b"\n".join(lines), layout) == [*ticks, *guests, switches]
    assert layout.scheduler == (b"ctxt",)
    assert len(layout.cores) == len(cores)


@given(st.lists(st.sampled_from([b"0", b"1", b"17"]), unique=True, min_size=1), st.integers(4, 10), st.integers(0, 10))
def test_stat_of_an_older_kernel_counts_nothing_in_the_modes_that_it_lacks(
    cores: list[bytes], modes: int, softirqs: int
) -> None:
    layout = StatFile()
    for tick in (5, 6):  # the second time by what is remembered
        lines = [b"cpu" + core + b" " + fields([tick] * modes) for core in cores]
        lines.append(b"softirq 9 " + fields([tick] * softirqs))
        ticks = ([tick] * modes + [0] * 10)[:10]
        expected = ticks[:8] * len(cores) + ticks[8:] * len(cores) + [tick] * softirqs
        assert parse_stat(b"\n".join(lines), layout) == expected


@given(st.lists(st.tuples(DEVICE, st.lists(COUNTER, min_size=16, max_size=16)), max_size=6))
def test_net_dev_gives_back_what_was_written(interfaces: list[tuple[bytes, list[int]]]) -> None:
    kept = [each for each in interfaces if each[0] != b"lo" and not each[0].startswith(b"veth")]
    traffic = NetDev().parse(net_dev(interfaces))
    assert traffic == list({(name, *row): (name, [row[at] for at in COLUMNS]) for name, row in kept}.values())


@given(
    st.lists(st.tuples(st.sampled_from([b"eth0", b"wg0", b"br.1"]), st.integers(0, 2)), unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.sampled_from([b"eth0", b"wg0", b"br.1"]), st.integers(0, 2)), unique_by=lambda row: row[0]),
)
def test_what_is_remembered_of_a_list_never_shows_in_the_next_one(
    first: list[tuple[bytes, int]], second: list[tuple[bytes, int]]
) -> None:
    """Devices come and go, counters stand still, rise and go back."""
    dev, disks = NetDev(), Diskstats(AnyDisk(Path()))
    for each in (first, second, first):
        lists = [(name, [counter] * 17) for name, counter in each]
        assert dev.parse(net_dev([(name, row[:16]) for name, row in lists])) == [
            (name, [counter] * len(COLUMNS)) for name, counter in each
        ]
        assert disks.parse(diskstats(lists)) == [
            (name, tuple(counter * column.factor for column in DISK_COLUMNS)) for name, counter in each
        ]


@given(
    st.lists(
        st.tuples(DEVICE, st.sampled_from([11, 15, 17]).flatmap(lambda n: st.lists(COUNTER, min_size=n, max_size=n))),
        unique_by=lambda row: row[0],
        max_size=5,
    )
)
def test_diskstats_gives_back_as_much_as_was_written(disks: list[tuple[bytes, list[int]]]) -> None:
    told = {11: 11, 15: 14, 17: 16}
    expected = [
        (name, tuple(row[column.place - 3] * column.factor for column in DISK_COLUMNS[: told[len(row)]]))
        for name, row in disks
    ]
    assert Diskstats(AnyDisk(Path())).parse(diskstats(disks)) == expected


@given(st.lists(st.permutations(sorted(MEMINFO)), min_size=1, max_size=3), st.integers(0, 2**50), st.integers(0, 9))
def test_meminfo_finds_its_keys_in_any_order(orders: list[list[bytes]], size: int, left_out: int) -> None:
    layout = meminfo_layout()
    for order in orders:  # the same layout object sees the file change shape
        keys = dict.fromkeys([*order[left_out:], b"MemTotal:"])
        sizes = {key: size + at for at, key in enumerate(keys)}
        values = parse_meminfo(b"\n".join(b"%b %d kB" % item for item in sizes.items()), layout)
        expected = {key: size * 1024 if key in IN_KIBIBYTES else size for key, size in sizes.items()}
        assert dict(zip(layout.present, values, strict=True)) == expected


HEADS = {
    b"Tcp:": [b"MaxConn", b"InSegs", b"OutSegs", b"RetransSegs", b"CurrEstab"],
    b"Udp:": [b"InDatagrams", b"NoPorts", b"Later"],
    b"Odd:": [b"InSegs"],
}


@given(st.data())
def test_numbers_are_found_under_their_heads_whatever_the_order(data: st.DataObject) -> None:
    layout = HeadedFile(tuple(SNMP))
    for _ in range(3):
        groups = data.draw(st.permutations(sorted(HEADS)))
        rows = {
            group: {name: data.draw(COUNTER) for name in data.draw(st.permutations(HEADS[group]))} for group in groups
        }
        lines = [
            line
            for group, row in rows.items()
            for line in (group + b" " + b" ".join(row), group + b" " + fields(list(row.values())))
        ]
        expected = {
            group + name: value for group, row in rows.items() for name, value in row.items() if group + name in SNMP
        }
        found = parse_protocols(b"\n".join(lines), layout)
        assert dict(zip(layout.present, found, strict=True)) == expected


def test_numbers_under_the_wrong_head_are_refused() -> None:
    layout = HeadedFile(tuple(SNMP))
    for rows in (b"Udp: 1 2", b"Tcp: 1", b"Tcp: 1 2 3", b"Tcp: -1 2", b""):
        with pytest.raises(InvalidSampleError):
            parse_protocols(b"Tcp: InSegs OutSegs\n" + rows, layout)


@given(st.data())
def test_sockets_are_told_apart_by_protocol(data: st.DataObject) -> None:
    layout = GroupedFile(tuple(SOCKETS))
    names = {b"TCP:": [b"inuse", b"orphan", b"mem"], b"UDP:": [b"inuse", b"mem"], b"NEW:": [b"inuse"]}
    for _ in range(3):
        groups = data.draw(st.lists(st.sampled_from(sorted(names)), unique=True))
        rows = {
            group: {name: data.draw(COUNTER) for name in data.draw(st.permutations(names[group]))} for group in groups
        }
        text = b"\n".join(group + b"".join(b" %b %d" % pair for pair in row.items()) for group, row in rows.items())
        expected = {
            group + name: value for group, row in rows.items() for name, value in row.items() if group != b"NEW:"
        }
        found = parse_sockstat(text, layout)
        assert dict(zip(layout.present, found, strict=True)) == expected


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_whatever_sysfs_says_of_frequencies_is_parsed_or_refused(present: list[bytes], highest: list[bytes]) -> None:
    refused_or_parsed(lambda _: parse_frequencies(present, highest), b"")


@given(st.binary(max_size=60), st.sampled_from(sorted(USED | LIMITS)))
def test_whatever_a_limit_says_is_parsed_or_refused(data: bytes, name: str) -> None:
    refused_or_parsed(lambda text: list(parse_sysctl(text, (USED | LIMITS)[name]).values()), data)


@given(st.binary(max_size=200))
def test_whatever_counts_ipv6_is_parsed_or_refused(data: bytes) -> None:
    refused_or_parsed(lambda text: parse_protocols(text, KeyedFile(tuple(SNMP6))), data)


@given(st.lists(st.lists(COUNTER, min_size=9, max_size=9), min_size=1))
def test_waiting_for_a_core_is_summed_over_the_cores(cores: list[list[int]]) -> None:
    lines = [b"version 15", *(b"cpu%d " % at + fields(core) + b"\ndomain0 3 1" for at, core in enumerate(cores))]
    running, waiting, timeslices = (sum(core[at] for core in cores) for at in (6, 7, 8))
    assert parse_schedstat(b"\n".join(lines)) == [running / 1e9, waiting / 1e9, timeslices]


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


@given(st.lists(st.binary(max_size=22) | COUNTER.map(lambda number: b"%d" % number)))
def test_many_counters_are_refused_exactly_if_one_of_them_is(texts: list[bytes]) -> None:
    try:
        expected = [natural(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError, match="not a counter"):
            naturals(texts)
    else:
        assert naturals(texts) == expected


@given(st.binary())
def test_any_kernel_name_can_be_stored(name: bytes) -> None:
    text = shown(name)
    assert "\x00" not in text
    text.encode("utf-8")


def fields(values: list[int]) -> bytes:
    return b" ".join(b"%d" % value for value in values)


def net_dev(interfaces: list[tuple[bytes, list[int]]]) -> bytes:
    lines = [b"header", b"header", *(b"  %b:" % name + fields(counters) for name, counters in interfaces)]
    return b"\n".join(lines)


def diskstats(disks: list[tuple[bytes, list[int]]]) -> bytes:
    return b"\n".join(b" 8 0 %b " % name + fields(counters) for name, counters in disks)


def test_a_name_with_a_carriage_return_is_one_name() -> None:
    told = parse_membership(b"0::/user.slice/x\r0::/bank/app\n")
    assert told == {"unified": "/user.slice/x\r0::/bank/app"}


def test_a_path_too_long_for_a_label_is_named_by_its_ancestor() -> None:
    deep = "/user.slice" + "".join(f"/{number}{'n' * 240}" for number in range(12))
    assert cgroup_of({"unified": deep}) == deep[: len("/user.slice") + 4 * 242]
    assert len(cgroup_of({"unified": deep}).encode()) <= 1024
