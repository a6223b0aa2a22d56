"""Messages of the process that asks NVML: whole in any pieces, refused when they are nonsense."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.collectors.gpu.catalogue import METRICS, NAMES_ELSEWHERE
from collectors_dagster.collectors.gpu.collector import parse_series
from collectors_dagster.collectors.gpu.process import LARGEST, Inbox
from collectors_dagster.errors import InvalidSampleError
from collectors_dagster.samples import Kind

MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4), max_size=6)


def framed(message: object) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


@given(MESSAGES, st.data())
def test_messages_come_whole_and_in_order_in_whatever_pieces(
    messages: list[dict[str, object]], data: st.DataObject
) -> None:
    sent = b"".join(map(framed, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    inbox, received = Inbox(), []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        inbox.add(sent[start:end])
        while (message := inbox.take()) is not None:
            received.append(message)
    assert received == messages


@given(st.binary(min_size=4, max_size=200))
def test_any_bytes_are_a_message_or_incomplete_or_refused(noise: bytes) -> None:
    inbox = Inbox()
    inbox.add(noise)
    try:
        message = inbox.take()
    except ValueError:
        return
    assert message is None or isinstance(message, dict)


@pytest.mark.parametrize(
    "nonsense", [framed([1]), framed("x"), struct.pack(">I", LARGEST + 1), struct.pack(">I", 2) + b"{x"]
)
def test_nonsense_is_refused(nonsense: bytes) -> None:
    inbox = Inbox()
    inbox.add(nonsense)
    with pytest.raises(ValueError):  # noqa: PT011 - each kind in words of its own
        inbox.take()


@pytest.mark.parametrize("told", [[["gpu_unheard_of", []]], [["gpu_power_watts"]], ["x"], [["gpu_info", ["gpu"]]]])
def test_series_that_no_metric_promises_are_refused(told: list[object]) -> None:
    with pytest.raises(InvalidSampleError):
        parse_series(told)


def test_every_metric_says_what_others_call_it() -> None:
    assert set(NAMES_ELSEWHERE) == {metric.name for metric in METRICS}
    fields = {name for elsewhere in NAMES_ELSEWHERE.values() for name in elsewhere.dcgm.split(", ") if name}
    assert all(name.split(" ")[0].startswith("DCGM_FI_DEV_") for name in fields)


def test_names_of_opentelemetry_are_those_of_its_conventions() -> None:
    from opentelemetry.semconv._incubating.metrics import hw_metrics

    known = {value for name, value in vars(hw_metrics).items() if name.startswith("HW_") and isinstance(value, str)}
    used = {elsewhere.otel.partition("{")[0] for elsewhere in NAMES_ELSEWHERE.values()} - {""}
    assert used
    assert used <= known


def test_counters_are_those_that_only_grow() -> None:
    counters = {metric.name for metric in METRICS if metric.kind is Kind.COUNTER}
    assert counters == {
        "gpu_energy_joules_total",
        "gpu_ecc_errors_total",
        "gpu_pcie_replays_total",
        "gpu_xid_errors_total",
    }
