"""Whatever a component prints becomes JSON lines in its log, once, whoever dies in between."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock
from collectors_dagster.security.redaction import Redactor
from collectors_dagster.supervisor.intake import Intake
from collectors_dagster.supervisor.logfiles import MOST_UNREAD_BYTES

RUN = "2f584a8d-d6f5-414c-b47b-67deacb057e5"
CONSOLE = f"2026-11-25 02:04:31 +0100 - dagster - ERROR - tenant_day - {RUN} - 25973 - chain - STEP_FAILURE - Failed."


@pytest.fixture
def intake(tmp_path: Path, manual_clock: ManualClock) -> Intake:
    return Intake(
        "redis", tmp_path / "redis.out", tmp_path / "redis.log", manual_clock, lambda line: line.replace("hush", "***")
    )


def say(intake: Intake, text: str | bytes) -> None:
    with intake.output.open("ab") as output:
        output.write(text.encode() if isinstance(text, str) else text)


def told(intake: Intake) -> list[dict[str, Any]]:
    return [json.loads(line) for line in intake.log.read_text().splitlines()] if intake.log.exists() else []


def test_plain_text_becomes_an_event_of_the_component_without_secrets(intake: Intake) -> None:
    say(intake, "* Ready to accept connections\r\n\npassword is hush\n")
    intake.take()
    assert [line["event"] for line in told(intake)] == ["* Ready to accept connections", "password is ***"]
    assert {(line["component"], line["raw"]) for line in told(intake)} == {("redis", True)}
    assert all(line["timestamp"].endswith("Z") for line in told(intake))


def test_lines_of_ours_stay_as_they_are_and_others_are_told_their_component(intake: Intake) -> None:
    ours, theirs = {"event": "x", "component": "run", "tenant": "acme"}, {"event": "hush", "level": "error"}
    say(intake, f"{json.dumps(ours)}\n{json.dumps(theirs)}\n")
    intake.take()
    assert told(intake) == [ours, {"event": "***", "level": "error", "component": "redis"}]


@pytest.mark.parametrize("value", ["hush", "h\\u0075sh"])
@pytest.mark.parametrize("key", ["event", "detail", "exception", "component"])
def test_a_line_that_says_it_is_ours_is_not_believed_to_be_free_of_secrets(
    intake: Intake, key: str, value: str
) -> None:
    say(intake, f'{{"event": "tried", "component": "run", "{key}": "{value}"}}\n')
    intake.take()
    assert told(intake) == [{"event": "tried", "component": "run", key: "***"}]


def test_a_redaction_that_spoils_the_json_leaves_a_line_of_json(intake: Intake) -> None:
    spoiling = dataclasses.replace(intake, redact=Redactor("4711").redact)
    say(spoiling, '{"event": "x", "component": "run", "pin": 4711}\n{"event": "y", "pi\\u006e": "471\\u0031"}\n')
    spoiling.take()
    assert "4711" not in spoiling.log.read_text()
    assert told(spoiling)[0]["event"] == '{"event": "x", "component": "run", "pin": [redacted]}'
    assert told(spoiling)[1] == {"event": "y", "pin": "[redacted]", "component": "redis"}


@pytest.mark.parametrize("line", ["{not json}", "[1, 2]", '"text"', "null", "{", '{"cut": "of'])
def test_what_only_looks_like_json_is_text(intake: Intake, line: str) -> None:
    say(intake, f"{line}\n")
    intake.take()
    assert told(intake)[0]["event"] == line


def test_the_console_of_a_run_names_its_run_and_keeps_its_exception_together(intake: Intake) -> None:
    say(intake, f"{CONSOLE}\n\nValueError: no\n\nStack Trace:\n  File x\n{CONSOLE}\nplain\n")
    intake.take()
    first, second = told(intake)
    expected = {"component": "run", "run": RUN, "dagster_job": "tenant_day", "level": "error"}
    assert expected.items() <= first.items()
    assert first["event"] == "chain - STEP_FAILURE - Failed."
    assert first["timestamp"] == "2026-11-25T01:04:31Z"
    assert first["exception"] == "ValueError: no\nStack Trace:\n  File x"
    assert second["exception"] == "plain"


def test_half_a_line_waits_for_its_other_half_unless_its_writer_has_ended(intake: Intake) -> None:
    say(intake, "half")
    intake.take()
    assert told(intake) == []
    say(intake, " and half\nlast words")
    intake.take()
    intake.take(ended=True)
    assert [line["event"] for line in told(intake)] == ["half and half", "last words"]


def test_a_supervisor_that_follows_a_dead_one_goes_on_where_it_stopped(intake: Intake) -> None:
    say(intake, "one\n")
    intake.take()
    say(intake, "two\n")
    Intake("redis", intake.output, intake.log, intake.clock, intake.redact).take()
    assert [line["event"] for line in told(intake)] == ["one", "two"]


def test_output_does_not_grow_and_its_writer_goes_on(intake: Intake) -> None:
    with intake.output.open("ab", buffering=0) as writer:
        for number in range(30):
            writer.write(f"{number:03d} {'x' * 100_000}\n".encode())
            intake.take()
            assert intake.output.stat().st_size < MOST_UNREAD_BYTES + 200_000
        writer.write(b"end\n")
    intake.take()
    assert [line["event"][:3] for line in told(intake)] == [f"{number:03d}" for number in range(30)] + ["end"]


def test_a_line_without_end_does_not_stop_the_intake(intake: Intake) -> None:
    say(intake, "x" * 9_000_000)
    for _ in range(3):
        intake.take()
    assert len(told(intake)) == 2
    say(intake, "\nnext\n")
    intake.take()
    assert told(intake)[-1]["event"] == "next"


def test_a_component_that_printed_nothing_has_no_log(intake: Intake) -> None:
    intake.take(ended=True)
    assert not intake.log.exists()


@given(chunks=st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", f"{CONSOLE}\n".encode(), b"{}\n", b"\xff\n"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_bytes_in_any_pieces_give_json_objects_and_nothing_twice(intake: Intake, chunks: list[bytes]) -> None:
    for path in (intake.output, intake.log, intake.output.with_suffix(".taken")):
        path.unlink(missing_ok=True)
    for chunk in chunks:
        say(intake, chunk)
        intake.take()
    intake.take(ended=True)
    before = told(intake)
    assert all(line["component"] in {"redis", "run"} for line in before)
    intake.take(ended=True)
    assert told(intake) == before
