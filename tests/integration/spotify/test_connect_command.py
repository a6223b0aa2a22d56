"""`collectors spotify connect|disconnect|accounts`, as a person at a browser lives it."""

import json
import shlex
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.cli.__main__ import main
from collectors_dagster.config.settings import PROJECT_ROOT
from tests.support.environment import clean_environment
from tests.support.spotify_tokens import KEY
from tests.support.token_server import CLIENT_ID, CLIENT_SECRET, USER, TokenServer, running_token_server

ACME = "id: acme\nname: Acme\nalerts: []\n"


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Connecting:
    """A command that waits for its user."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def arguments(self) -> str:
        return Path(f"/proc/{self.process.pid}/cmdline").read_text()

    def consent(self) -> str:
        """Do what the user and the browser do; return the address that the browser ends at."""
        sent_back = httpx.get(self.url, follow_redirects=False, trust_env=False)
        assert sent_back.status_code == 302
        return str(sent_back.headers["Location"])

    def end(self) -> Answer:
        out, err = self.process.communicate(timeout=300)
        return Answer(self.process.returncode, out, err)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


@pytest.fixture
def environment(database: SecretStr, server: TokenServer, tmp_path: Path) -> dict[str, str]:
    """Return what makes commands use the test's database and service."""
    (tmp_path / "config/tenants").mkdir(parents=True)
    (tmp_path / "config/tenants/acme.yml").write_text(ACME)
    keys = tmp_path / "keys"
    keys.write_text(b64encode(KEY).decode())
    keys.chmod(0o600)
    url = urlsplit(database.get_secret_value())
    return {
        "POSTGRES_HOST": str(url.hostname),
        "POSTGRES_PORT": str(url.port),
        "POSTGRES_DB": url.path[1:],
        "POSTGRES_USER": str(url.username),
        "POSTGRES_PASSWORD": str(url.password),
        "COLLECTORS_HOME": str(tmp_path / "home"),
        "COLLECTORS_CONFIG_DIR": str(tmp_path / "config"),
        "SPOTIFY_CLIENT_ID": CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": CLIENT_SECRET,
        "COLLECTORS__SPOTIFY__ACCOUNTS_URL": server.url,
        "COLLECTORS__SPOTIFY__API_URL": server.url + "/v1",
        "COLLECTORS__SPOTIFY__TOKEN_KEYS_FILE": str(keys),
    }


Run = Callable[..., Answer]


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the command in this process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def spotify(line: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(["spotify", *shlex.split(line)])
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return spotify


@pytest.fixture
def connecting(environment: dict[str, str]) -> Iterator[Callable[..., Connecting]]:
    """Return a way to start `connect` as a process that waits for its user."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, tenant: str = "acme", **variables: str) -> Connecting:
        command = [sys.executable, "-m", "collectors_dagster.cli", "spotify", "connect", "--tenant", tenant, *arguments]
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=clean_environment(**environment, **variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        assert "open this address" in process.stderr.readline()
        return Connecting(process, process.stderr.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_user_at_a_browser_is_connected(
    connecting: Callable[..., Connecting], server: TokenServer, database: SecretStr, run: Run
) -> None:
    command = connecting("--json")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(command.url).query).items()}
    assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == ("code", "S256", CLIENT_ID)
    assert "user-read-recently-played" in asked["scope"].split()
    assert "user-read-email" not in asked["scope"].split()
    back = command.consent()
    assert back.startswith("http://127.0.0.1:")
    page = httpx.get(back, trust_env=False)
    assert (page.status_code, page.headers["Cache-Control"], page.headers["Referrer-Policy"]) == (
        200,
        "no-store",
        "no-referrer",
    )
    done = command.end()
    assert (done.code, done.json["user"], done.json["tenant"]) == (0, USER, "acme")
    assert "user-library-read" not in done.json["missing_scopes"]

    secrets = [CLIENT_SECRET, *server.living, *server.access, parse_qs(urlsplit(back).query)["code"][0]]
    secrets.append(server.forms[0]["code_verifier"])
    assert [secret for secret in secrets if secret in done.out + done.err + page.text] == []
    with psycopg.connect(database.get_secret_value()) as connection:
        stored = str(connection.execute("select a::text from core.spotify_account a").fetchall())
    assert USER in stored
    assert "somebody@example.org" not in stored

    (account,) = run("accounts --tenant acme --json").json["accounts"]
    assert (account["user"], account["state"], account["consent"]) == (USER, "connected", "valid")
    assert USER in run("accounts").out


def test_only_the_answer_to_this_very_request_ends_the_waiting(
    connecting: Callable[..., Connecting], server: TokenServer
) -> None:
    command = connecting()
    back = command.consent()
    address, _, query = back.partition("?")
    code = parse_qs(query)["code"][0]
    assert CLIENT_SECRET not in command.arguments
    foreign = {"Host": "evil.example"}
    assert httpx.get(f"{address}?code={code}&state=forged", trust_env=False).status_code == 400
    assert httpx.get(f"{address}?code={code}", trust_env=False).status_code == 400
    assert httpx.get(f"{back}&state=twice", trust_env=False).status_code == 400
    assert httpx.get(back.replace("/callback", "/other"), trust_env=False).status_code == 404
    assert httpx.get(back, headers=foreign, trust_env=False).status_code == 404
    assert httpx.post(back, trust_env=False).status_code == 501
    assert command.process.poll() is None
    assert server.requests == 0
    assert httpx.get(back, trust_env=False).status_code == 200
    assert command.end().code == 0


def test_user_who_declines_connects_nothing(connecting: Callable[..., Connecting], server: TokenServer) -> None:
    server.declines = True
    command = connecting()
    assert "Nothing was connected" in httpx.get(command.consent(), trust_env=False).text
    done = command.end()
    assert done.code == 1
    assert "access_denied: the user declined" in done.err
    assert server.requests == 0


def test_user_who_does_not_come_is_waited_for_only_so_long(connecting: Callable[..., Connecting]) -> None:
    done = connecting("--timeout", "1").end()
    assert done.code == 1
    assert "nobody consented within 1 s" in done.err
    assert "--manual" in done.err


def test_address_is_pasted_where_no_browser_is(connecting: Callable[..., Connecting], server: TokenServer) -> None:
    command = connecting("--manual", "--json", COLLECTORS__SPOTIFY__REDIRECT_URI="https://collectors.example/back")
    back = command.consent()
    assert back.startswith("https://collectors.example/back?")
    out, err = command.process.communicate(back + "\n", timeout=60)
    assert (command.process.returncode, json.loads(out)["user"]) == (0, USER)
    assert parse_qs(urlsplit(back).query)["code"][0] not in out + err
    assert server.forms[0]["redirect_uri"] == "https://collectors.example/back"


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("http://127.0.0.1/callback?code=abc&state=another", "another `state`"),
        ("nonsense", "another `state`"),
        ("", "another `state`"),
    ],
)
def test_pasted_nonsense_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch, pasted: str, said: str) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(pasted + "\n"))
    done = run("connect --tenant acme --manual")
    assert done.code == 1
    assert said in done.err


def test_what_is_missing_is_said_before_the_user_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no tenant 'acne'; did you mean acme?" in run("connect --tenant acne").err
    monkeypatch.delenv("COLLECTORS__SPOTIFY__TOKEN_KEYS_FILE")
    done = run("connect --tenant acme")
    assert "spotify.token_keys_file" in done.err
    assert "/authorize" not in done.err
    monkeypatch.delenv("SPOTIFY_CLIENT_ID")
    done = run("connect --tenant acme")
    assert (done.code, "spotify.client_id (SPOTIFY_CLIENT_ID)" in done.err) == (1, True)


def test_redirect_uri_elsewhere_points_to_manual(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTORS__SPOTIFY__REDIRECT_URI", "https://collectors.example/back")
    done = run("connect --tenant acme")
    assert (done.code, "--manual" in done.err) == (1, True)


def test_commands_of_the_page_do_what_it_says(
    connecting: Callable[..., Connecting], server: TokenServer, run: Run, environment: dict[str, str]
) -> None:
    """Each line of the page's block, in its order; its tenant is `aurora`."""
    tenants = Path(environment["COLLECTORS_CONFIG_DIR"]) / "tenants"
    (tenants / "aurora.yml").write_text(ACME.replace("acme", "aurora"))
    section = (
        (PROJECT_ROOT / "docs/spotify.md").read_text().partition("## Connecting an account")[2].partition("\n## ")[0]
    )
    block = section.partition("```sh\n")[2].partition("```")[0]
    lines = [line.partition("#")[0].split()[1:] for line in block.splitlines() if line.strip()]
    assert [line[:2] for line in lines] == [["spotify", "connect"]] * 3 + [
        ["spotify", "accounts"],
        ["spotify", "disconnect"],
    ]
    for number, (_, _, tenant, name, *options) in enumerate(lines[:3]):
        assert (tenant, name) == ("--tenant", "aurora")
        server.profile = {"id": f"user-{number}", "display_name": "Somebody"}
        command = connecting(*options, tenant="aurora")
        assert ("show_dialog=true" in command.url) == ("--choose" in options)
        back = command.consent()
        if "--manual" in options:
            command.process.communicate(back + "\n", timeout=60)
        else:
            httpx.get(back, trust_env=False)
        assert command.process.wait(120) == 0
    assert all(f"user-{number}" in run(" ".join(lines[3][1:])).out for number in range(3))
    wrong = run("disconnect --tenant aurora --user nobody --yes")
    assert (wrong.code, "connected are: user-0, user-1, user-2" in wrong.err) == (1, True)
    done = run(" ".join(lines[4][1:]).replace("ID", "user-1") + " --yes")
    assert (done.code, "disconnected user-1 from tenant aurora; 0 rows" in done.out) == (0, True)
    assert [each["user"] for each in run("accounts --json").json["accounts"]] == ["user-0", "user-2"]
