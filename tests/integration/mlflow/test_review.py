"""From challenger to champion and back: by days of trial, by a person in MLflow; all on the real registry and store."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.champions import Champions as RunChampions
from assets.recall import Recall
from assets.review import review_models
from assets.shown import Metadata
from assets.work import TenantDay, Tools
from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.errors import RequestRejectedError, ServiceUnreachableError
from collectors_dagster.features.feature_set import compute
from collectors_dagster.integrations.mlflow import ModelRegistry, Wait, at_once
from collectors_dagster.integrations.model_aliases import ModelAliases
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.models.training import TrainedDetector
from collectors_dagster.records import Window
from collectors_dagster.scorer.champions import POLL_SECONDS, Champions
from collectors_dagster.tenants import Tenant, TenantDirectory
from resources.deployment import Deployment
from resources.registry import Registry
from sensors.champions import champion_sensor
from tests.integration.mlflow.conftest import Shop, waiting_for
from tests.support.histories import START, quiet_host

FIRST_DAY = START.astype(datetime).replace(tzinfo=UTC) + timedelta(days=1)
"""The models of these tests were trained on the first ninety minutes of the day before."""


class Tenants:
    """One configured tenant."""

    def __init__(self, tenant_id: str) -> None:
        self._directory = TenantDirectory((Tenant(tenant_id, "Aurora"),))

    def current(self) -> TenantDirectory:
        return self._directory

    latest = current


class Review:
    """A deployment whose challengers wait as the settings say, and days of data."""

    def __init__(self, shop: Shop, store: Store) -> None:
        self.shop, self.store = shop, store
        self.clock = ManualClock(FIRST_DAY + timedelta(days=20))
        settings = load_settings(mlflow={"tracking_uri": shop.registry._uri, "shadow_days": 2})
        self.deployment = Deployment(settings, self.clock, Tenants(shop.tenant))
        self.registry = Registry(shop.registry._uri, shop.place / "cache")
        store.tenants.sync(self.deployment.directory().tenants)

    def publish(self, trained: TrainedDetector, wait: Wait = at_once) -> str:
        return self.shop.publish(trained, wait=wait).version

    def day(self, number: int, minutes: int = 1440) -> Window:
        start = FIRST_DAY + timedelta(days=number)
        frame = quiet_host(minutes, first=1440 * (number + 1))
        self.store.features.write(
            self.shop.tenant, Window(start, start + timedelta(days=1)), [compute(None, frame)], "run"
        )
        return Window(start, start + timedelta(days=1))

    def review(self, window: Window) -> dict[str, str]:
        tools = Tools(
            self.store, self.registry, self.deployment, Recall(self.store), RunChampions(self.registry), "run"
        )
        tenant = self.deployment.directory().find(self.shop.tenant)
        shown: Metadata = review_models(TenantDay(tools, tenant, self.clock.now(), window))
        return {name: str(value.value) for name, value in shown.items()}

    def look(self, cursor: str | None = None) -> dg.SensorResult:
        context = dg.build_sensor_context(
            cursor=cursor, resources={"deployment": self.deployment, "registry": self.registry}
        )
        result = champion_sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result


@pytest.fixture
def review(shop: Shop, store: Store) -> Review:
    return Review(shop, store)


def test_a_challenger_that_does_no_worse_for_its_days_is_promoted(review: Review, detector: TrainedDetector) -> None:
    review.publish(detector)
    review.publish(detector, waiting_for("shadow"))
    first = review.review(review.day(0))
    assert first["verdict"] == "Day 1 of 2: nothing speaks against it."
    assert "| shadow_psi | 0 | 0 |" in first["figures"]
    again = review.review(review.day(0))
    assert again["verdict"] == first["verdict"]  # the same day again is the same day
    assert review.review(review.day(1))["verdict"] == "Promoted after 2 days: nothing speaks against it."
    name = f"{review.shop.tenant}.anomaly"
    assert review.shop.aliases(name) == {"champion": "2", "previous": "1"}
    version = review.shop.client.get_model_version(name, "2")
    assert version.tags["validation_status"] == "champion"
    assert json.loads(version.tags[f"shadow.{FIRST_DAY:%Y-%m-%d}"])["minutes"] == 1440
    history = review.shop.client.get_metric_history(str(version.run_id), "shadow_psi")
    assert [(one.value, one.step) for one in history] == [
        (0.0, int((FIRST_DAY + timedelta(days=n)).timestamp()) // 86_400) for n in (0, 1)
    ]


def test_one_that_scores_otherwise_is_rejected_and_stays_to_be_looked_at(
    review: Review, detector: TrainedDetector, other: TrainedDetector
) -> None:
    review.publish(detector)
    review.publish(other, waiting_for("shadow"))
    review.review(review.day(0))
    assert review.review(review.day(1))["verdict"].startswith("Rejected after 2 days: ")
    name = f"{review.shop.tenant}.anomaly"
    assert review.shop.aliases(name) == {"champion": "1", "challenger": "2"}
    tags = review.shop.client.get_model_version(name, "2").tags
    assert tags["validation_status"] == "rejected"
    assert tags["rejected"]
    assert review.review(review.day(2))["verdict"].startswith("It was rejected before: ")


def test_one_that_waits_for_a_person_is_shown_and_never_promoted(review: Review, detector: TrainedDetector) -> None:
    review.publish(detector)
    review.publish(detector, waiting_for("review"))
    verdicts = [review.review(review.day(number))["verdict"] for number in (0, 1, 2)]
    assert verdicts[2] == "It waits for a person to move the alias champion. After 3 days: nothing speaks against it."
    assert review.shop.champion_version() == "1"


def test_days_that_are_not_over_or_were_learned_or_hardly_measured_say_nothing(
    review: Review, detector: TrainedDetector
) -> None:
    review.publish(detector)
    assert review.review(review.day(0))["note"] == "Nothing challenges the champion."
    review.publish(detector, waiting_for("shadow"))
    assert "too little of it was measured" in review.review(review.day(1, minutes=500))["note"]
    assert "trained on this day" in review.review(review.day(-1, minutes=90))["note"]
    review.clock.move(-20 * 86_400 + 3600)
    assert "not over" in review.review(review.day(0))["note"]


def test_a_person_who_moves_the_alias_is_noticed_and_can_go_back_with_one_move(
    review: Review, detector: TrainedDetector
) -> None:
    review.publish(detector)
    review.publish(detector, waiting_for("review"))
    name = f"{review.shop.tenant}.anomaly"
    first = review.look()
    assert first.asset_events == []
    review.shop.client.set_registered_model_alias(name, "champion", "2")  # as MLflow's page does
    second = review.look(first.cursor)
    [told] = second.asset_events
    assert isinstance(told, dg.AssetObservation)
    assert (told.asset_key.to_user_string(), told.partition) == ("anomaly_model", review.shop.tenant)
    assert told.metadata["champion"].value == "2"
    assert told.metadata["moved_by"].value == "a person, in MLflow"
    assert review.shop.aliases(name) | {"challenger": ""} == {"champion": "2", "previous": "1", "challenger": ""}
    assert review.shop.champion_version() == "2"
    third = review.look(second.cursor)
    assert third.asset_events == []
    assert "serve what they did" in str(third.skip_reason)
    review.shop.client.set_registered_model_alias(name, "champion", "1")
    [back] = review.look(third.cursor).asset_events
    assert back.metadata["champion"].value == "1"
    assert review.shop.champion_version() == "1"


def test_the_scorer_serves_what_the_alias_says_and_starts_without_mlflow(
    review: Review, detector: TrainedDetector
) -> None:
    home, tenant = review.shop.place, review.shop.tenant
    review.publish(detector)
    review.publish(detector)

    def champions(uri: str = review.shop.registry._uri) -> Champions:
        made = Champions(lambda: ModelRegistry(uri), home / "models", home / "champions.json", review.clock)
        made.follow({tenant})
        made.refresh()
        return made

    scorer = champions()
    assert scorer.detector(tenant).version == "2"
    review.shop.client.set_registered_model_alias(f"{tenant}.anomaly", "champion", "1")
    scorer.refresh()
    assert scorer.detector(tenant).version == "1"
    assert POLL_SECONDS <= 30  # a look, and the same again for download and loading
    assert champions("http://127.0.0.1:9").detector(tenant).version == "1"
    (home / "models" / f"{tenant}.anomaly" / "1" / "bundle.json").write_text("{}")
    assert champions("http://127.0.0.1:9").detector(tenant).version == "untrained"
    assert champions().detector(tenant).version == "1"


def test_a_registry_that_is_away_costs_a_look_and_nothing_else(review: Review) -> None:
    review.registry = Registry("http://127.0.0.1:9", review.shop.place)
    result = review.look('{"x.anomaly": "1"}')
    assert result.cursor == '{"x.anomaly": "1"}'
    assert "is it running" in str(result.skip_reason)


def test_aliases_over_rest_are_those_of_mlflow(shop: Shop, detector: TrainedDetector) -> None:
    published = shop.publish(detector)
    aliases = ModelAliases(shop.registry._uri)
    assert aliases.all()[published.name] == {"champion": "1"}
    aliases.set(published.name, "previous", "1")
    assert shop.aliases(published.name) == {"champion": "1", "previous": "1"}
    with pytest.raises(RequestRejectedError, match="404"):
        aliases.set(published.name, "previous", "99")
    with pytest.raises(ServiceUnreachableError, match=r"mlflow\.tracking_uri") as caught:
        ModelAliases("http://127.0.0.1:9", {"MLFLOW_TRACKING_TOKEN": "hidden-word"}).all()
    assert "hidden-word" not in str(caught.value)
