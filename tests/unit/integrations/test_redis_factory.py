"""Shared state as the settings describe it, over real servers."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from collectors_dagster.cli.__main__ import main
from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.errors import ConfigurationError, SharedStateUnavailableError
from collectors_dagster.integrations.redis import shared_store
from collectors_dagster.integrations.redis.check import STORE_CHECK, examine
from collectors_dagster.integrations.redis.factory import bare_store
from collectors_dagster.integrations.redis.observing import StoreLog
from collectors_dagster.patterns.guarded_store import GuardedStore
from tests.support.postgres import free_port
from tests.support.project import Project
from tests.support.redis import redis_process, sentinel_process
from tests.support.redis_cluster import RedisCluster, say, server_program
from tests.support.waiting import wait_until

PATIENT = {"connect_timeout_seconds": 2.0, "answer_timeout_seconds": 2.0}
"""For a busy machine."""


def settings_of(**redis: object) -> Settings:
    return load_settings(redis=PATIENT | redis)


def fault(store: GuardedStore) -> str:
    with pytest.raises(SharedStateUnavailableError) as caught:
        store.run(STORE_CHECK, "aurora:test:a")
    return caught.value.kind


def works(store: GuardedStore) -> bool:
    try:
        return bool(store.run(STORE_CHECK, "aurora:test:a"))
    except SharedStateUnavailableError:
        return False


def test_installation_shares_state_under_its_own_prefix(project: Project, redis_url: str) -> None:
    store = shared_store(settings_of(url=redis_url, prefix="plant-7:"), clock=SystemClock())
    assert len(store.run(STORE_CHECK, "aurora:test:a")) == 1
    assert say(int(redis_url.rsplit(":", 1)[1].split("/", maxsplit=1)[0]), "KEYS", "*") == [b"plant-7:{aurora:test:a}"]


def test_stack_that_was_never_started_is_an_outage_and_no_error(project: Project) -> None:
    log = StoreLog()
    settings = load_settings(ports={"redis": free_port()})
    store = shared_store(settings, clock=ManualClock(), observer=log)
    assert [fault(store), fault(store)] == ["unreachable", "paused"]
    figures = log.figures()
    assert (figures.round_trips, figures.faults, figures.away) == (0, {"unreachable": 1}, ("",))


def test_figures_count_what_went_over_the_network(project: Project, redis_url: str) -> None:
    log = StoreLog()
    store = shared_store(settings_of(url=redis_url), clock=SystemClock(), observer=log)
    for _ in range(3):
        store.run(STORE_CHECK, "aurora:test:a")
    figures = log.figures()
    assert (figures.round_trips, figures.faults, figures.away) == (3, {}, ())
    assert figures.round_trip_seconds > 0


def test_absent_file_of_tls_is_refused_with_the_setting(project: Project) -> None:
    settings = settings_of(host="h", tls=True, tls_ca_file=Path("/nowhere/ca.pem"))
    with pytest.raises(ConfigurationError, match=r"redis\.tls_ca_file = /nowhere/ca\.pem: there is no such file"):
        shared_store(settings, clock=SystemClock())


def test_tls_is_spoken_with_a_server_that_is_vouched_for_and_with_no_other(project: Project, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    options = ["--tls-port", str(port := free_port()), "--tls-cert-file", str(certificate)]
    options += ["--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    with redis_process(*options, program=server_program()):  # the wheel's knows no TLS
        url = f"rediss://127.0.0.1:{port}"
        trusting = settings_of(url=url, tls_ca_file=certificate, tls_cert_file=certificate, tls_key_file=key)
        assert works(shared_store(trusting, clock=SystemClock()))
        strange = settings_of(url=url, tls_cert_file=certificate, tls_key_file=key)
        assert fault(shared_store(strange, clock=SystemClock())) == "unreachable"
        other_name = settings_of(
            url=f"rediss://localhost:{port}", tls_ca_file=certificate, tls_cert_file=certificate, tls_key_file=key
        )
        assert fault(shared_store(other_name, clock=SystemClock())) == "unreachable"
        unverified = settings_of(url=url, tls_verify=False, tls_cert_file=certificate, tls_key_file=key)
        assert works(shared_store(unverified, clock=SystemClock()))
        assert asyncio.run(shared_store(trusting, clock=SystemClock()).arun(STORE_CHECK, "aurora:test:a"))


def test_sentinels_are_asked_for_the_master_and_again_after_it_changed(project: Project, tmp_path: Path) -> None:
    with ExitStack() as running:
        master = running.enter_context(redis_process("--repl-diskless-sync-delay", "0"))
        replica = running.enter_context(redis_process("--replicaof", f"127.0.0.1 {master.port}"))
        wait_until(lambda: b"master_link_status:up" in say(replica.port, "INFO", "replication"), seconds=20)
        sentinel = running.enter_context(sentinel_process("shared", master.port, tmp_path))
        wait_until(lambda: b"slaves=1" in say(sentinel, "INFO", "sentinel"), seconds=30, what="that it knows both")
        settings = settings_of(url=f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel}/shared")
        store = bare_store(settings)
        assert store.run(STORE_CHECK, "aurora:test:a")
        assert asyncio.run(store.arun(STORE_CHECK, "aurora:test:a"))
        wait_until(lambda: changes_master(sentinel), seconds=60, what="that it takes the replica for fit")
        guard = shared_store(settings, clock=SystemClock())
        wait_until(lambda: b"role:master" in say(replica.port, "INFO", "replication"), seconds=60)
        wait_until(lambda: works(guard), seconds=60)
        assert examine(store, SystemClock())[0].problem == ""


def test_check_writes_through_every_master_of_a_cluster(
    project: Project, redis_cluster: RedisCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTORS__REDIS__URL", redis_cluster.url)
    monkeypatch.setenv("COLLECTORS__REDIS__ANSWER_TIMEOUT_SECONDS", "2")
    assert exit_code("redis", "check") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.partition(": ")[0] for line in lines} == {f"127.0.0.1:{port}" for port in redis_cluster.masters()}
    assert all("shared, " in line for line in lines)


def test_check_says_what_is_wrong_and_the_remedy(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_process("--requirepass", "right") as server:
        monkeypatch.setenv("COLLECTORS__REDIS__URL", f"redis://:hunter2@127.0.0.1:{server.port}")
        monkeypatch.setenv("COLLECTORS__REDIS__ANSWER_TIMEOUT_SECONDS", "2")
        assert exit_code("redis", "check") == 1
        said = capsys.readouterr().out
        assert said == (
            f"127.0.0.1:{server.port}: authentication\n"
            "  -> check redis.user and redis.password, or those in redis.url\n"
        )


def changes_master(sentinel: int) -> bool:
    """Ask for another master; a Sentinel refuses as long as it has not heard enough of the replica."""
    try:
        say(sentinel, "SENTINEL", "FAILOVER", "shared")
    except redis.ResponseError:
        return False
    return True


def exit_code(*words: str) -> object:
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"
