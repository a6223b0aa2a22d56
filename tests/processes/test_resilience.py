"""Policies over processes: what short ones count is shown, what one learns the next one knows, and orders by hand."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.environment import clean_environment
from tests.support.postgres import free_port
from tests.support.terminal import in_a_terminal
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Return the environment of processes that share a Redis; a busy machine is no absent one."""
    return clean_environment(
        COLLECTORS_HOME=str(tmp_path),
        COLLECTORS__REDIS__URL=redis_url,
        COLLECTORS__REDIS__CONNECT_TIMEOUT_SECONDS="5",
        COLLECTORS__REDIS__ANSWER_TIMEOUT_SECONDS="5",
        COLLECTORS__PATTERNS__SERVICES__MLFLOW__CIRCUIT_BREAKER__RECOVERY_TIMEOUT="600",
    )


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Return what runs a module in a fresh process."""

    def started(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", *words]
        return subprocess.run(
            command, cwd=ROOT, env=environment | more, capture_output=True, text=True, check=False, timeout=200
        )

    return started


def collectors(run: Run, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return run("collectors_dagster.cli", *words, **more)


def status(run: Run) -> dict[str, Any]:
    done = collectors(run, "resilience", "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def called(run: Run, service: str, good: int, failing: int) -> int:
    done = run("tests.support.service_caller", service, str(good), str(failing))
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_what_short_processes_count_is_shown_and_a_new_one_knows_of_an_open_circuit(run: Run) -> None:
    assert called(run, "mlflow", 3, 0) == 3
    assert called(run, "mlflow", 0, 9) == 5  # the threshold
    assert called(run, "mlflow", 4, 0) == 0
    found = status(run)
    [circuit] = found["circuits"]
    assert (circuit["name"], circuit["state"]) == ("mlflow", "open")
    assert 0 < circuit["retry_after_seconds"] <= 600
    assert [(change["after"], change["reason"]) for change in circuit["history"]] == [("open", "failures")]
    assert found["counts"]["mlflow"] == {"success": 3, "failure": 5, "rejected": 8}
    shown = collectors(run, "metrics", "show").stdout
    assert 'circuit_breaker_state{name="mlflow",state="open"} 1.0' in shown
    assert 'circuit_breaker_calls_total{name="mlflow",result="rejected"} 8.0' in shown


def test_an_operator_sets_a_circuit_by_hand_and_it_is_noted(run: Run, tmp_path: Path) -> None:
    for command, state, ran in (
        ("force-open", "forced_open", 0),
        ("disable", "disabled", 2),
        ("metrics-only", "metrics_only", 2),
        ("reset", "closed", 2),
    ):
        done = collectors(run, "resilience", command, "mlflow", "--reason", "a move")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(f"-> {state}")
        assert called(run, "mlflow", 2, 0) == ran
    lines = [json.loads(line) for line in (tmp_path / "logs" / "operator.log").read_text().splitlines()]
    assert [(line["before"], line["after"], line["reason"]) for line in lines] == [
        ("closed", "forced_open", "a move"),
        ("forced_open", "disabled", "a move"),
        ("disabled", "metrics_only", "a move"),
        ("metrics_only", "closed", "a move"),
    ]
    assert all(line["event"] == "circuit_set_by_hand" and line["operator"] for line in lines)
    [circuit] = status(run)["circuits"]
    assert all(change["reason"].startswith("by hand: ") for change in circuit["history"])
    assert "a move" in circuit["history"][0]["reason"]


def test_an_unknown_circuit_is_refused_with_its_neighbours(run: Run) -> None:
    done = collectors(run, "resilience", "force-open", "mlfow")
    assert done.returncode == 1
    assert "there is no circuit 'mlfow'; there are: mlflow" in done.stderr


def test_without_redis_it_says_so_and_takes_no_orders(run: Run, tmp_path: Path) -> None:
    away = {"COLLECTORS__REDIS__URL": f"redis://:s3cr3t@127.0.0.1:{free_port()}"}
    done = collectors(run, "resilience", "status", "--json", **away)
    assert done.returncode == 1
    store = json.loads(done.stdout)["store"]
    assert (store["mode"], store["state"], store["away"][0]["reason"]) == ("local", "open", "unreachable")
    order = collectors(run, "resilience", "force-open", "mlflow", **away)
    assert order.returncode == 1
    assert "nobody would hear the order" in order.stderr
    assert "s3cr3t" not in done.stdout + done.stderr + order.stderr
    assert (tmp_path / "logs" / "operator.log").read_text() == ""


def test_metrics_are_served_until_somebody_ends_it(environment: dict[str, str], run: Run) -> None:
    called(run, "mlflow", 3, 0)
    port = free_port()
    command = [sys.executable, "-m", "collectors_dagster.cli", "metrics", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().strip() == f"http://127.0.0.1:{port}/metrics"
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                text = answer.read().decode()
            assert 'circuit_breaker_calls_total{name="mlflow",result="success"} 3.0' in text
            second = collectors(run, "metrics", "serve", "--port", str(port))
            assert second.returncode == 1
            assert "choose another --port" in second.stderr
        finally:
            server.terminate()
        wait_until(lambda: server.poll() is not None, 60, "the end")
        assert server.returncode == 0


def test_watch_shows_what_changes_until_a_key_is_pressed(run: Run, environment: dict[str, str]) -> None:
    assert called(run, "mlflow", 3, 0) == 3
    command = [sys.executable, "-m", "collectors_dagster.cli", "resilience", "status", "--watch"]
    with in_a_terminal(command, environment) as terminal:
        terminal.wait_for(lambda seen: "mlflow" in seen and "closed" in seen, 60, "the closed circuit")
        assert called(run, "mlflow", 0, 9) == 5
        terminal.wait_for(lambda seen: "open" in seen[seen.rindex("closed") :], 60, "the open circuit")
        terminal.press("q")
        assert terminal.process.wait(120) == 0


def test_watch_ends_with_its_terminal(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "collectors_dagster.cli", "resilience", "status", "--watch"]
    with in_a_terminal(command, environment) as terminal:
        terminal.wait_for(lambda seen: "No circuit yet" in seen, 60, "a picture")
        terminal.close()
        assert terminal.process.wait(120) == 0
