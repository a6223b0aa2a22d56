import pytest

from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.scopes import ProcessSelector, Scope
from collectors_dagster.tenants import AlertTarget, Retention, Sampling, SpotifySource, SystemSource, Tier
from tests.support.project import ACME, Project

FULL = """\
id: acme
name: Acme Größe & Söhne
tier: premium
synthetic: false
sources:
  system_performance:
    enabled: true
    collectors: [cpu, memory]
    detail: true
    collection_interval: 30
    ml_enabled: false
    anomaly_threshold: 0.95
  spotify: {account: acme-main}
retention: {raw_days: 2, hourly_days: 20}
alerts:
  - {kind: log, name: log}
  - {kind: webhook, name: ops, url: "https://hooks.example/T0/secret"}
"""


def test_everything_a_tenant_file_says_is_served(project: Project) -> None:
    project.write("config/tenants/acme.yml", FULL)
    found = load_tenants(project.settings())
    assert found.problems == ()
    (tenant,) = found.tenants
    assert (tenant.id, tenant.name, tenant.tier) == ("acme", "Acme Größe & Söhne", Tier.PREMIUM)
    assert tenant.system == SystemSource(
        enabled=True,
        collectors=("cpu", "memory"),
        detail=True,
        collection_interval_seconds=30.0,
        ml_enabled=False,
        anomaly_threshold=0.95,
    )
    assert tenant.retention == Retention(2, 20)
    assert tenant.spotify == SpotifySource(account="acme-main", enabled=True)
    assert tenant.alerts == (
        AlertTarget("log", "log"),
        AlertTarget("webhook", "ops", "https://hooks.example/T0/secret"),
    )


def test_what_a_tenant_file_leaves_out_follows_the_deployment(project: Project) -> None:
    project.write(
        "config/base.yml",
        "collectors: {system_performance: {collection_interval: 60, ml_enabled: false, anomaly_threshold: 0.8}}\n"
        "retention: {raw_days: 3, hourly_days: 30}\n",
    )
    project.write("config/tenants/acme.yml", "id: acme\nname: Acme\n")
    (tenant,) = load_tenants(project.settings()).tenants
    assert tenant.tier is Tier.STANDARD
    assert tenant.system == SystemSource(collection_interval_seconds=60.0, ml_enabled=False, anomaly_threshold=0.8)
    assert tenant.retention == Retention(3, 30)
    assert tenant.alerts == (AlertTarget("log", "log"),)
    assert not tenant.synthetic


def test_host_collection_can_be_off_for_all_tenants_that_do_not_ask_for_it(project: Project) -> None:
    project.write("config/base.yml", "collectors: {system_performance: {enabled: false}}\n")
    project.write("config/tenants/acme.yml", ACME)
    project.write("config/tenants/bolt.yml", "id: bolt\nname: B\nsources: {system_performance: {enabled: true}}\n")
    found = load_tenants(project.settings())
    assert [each.system.enabled for each in found.tenants] == [False, True]


def test_a_tenant_may_observe_a_part_of_the_host(project: Project) -> None:
    project.write(
        "config/tenants/acme.yml",
        ACME + "sources:\n  system_performance:\n    max_series: 50\n    scope:\n"
        "      cgroups: [/system.slice/shop-*.service, /machine.slice/**]\n"
        "      processes: [{user: shop, executable: 'python3*'}, {cgroup: /docker/shop}]\n",
    )
    found = load_tenants(project.settings())
    assert found.problems == ()
    system = found.find("acme").system
    assert system.scope == Scope(
        host=False,
        cgroups=("/system.slice/shop-*.service", "/machine.slice/**"),
        processes=(ProcessSelector(user="shop", executable="python3*"), ProcessSelector(cgroup="/docker/shop")),
    )
    assert system.collectors == ("cgroup", "process")
    assert system.max_series == 50


@pytest.mark.parametrize(
    ("scope", "host"),
    [("{}", True), ("{host: true, cgroups: [/shop]}", True), ("{cgroups: [/shop]}", False), ("{host: true}", True)],
)
def test_a_tenant_observes_the_whole_host_unless_it_names_parts_of_it(
    project: Project, scope: str, *, host: bool
) -> None:
    project.write("config/tenants/acme.yml", ACME + f"sources:\n  system_performance:\n    scope: {scope}\n")
    system = load_tenants(project.settings()).find("acme").system
    assert system.scope.host is host
    assert ("cpu" in system.collectors) is host


def test_the_number_of_series_follows_the_deployment(project: Project) -> None:
    project.write("config/base.yml", "collectors: {system_performance: {max_series: 300}}\n")
    project.write("config/tenants/acme.yml", ACME)
    assert load_tenants(project.settings()).find("acme").system.max_series == 300


def test_a_tenant_may_have_its_sources_read_adaptively(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    wish = "sources: {system_performance: {sampling: {strategy: adaptive, slowest: 10}}}\n"
    project.write("config/tenants/bolt.yml", f"id: bolt\nname: B\n{wish}")
    acme, bolt = (each.system for each in load_tenants(project.settings()).tenants)
    assert acme.sampling is Sampling.FIXED
    assert (bolt.sampling, bolt.slowest_seconds) == (Sampling.ADAPTIVE, 10.0)


def test_alerts_can_be_switched_off(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    assert load_tenants(project.settings()).find("acme").alerts == ()


BAD = {
    "unknown key": ("nam: x\n", ["acme.yml:4: nam ", "did you mean name?", "retention"]),
    "unknown nested key": (
        "sources:\n  system_performence: {}\n",
        ["acme.yml:5: ", "did you mean system_performance?"],
    ),
    "unknown tier": ("tier: gold\n", ["acme.yml:4: tier = 'gold'", "premium, standard"]),
    "unknown collector": (
        "sources:\n  system_performance:\n    collectors: [cpu, memroy]\n",
        ["acme.yml:6: ", "'memroy'", "did you mean memory?", "cpu, load, memory"],
    ),
    "collector twice": ("sources:\n  system_performance:\n    collectors: [cpu, cpu]\n", ["acme.yml:6", "twice"]),
    "no collector": ("sources:\n  system_performance:\n    collectors: []\n", ["acme.yml:6", "enabled: false"]),
    "collectors as text": ("sources:\n  system_performance:\n    collectors: cpu\n", ["acme.yml:6", "a list"]),
    "negative interval": (
        "sources:\n  system_performance:\n    collection_interval: -1\n",
        ["acme.yml:6: sources.system_performance.collection_interval = -1", "1 to 3,600 (seconds)"],
    ),
    "interval in quotes": (
        "sources:\n  system_performance:\n    collection_interval: '10'\n",
        ["acme.yml:6", "a number"],
    ),
    "interval of zero": ("sources:\n  system_performance:\n    collection_interval: 0\n", ["acme.yml:6", "1 to 3,600"]),
    "threshold of nothing": (
        "sources:\n  system_performance:\n    anomaly_threshold: .nan\n",
        ["acme.yml:6", "0.5 to 1"],
    ),
    "unknown sampling": (
        "sources:\n  system_performance:\n    sampling: {strategy: adptive}\n",
        ["acme.yml:6: ", "'adptive'", "fixed, adaptive"],
    ),
    "sampling too seldom": (
        "sources:\n  system_performance:\n    sampling: {slowest: 60}\n",
        ["acme.yml:6: ", "= 60", "1 to 10 (seconds)"],
    ),
    "retention of zero": ("retention:\n  raw_days: 0\n", ["acme.yml:5: retention.raw_days = 0", "1 to 3,650 (days)"]),
    "retention in parts": ("retention:\n  raw_days: 1.5\n", ["acme.yml:5: retention.raw_days = 1.5", "a whole number"]),
    "webhook without address": ("alerts2: 1\n", ["acme.yml:4: alerts2", "did you mean alerts?"]),
    "switch as number": ("synthetic: 1\n", ["acme.yml:4: synthetic = 1", "true or false"]),
    "account with a path": ("sources:\n  spotify: {account: ../x}\n", ["acme.yml:5", "lower-case letters"]),
    "cgroup out of the tree": (
        "sources:\n  system_performance:\n    scope: {cgroups: [/shop/../bank]}\n",
        ["acme.yml:6", "sources.system_performance.scope.cgroups[0] = '/shop/../bank'", "no .."],
    ),
    "cgroup of the whole host": (
        "sources:\n  system_performance:\n    scope: {cgroups: [/**]}\n",
        ["acme.yml:6", "scope.cgroups[0]", "host: true"],
    ),
    "selector of nothing": (
        "sources:\n  system_performance:\n    scope:\n      processes:\n        - {}\n",
        ["acme.yml:8", "scope.processes[0]", "name a user, an executable or a cgroup"],
    ),
    "selector of everything": (
        "sources:\n  system_performance:\n    scope: {processes: [{executable: '*'}]}\n",
        ["acme.yml:6", "scope.processes[0].executable = '*'", "not only *"],
    ),
    "selector of users": (
        "sources:\n  system_performance:\n    scope: {processes: [{user: 'www-*'}]}\n",
        ["acme.yml:6", "scope.processes[0].user = 'www-*'", "patterns are not allowed"],
    ),
    "selector by number": (
        "sources:\n  system_performance:\n    scope: {processes: [{pid: 1}]}\n",
        ["acme.yml:6", "scope.processes[0].pid", "allowed here: cgroup, executable, user"],
    ),
    "scope of nothing": (
        "sources:\n  system_performance:\n    scope: {host: false}\n",
        ["acme.yml:6", "observes nothing", "name cgroups or processes"],
    ),
    "too many selectors": (
        f"sources:\n  system_performance:\n    scope: {{cgroups: [{', '.join(f'/g{n}' for n in range(51))}]}}\n",
        ["acme.yml:6", "at most 50"],
    ),
    "collector beyond the scope": (
        "sources:\n  system_performance:\n    collectors: [cpu, cgroup]\n    scope: {cgroups: [/shop]}\n",
        [
            "acme.yml:5",
            "collectors: cpu would tell of more than the scope names",
            "cgroup, process",
            "scope.host: true",
        ],
    ),
    "no series": (
        "sources:\n  system_performance:\n    max_series: 0\n",
        ["acme.yml:6: sources.system_performance.max_series = 0", "1 to 100,000 (series)"],
    ),
    "malformed": ("sources: [\n", ["acme.yml:5: is malformed YAML"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tenant_file_is_refused_with_place_key_and_remedy(project: Project, case: str) -> None:
    text, expected = BAD[case]
    project.write("config/tenants/acme.yml", ACME + text)
    found = load_tenants(project.settings())
    assert found.tenants == ()
    (problem,) = found.problems
    assert problem.startswith("config/tenants/acme.yml:")
    assert problem.endswith("; there is no good version of it yet")
    for part in expected:
        assert part in problem


BAD_ALERTS = [
    ("{kind: webhook, name: ops}", "needs a url"),
    ("{kind: log, name: ops, url: 'http://x'}", "has no url"),
    ("{kind: webhok, name: ops, url: 'http://x'}", "log, webhook"),
    ("{kind: webhook, name: 'o p', url: 'http://x'}", "lower-case letters"),
    ("{kind: webhook, name: ops, url: 'gopher://x'}", "https://host"),
    ("{kind: webhook, name: ops, url: 'file:relative'}", "https://host"),
    ("{kind: webhook, name: ops, url: 'env:A B'}", "https://host"),
    ("{kind: webhook, name: ops, url: 'http://'}", "https://host"),
    ("{kind: webhook, name: ops, url: 'http://x:99999'}", "https://host"),
    ("{kind: log, name: a}\n  - {kind: log, name: a}", "same name"),
    ("{kind: log}", "alerts[0].name is missing"),
    ("log", "alerts[0]"),
]


@pytest.mark.parametrize(("alert", "expected"), BAD_ALERTS)
def test_bad_alert_target_is_refused(project: Project, alert: str, expected: str) -> None:
    project.write("config/tenants/acme.yml", f"id: acme\nname: Acme\nalerts:\n  - {alert}\n")
    (problem,) = load_tenants(project.settings()).problems
    assert expected in problem
    assert "acme.yml:" in problem


@pytest.mark.parametrize(
    "url", ["http://me:canary-1@host:x", "canary-1", "https://host/ canary-1", "https://[canary-1", "canary-1://x"]
)
def test_refused_webhook_address_is_not_repeated(project: Project, url: str) -> None:
    project.write(
        "config/tenants/acme.yml",
        f"id: acme\nname: Acme\nalerts:\n  - {{kind: webhook, name: ops, url: '{url}'}}\n",
    )
    (problem,) = load_tenants(project.settings()).problems
    assert "acme.yml:4: alerts[0].url is refused" in problem
    assert "canary-1" not in problem


def test_id_must_equal_the_name_of_the_file(project: Project) -> None:
    project.write("config/tenants/bolt.yml", ACME)
    found = load_tenants(project.settings())
    assert found.tenants == ()
    assert "bolt.yml:1: id = 'acme' must equal the file's name, bolt" in found.problems[0]


@pytest.mark.parametrize("name", ["Acme.yml", "a'b.yml", "x;drop table.yml", "a" * 200 + ".yml", "é.yml", "a.b.yml"])
def test_file_with_a_dangerous_name_is_refused(project: Project, name: str) -> None:
    project.write(f"config/tenants/{name}", ACME)
    found = load_tenants(project.settings())
    assert found.tenants == ()
    assert "the file's name" in found.problems[0]


@pytest.mark.parametrize("name", [".acme.yml.swp", ".hidden.yml", "acme.yml~", "README.md", "acme.yml.bak"])
def test_editors_copies_and_notes_are_not_tenants(project: Project, name: str) -> None:
    project.write(f"config/tenants/{name}", "not: [a tenant")
    found = load_tenants(project.settings())
    assert (found.tenants, found.problems) == ((), ())


@pytest.mark.parametrize("name", ["acme.yaml", "acme.json", "acme"])
def test_file_that_looks_like_a_tenant_but_is_not_read_is_told(project: Project, name: str) -> None:
    project.write(f"config/tenants/{name}", ACME)
    assert (
        f"config/tenants/{name}: is not read: a tenant file is named <id>.yml"
        in load_tenants(project.settings()).problems[0]
    )


def test_directory_in_the_place_of_a_file_is_told(project: Project) -> None:
    (project.tenants / "acme.yml").mkdir()
    assert "acme.yml: cannot be read: Is a directory" in load_tenants(project.settings()).problems[0]


def test_bad_file_hides_no_other_tenant(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    project.write("config/tenants/bolt.yml", "id: [")
    project.write("config/tenants/cove.yml", "id: cove\nname: Cove\n")
    found = load_tenants(project.settings())
    assert found.ids() == ("acme", "cove")
    assert len(found.problems) == 1


def test_without_any_directory_there_are_no_tenants_and_a_problem(project: Project) -> None:
    project.tenants.rmdir()
    found = load_tenants(project.settings())
    assert found.tenants == ()
    assert "config/tenants: the directory cannot be listed" in found.problems[0]


def test_shipped_tenants_are_valid(project: Project) -> None:
    shipped = project.settings(config_dir="config", home=project.root / "home")
    found = load_tenants(shipped)
    assert found.problems == ()
    assert found.ids() == ("aurora", "borealis", "showcase")
    aurora, borealis, showcase = found.tenants
    assert (aurora.tier, borealis.tier) == (Tier.PREMIUM, Tier.STANDARD)
    assert set(borealis.system.collectors) < set(aurora.system.collectors)
    assert showcase.synthetic
    assert not showcase.system.enabled


def test_tenant_that_is_not_there_is_told_with_the_nearest(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    with pytest.raises(ConfigurationError, match="no tenant 'acne'; did you mean acme"):
        load_tenants(project.settings()).find("acne")


def _with_webhook(project: Project, url: str) -> None:
    project.write(
        "config/tenants/acme.yml",
        f"id: acme\nname: Acme\nalerts: [{{kind: log, name: log}}, {{kind: webhook, name: ops, url: '{url}'}}]\n",
    )


def test_webhook_address_is_read_from_variable_or_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HOOK", "https://a.example/1")
    _with_webhook(project, "env:ACME_HOOK")
    assert load_tenants(project.settings()).find("acme").alerts[1].url == "https://a.example/1"

    secret = project.write("secret", "https://b.example/2\n")
    _with_webhook(project, f"file:{secret}")
    assert load_tenants(project.settings()).find("acme").alerts[1].url == "https://b.example/2"


@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "file:/nowhere/secret"])
def test_webhook_without_its_address_is_left_out_and_told_but_the_tenant_is_served(
    project: Project, reference: str
) -> None:
    _with_webhook(project, reference)
    found = load_tenants(project.settings())
    assert [each.name for each in found.find("acme").alerts] == ["log"]
    (problem,) = found.problems
    assert "config/tenants/acme.yml: alert target ops is left out: " in problem


def test_address_behind_a_reference_is_not_repeated_when_it_is_none(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_HOOK", "canary-1")
    _with_webhook(project, "env:ACME_HOOK")
    (problem,) = load_tenants(project.settings()).problems
    assert "https://host" in problem
    assert "canary-1" not in problem


def test_webhook_address_is_shown_by_no_representation(project: Project) -> None:
    _with_webhook(project, "https://hooks.example/canary-1")
    found = load_tenants(project.settings())
    assert "canary-1" not in repr(found)
