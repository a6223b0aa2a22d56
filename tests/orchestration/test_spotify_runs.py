"""Spotify's runs: who is pulled, what is shown, and that a pause which Spotify asks for is no failure."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from pydantic import SecretStr

from assets.partitions import TENANT_DAY, TENANTS
from collectors_dagster.clock import ManualClock
from collectors_dagster.definitions import composed
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.sandbox import SandboxOptions, WorldOptions
from collectors_dagster.strategies.spotify_datasets import DAILY, DATASETS
from collectors_dagster.tenants import SpotifySource
from resources.deployment import Deployment
from resources.spotify import Spotify
from sensors.ranges import PRIORITY, RANGE_END, RANGE_START
from sensors.spotify import ACCOUNT, spotify_resume_sensor
from tests.orchestration.conftest import AURORA, BOREALIS, CIRRUS, DAY, Tenants
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox
from tests.support.spotify_data import spotify_tables
from tests.support.spotify_pulls import Listening, spotify_settings

WORLD = WorldOptions(artists=40, listeners=2, playlists=1, large_playlist_items=60)
ORDER = ("borealis", "aurora", "cirrus")
ALL = (f"borealis|{DAY}", f"cirrus|{DAY}")


@pytest.fixture
def sandbox(clock: ManualClock) -> Iterator[SpotifySandbox]:
    with running_spotify_sandbox(SandboxOptions(limit=None, world=WORLD), clock) as running:
        yield running


@pytest.fixture
def listening(sandbox: SpotifySandbox, store: Store, clock: ManualClock, tenants: Tenants, tmp_path: Path) -> Listening:
    """Return aurora on a developer account of her own, borealis on the deployment's; cirrus has no Spotify."""
    secret = tmp_path / "secret"
    secret.write_text(sandbox.apps[2].client_secret)
    secret.chmod(0o600)
    own = SpotifySource(
        enabled=True,
        account=sandbox.apps[2].account,
        client_id=sandbox.apps[2].client_id,
        client_secret=f"file:{secret}",
        max_artists=8,
    )
    aurora = replace(AURORA, spotify=own)
    borealis = replace(BOREALIS, spotify=SpotifySource(enabled=True, sandbox=False, max_artists=8))
    tenants.tenants = (aurora, borealis, CIRRUS)
    store.tenants.sync(tenants.tenants)
    listening = Listening(sandbox, store, clock, spotify_settings(sandbox), borealis)
    listening.connect(sandbox.users[0], borealis)
    listening.connect(sandbox.users[1], aurora, sandbox.apps[2])
    return listening


@pytest.fixture
def platform(
    listening: Listening, clock: ManualClock, tenants: Tenants, store: Store, instance: dg.DagsterInstance
) -> dict[str, object]:
    instance.add_dynamic_partitions("tenant", list(ORDER))
    deployment = Deployment(listening.settings, clock, tenants)
    return {"store": store, "deployment": deployment, "spotify": Spotify(lambda: listening.shared)}


def run(
    platform: dict[str, object], instance: dg.DagsterInstance, job: str, keys: tuple[str, str], *assets: str
) -> dg.ExecuteInProcessResult:
    return (
        composed(platform)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            tags={RANGE_START: keys[0], RANGE_END: keys[1]},
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            raise_on_error=False,
        )
    )


def states(instance: dg.DagsterInstance, asset: str, partitions: dg.PartitionsDefinition) -> tuple[set[str], set[str]]:
    """Return the partitions that the UI shows as materialised and as failed."""
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        cached = get_and_update_asset_status_cache_value(instance, dg.AssetKey(asset), partitions)
        if cached is None:
            return set(), set()
        done = cached.deserialize_materialized_partition_subsets(partitions)
        failed = cached.deserialize_failed_partition_subsets(partitions)
        return set(done.get_partition_keys()), set(failed.get_partition_keys())


def test_a_day_is_pulled_for_tenants_with_a_source_and_for_no_others(
    platform: dict[str, object], instance: dg.DagsterInstance
) -> None:
    result = run(platform, instance, "spotify_day", ALL)
    assert result.success
    for dataset in DAILY:
        assert states(instance, dataset.asset, TENANT_DAY) == ({f"borealis|{DAY}", f"aurora|{DAY}"}, set())
    shown = {
        event.step_materialization_data.materialization.asset_key.to_user_string(): event.step_materialization_data
        for event in result.get_asset_materialization_events()
    }
    metadata = shown["spotify_playlists"].materialization.metadata
    assert metadata["source"].value == "Spotify Web API"
    assert metadata["mode"].value == "extended"
    assert metadata["rows_new"].value == metadata["dagster/row_count"].value
    for name in ("requests", "not_modified", "cache_hits", "waited_seconds", "bans", "rows_changed"):
        assert name in metadata


def test_what_comes_from_the_sandbox_says_so(
    platform: dict[str, object], instance: dg.DagsterInstance, tenants: Tenants, listening: Listening
) -> None:
    from assets.spotify_shown import shown

    invented = replace(listening.tenant, spotify=replace(listening.tenant.spotify, sandbox=True))
    assert shown(invented, DATASETS["profile"], [])["source"].value == "sandbox: invented on this machine"


def test_a_ban_puts_its_accounts_tenants_off_and_the_sensor_starts_them_again(
    platform: dict[str, object],
    instance: dg.DagsterInstance,
    sandbox: SpotifySandbox,
    clock: ManualClock,
    store: Store,
) -> None:
    sandbox.ban(600)
    result = run(platform, instance, "spotify_day", ALL)
    assert result.success
    assert sandbox.counts().during_retry_after == 0
    for dataset in DAILY:
        assert states(instance, dataset.asset, TENANT_DAY) == ({f"aurora|{DAY}"}, set())
    [observation] = result.get_asset_observation_events()
    said = observation.asset_observation_data.asset_observation
    assert said.partition == f"borealis|{DAY}"
    assert "goes on by itself" in str(said.metadata["left_out"].value)
    assert {one.dataset for one in store.spotify.pulls.waiting()} == {dataset.name for dataset in DAILY}

    assert resumed(platform, instance) == []
    clock.move(700)
    [request] = resumed(platform, instance)
    assert request.job_name == "spotify_day"
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == (f"borealis|{DAY}", f"borealis|{DAY}")
    assert {key.to_user_string() for key in request.asset_selection or ()} == {one.asset for one in DAILY}
    names = [key.to_user_string() for key in request.asset_selection or ()]
    assert run(platform, instance, "spotify_day", (f"borealis|{DAY}", f"borealis|{DAY}"), *names).success
    for dataset in DAILY:
        assert states(instance, dataset.asset, TENANT_DAY) == ({f"borealis|{DAY}", f"aurora|{DAY}"}, set())
    assert resumed(platform, instance) == []


def resumed(platform: dict[str, object], instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """Return what the sensor asks for at one look."""
    resources = {name: platform[name] for name in ("store", "deployment")}
    result = spotify_resume_sensor(dg.build_sensor_context(instance=instance, resources=resources))
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or ())


def test_a_tenant_that_fails_is_shown_failed_and_the_others_are_stored(
    platform: dict[str, object], instance: dg.DagsterInstance, tenants: Tenants
) -> None:
    aurora, *others = tenants.tenants
    broken = replace(aurora, spotify=replace(aurora.spotify, client_secret="file:/nowhere/secret"))
    tenants.tenants = (broken, *others)
    result = run(platform, instance, "spotify", ("borealis", "aurora"), "spotify_recently_played")
    assert not result.success
    assert states(instance, "spotify_recently_played", TENANTS) == ({"borealis"}, {"aurora"})


def test_a_day_that_is_over_is_not_pulled(
    platform: dict[str, object], instance: dg.DagsterInstance, clock: ManualClock, sandbox: SpotifySandbox
) -> None:
    clock.move(86_400)
    assert run(platform, instance, "spotify_day", ALL).success
    assert sandbox.counts().total == 0
    assert states(instance, "spotify_profile", TENANT_DAY) == (set(), set())


def scheduled(
    platform: dict[str, object], instance: dg.DagsterInstance, name: str, at: timedelta
) -> list[dg.RunRequest]:
    deployment = platform["deployment"]
    assert isinstance(deployment, Deployment)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=deployment.clock.now() + at,
        resources={"deployment": deployment},
        repository_def=composed(platform).get_repository_def(),
    )
    return list(composed(platform).resolve_schedule_def(name).evaluate_tick(context).run_requests or ())


def test_a_run_is_of_one_developer_account_and_plays_have_a_place_of_their_own(
    platform: dict[str, object], instance: dg.DagsterInstance, sandbox: SpotifySandbox
) -> None:
    nightly = scheduled(platform, instance, "spotify_daily", timedelta(0))
    plays = scheduled(platform, instance, "spotify_plays", timedelta(0))
    accounts = {sandbox.app.client_id, sandbox.apps[2].account}
    assert {one.tags[ACCOUNT] for one in nightly} == accounts
    assert {one.tags[ACCOUNT] for one in plays} == {f"{account}/urgent" for account in accounts}
    ranges = {(one.tags[RANGE_START], one.tags[RANGE_END]) for one in plays}
    assert ranges == {("aurora", "aurora"), ("borealis", "borealis")}
    assert all(int(one.tags[PRIORITY]) > max(int(other.tags[PRIORITY]) for other in nightly) for one in plays)
    assert {tuple(key.to_user_string() for key in one.asset_selection or ()) for one in plays} == {
        ("spotify_recently_played",)
    }
    later = scheduled(platform, instance, "spotify_plays", timedelta(minutes=20))
    assert {one.run_key for one in plays}.isdisjoint({one.run_key for one in later})


def test_checks_say_who_was_not_pulled_in_time(
    platform: dict[str, object], instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    assert judged(platform, "spotify_recently_played", "fresh", instance) == (True, "2 tenants looked at")
    assert run(platform, instance, "spotify", ("borealis", "aurora"), "spotify_recently_played").success
    assert judged(platform, "spotify_recently_played", "fresh", instance)[0]
    assert judged(platform, "spotify_recently_played", "gapless", instance)[0]
    clock.move(3 * 3600)
    passed, said = judged(platform, "spotify_recently_played", "fresh", instance)
    assert (passed, said) == (False, "fails for aurora, borealis")


def judged(platform: dict[str, object], asset: str, name: str, instance: dg.DagsterInstance) -> tuple[bool, str | None]:
    """Return what a check says."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    [definition] = [one for one in composed(platform).asset_checks or () if key in one.check_keys]
    result = definition(store=platform["store"], deployment=platform["deployment"])
    assert isinstance(result, dg.AssetCheckResult)
    return result.passed, result.description


def test_retention_forgets_what_is_older_than_its_dataset_is_kept(
    platform: dict[str, object], instance: dg.DagsterInstance, clock: ManualClock, database: SecretStr
) -> None:
    assert run(platform, instance, "spotify", ("borealis", "aurora"), "spotify_recently_played").success
    assert spotify_tables(database)["spotify_play"]
    clock.move(86_400 * (DATASETS["recently_played"].keep_days + 1))
    result = run(platform, instance, "retention", ("borealis", "aurora"))
    assert result.success
    assert spotify_tables(database)["spotify_play"] == []
