"""`collectors spotify pull|status|capabilities`: what people read, what scripts read, and how they end."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.sandbox import SandboxOptions, WorldOptions
from tests.support.environment import clean_environment
from tests.support.postgres import free_port
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox
from tests.support.spotify_pulls import KEY, Listening, spotify_settings
from tests.support.terminal import in_a_terminal

TENANT = "id: aurora\nname: Aurora\nsources:\n  spotify: {account: main, max_artists: 5}\n"
OTHER = "id: borealis\nname: Borealis\n"
WORLD = WorldOptions(artists=20, listeners=1, playlists=1, large_playlist_items=60)
DOCUMENT = (PROJECT_ROOT / "docs" / "spotify.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^collectors (spotify (?:status|capabilities|pull) .*?) *(?:#.*)?$", DOCUMENT, re.MULTILINE)


class Desk:
    """A shell in a checkout whose tenant aurora listens to the sandbox."""

    def __init__(self, sandbox: SpotifySandbox, environment: dict[str, str]) -> None:
        self.sandbox = sandbox
        self.environment = environment

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "collectors_dagster.cli", *words]

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=PROJECT_ROOT,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def desk(store: Store, database: SecretStr, redis_url: str, tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "config" / "tenants"
    folder.mkdir(parents=True)
    (folder / "aurora.yml").write_text(TENANT)
    (folder / "borealis.yml").write_text(OTHER)
    clock = SystemClock()
    with running_spotify_sandbox(SandboxOptions(limit=None, world=WORLD), clock) as sandbox:
        address = urlsplit(database.get_secret_value())
        environment = clean_environment(
            COLLECTORS_CONFIG_DIR=str(tmp_path / "config"),
            COLLECTORS_HOME=str(tmp_path / "home"),
            COLLECTORS__POSTGRES__HOST=str(address.hostname),
            COLLECTORS__POSTGRES__PORT=str(address.port),
            COLLECTORS__POSTGRES__USER=str(address.username),
            COLLECTORS__POSTGRES__PASSWORD=str(address.password),
            COLLECTORS__POSTGRES__DB=address.path[1:],
            COLLECTORS__REDIS__URL=redis_url,
            COLLECTORS__SPOTIFY__CLIENT_ID=sandbox.app.client_id,
            COLLECTORS__SPOTIFY__CLIENT_SECRET=sandbox.app.client_secret,
            COLLECTORS__SPOTIFY__ACCOUNTS_URL=sandbox.accounts_url,
            COLLECTORS__SPOTIFY__API_URL=sandbox.api_url,
            COLLECTORS__SPOTIFY__TOKEN_KEYS=KEY,
        )
        Listening(sandbox, store, clock, spotify_settings(sandbox)).connect(sandbox.users[0])  # type: ignore[arg-type]  # a stand-in, or rows that are wrong on purpose
        yield Desk(sandbox, environment)


def test_every_command_of_the_page_does_what_it_says(desk: Desk) -> None:
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        done = desk.run(*command.split())
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "collectors: " not in done.stderr  # only lines of progress
        assert done.stdout


def test_a_pull_tells_scripts_what_it_stored_and_what_it_cost(desk: Desk) -> None:
    done = desk.run("spotify", "pull", "spotify_recently_played", "--tenant", "aurora", "--json")
    assert done.returncode == 0, done.stderr
    [outcome] = json.loads(done.stdout)
    assert (outcome["ended"], outcome["tenant"], outcome["sandbox"]) == ("stored", "aurora", False)
    assert outcome["rows"]["new"] > 0
    assert outcome["usage"]["requests"] == 1
    status = json.loads(desk.run("spotify", "status", "--tenant", "aurora", "--json").stdout)
    assert [one["dataset"] for one in status["datasets"]] == ["recently_played"]
    assert status["datasets"][0]["purpose"]


def test_without_redis_a_pull_still_answers_scripts_in_json_and_nothing_else(desk: Desk) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    words = ("spotify", "pull", "profile", "--tenant", "aurora", "--json")
    done = desk.run(*words, COLLECTORS__REDIS__URL=away)
    assert done.returncode == 0, done.stderr
    assert [one["ended"] for one in json.loads(done.stdout)] == ["stored"]
    assert "shared_state_away" in done.stderr


def test_on_a_terminal_a_pull_shows_how_far_it_is(desk: Desk) -> None:
    command = desk.command("spotify", "pull", "saved_tracks", "--tenant", "aurora")
    with in_a_terminal(command, desk.environment) as terminal:
        terminal.wait_for(lambda seen: bool(re.search(r"tracks .*[0-9]+/[0-9]+", seen)), 60, "a bar")
        terminal.wait_for(lambda seen: "stored:" in seen, 60, "the answer")
        assert terminal.process.wait(120) == 0


def test_a_pull_that_is_put_off_exits_with_the_reason_and_the_time(desk: Desk) -> None:
    desk.sandbox.ban(7200, "QUOTA_EXCEEDED")
    done = desk.run("spotify", "pull", "all", "--tenant", "aurora")
    assert done.returncode == 75
    assert "was put off: Spotify asked for a pause until 20" in done.stderr
    assert "quota" in done.stderr
    asked = desk.sandbox.counts().total
    assert desk.run("spotify", "pull", "all", "--tenant", "aurora").returncode == 75  # another process, the same ban
    assert desk.sandbox.counts().total == asked
    assert "put off until" in desk.run("spotify", "status", "--tenant", "aurora").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pull", "playlist", "--tenant", "aurora"), "there is no Spotify asset 'playlist'; known are: all, "),
        (("pull", "all", "--tenant", "borealis"), "tenant borealis has no Spotify source: write sources.spotify"),
        (("status", "--tenant", "auror"), "did you mean aurora?"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_remedy(desk: Desk, words: tuple[str, ...], said: str) -> None:
    done = desk.run("spotify", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert desk.sandbox.counts().total == 0
