"""The sandbox as a process: the command, its options, the control endpoint, and its place in the local stack."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from tests.support.environment import clean_environment
from tests.support.postgres import free_port
from tests.support.stack import ROOT, LocalStack
from tests.support.waiting import wait_until

COMMAND = (sys.executable, "-m", "collectors_dagster.cli", "sandbox", "spotify")


class Running:
    """A sandbox in a process of its own, asked over HTTP alone."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        reply = httpx.request(method, f"{self.url}/sandbox{path}", json=body, verify=False)
        assert reply.status_code == status, reply.text
        return reply.json()

    def get(self, path: str, token: str) -> httpx.Response:
        return httpx.get(f"{self.url}/v1/{path}", headers={"authorization": f"Bearer {token}"}, verify=False)


@contextmanager
def sandbox(*words: str) -> Iterator[Running]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "--port", str(port), *words],
        cwd=ROOT,
        env=clean_environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Spotify sandbox, everything in it is invented: http://127.0.0.1:")
        yield Running(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        assert process.wait(120) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_the_command_serves_what_its_options_say_and_obeys_over_http() -> None:
    with sandbox(
        "--mode", "development", "--rate", "3/30", "--lockout", "20", "--seed", "7", "--artists", "30"
    ) as running:
        about = running.control("GET", "")
        assert (about["mode"], about["seed"], about["artists"]) == ("development", 7, 30)
        token = running.control("POST", "/tokens", {"user": about["users"][0]})["access_token"]
        ids = running.control("POST", "/ids", {"number": 2})
        assert running.get(f"artists?ids={','.join(ids['artists'])}", token).status_code == 403
        running.control("POST", "/faults", [{"kind": "status", "status": 502, "path": "/v1/me"}])
        assert [running.get("me", token).status_code for _ in range(3)] == [502, 200, 429]
        counts = running.control("GET", "/counts")
        assert (counts["total"], counts["by_status"]) == (4, {"403": 1, "502": 1, "200": 1, "429": 1})
        assert [each["fault"] for each in running.control("GET", "/requests")] == ["", "status", "", ""]
        assert token not in json.dumps(running.control("GET", "/requests"))
        running.control("POST", "/clock", {"seconds": 20})
        assert running.get("me", token).status_code == 429  # the window is not over, and now it says 20 s again
        running.control("PUT", "/limit", {"requests": 100, "window_seconds": 1})
        assert running.get("me", token).status_code == 200
        running.control(
            "POST", "/ban", {"account": about["apps"][0]["account"], "seconds": 60, "reason": "QUOTA_EXCEEDED"}
        )
        assert running.get("me", token).json()["error"]["reason"] == "QUOTA_EXCEEDED"
        running.control("PUT", "/quota", {"requests": 1, "period_seconds": 60})
        assert [running.get("me", token).status_code for _ in range(2)] == [200, 429]
        running.control("PUT", "/quota")
        running.control("PUT", "/limit")
        running.control("POST", "/expire", {"access_token": token})
        assert running.get("me", token).status_code == 401
        running.control("POST", "/reset")
        running.control("DELETE", "/faults")
        assert running.control("GET", "/counts")["total"] == 0


def test_the_control_endpoint_changes_playlists_plays_and_consents() -> None:
    with sandbox("--rate", "none", "--large-playlist", "3", "--no-drift") as running:
        about = running.control("GET", "")
        user, playlist = about["users"][0], about["large_playlist"]
        token = running.control("POST", "/tokens", {"user": user})["access_token"]
        track = running.control("POST", "/ids", {"number": 9})["tracks"][8]
        said = running.control("POST", "/playlists", {"playlist": playlist, "remove": [0], "add": [track]})
        found = running.get(f"playlists/{playlist}", token).json()
        assert found["snapshot_id"] == said["snapshot_id"]
        assert [item["item"]["id"] for item in found["items"]["items"]][-1] == track
        running.control("POST", "/plays", {"user": user, "track": track})
        plays = running.get("me/player/recently-played?limit=1", token).json()["items"]
        assert plays[0]["track"]["id"] == track
        reply = running.control("POST", "/grants", {"user": user})
        form = {"grant_type": "refresh_token", "client_id": about["apps"][0]["client_id"]}
        running.control("POST", "/revoke", {"refresh_token": reply["refresh_token"]})
        refused = httpx.post(
            f"{running.url}/api/token", data=form | {"refresh_token": reply["refresh_token"]}, verify=False
        )
        assert refused.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/faults", {"kind": "fire"}, "there is no fault 'fire'"),
        ("POST", "/faults", {"kind": "reset", "when": 1}, "unexpected keyword argument 'when'"),
        ("PUT", "/limit", {"requests": 0}, "at least one request"),
        ("POST", "/tokens", {"user": "nobody"}, "there is no user 'nobody'"),
        ("POST", "/plays", {}, "KeyError: 'user'"),
        ("POST", "/clock", {"seconds": -1}, "time does not go back"),
        ("POST", "/playlists", {"playlist": "x"}, "there is no playlist 'x'"),
    ],
)
def test_a_bad_order_is_refused_with_the_reason(quiet: Running, method: str, path: str, body: Any, said: str) -> None:
    assert said in quiet.control(method, path, body, status=400)["problem"]


@pytest.fixture(scope="module")
def quiet() -> Iterator[Running]:
    with sandbox() as running:
        yield running


def test_an_unknown_order_lists_those_there_are(quiet: Running) -> None:
    assert "GET /sandbox/counts" in quiet.control("GET", "/nothing", status=404)["orders"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rate", "fast"), "--rate fast: it must be requests/seconds, e.g. 60/30, or none"),
        (("--quota", "5"), "--quota 5: it must be requests/seconds"),
        (("--mode", "both"), "--mode both: it must be extended or development"),
        (("--fault", "{"), "--fault {: "),
        (("--fault", '{"kind": "fire"}'), "there is no fault 'fire'"),
        (("--port", "0", "--fault", '{"kind": "change", "change": {"playlist": "x"}}'), "there is no playlist 'x'"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1 port 18888"),
    ],
)
def test_a_bad_option_is_one_line(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_taken_port_is_said(quiet: Running) -> None:
    port = quiet.url.rpartition(":")[2]
    done = subprocess.run([*COMMAND, "--port", port], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port} (" in done.stderr
    assert "choose another with --port" in done.stderr


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with TemporaryDirectory(prefix="collectors-sandbox-") as folder:
        ours = LocalStack(Path(folder) / "home")
        Path(folder).chmod(0o755)
        try:
            yield ours
        finally:
            ours.run("down")


def test_the_stack_runs_it_for_the_sample_tenants_and_their_consents_outlast_a_kill(stack: LocalStack) -> None:
    done = stack.up("postgres,redis,migrations,spotify-sandbox,spotify-consent")
    assert done.returncode == 0, done.stderr
    found = stack.component("spotify-sandbox")
    url = f"http://127.0.0.1:{stack.ports['spotify_sandbox']}"
    assert (found["state"], found["address"]) == ("ready", url)
    assert "INVENTED" in found["look_at"]
    assert stack.component("spotify-consent")["state"] == "done"
    accounts = json.loads(stack.run("spotify", "accounts", "--json").stdout)["accounts"]
    assert {account["tenant"] for account in accounts} == {"aurora", "borealis"}
    assert len({account["user"] for account in accounts}) == 4
    kept = json.loads((stack.home / "spotify-sandbox" / "state.json").read_text())["grants"]
    pid = stack.kill("spotify-sandbox")
    wait_until(lambda: stack.component("spotify-sandbox")["pid"] not in {None, pid}, 60, "another sandbox")
    wait_until(lambda: stack.component("spotify-sandbox")["state"] == "ready", 60, "the sandbox")
    application = httpx.get(f"{url}/sandbox", verify=False).json()["apps"][0]["client_id"]
    form = {"grant_type": "refresh_token", "refresh_token": kept[0]["refresh_token"], "client_id": application}
    refreshed = httpx.post(
        f"{url}/api/token",
        data=form,
        auth=None if kept[0]["rotates"] else (application, "5a4db0c55a4db0c55a4db0c55a4db0c5"),
        verify=False,
    )
    assert refreshed.status_code == 200, refreshed.text


def test_the_stack_leaves_it_out_where_no_tenant_asks_it(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home")
    (tmp_path / "config" / "tenants").mkdir(parents=True)
    (tmp_path / "config" / "base.yml").write_text("{}\n")
    (tmp_path / "config" / "tenants" / "acme.yml").write_text("id: acme\nname: Acme\n")
    done = stack.run("status", "--json", COLLECTORS_CONFIG_DIR=str(tmp_path / "config"))
    assert "agent" in done.stdout
    assert "spotify-sandbox" not in done.stdout
