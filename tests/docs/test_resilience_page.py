"""The page about resilience says what the code does: metrics, and what is known of services."""

from collectors_dagster.config.fields import is_section
from collectors_dagster.config.policy_sections import BUILT_IN, ServiceName, ServiceOverrides
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.patterns.metrics import FAMILIES

PAGE = (PROJECT_ROOT / "docs" / "resilience.md").read_text(encoding="utf-8")


def test_every_metric_stands_in_the_table_with_its_labels_and_meaning() -> None:
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
        assert f"| `{family.name}` | {labels} | {family.help} |" in PAGE


def test_what_is_known_of_services_stands_in_the_table() -> None:
    for service, own in BUILT_IN.items():
        assert f"| `{service}` | {', '.join(_differences(service, own))} |" in PAGE


def _differences(service: ServiceName, own: ServiceOverrides) -> list[str]:
    found = []
    for name in type(own).model_fields:
        value = getattr(own, name)
        if is_section(type(value)):
            found += [
                f"`{name}.{key}` {getattr(value, key):g}"
                for key in type(value).model_fields
                if key in value.model_fields_set
            ]
        elif name in own.model_fields_set:
            found.append(f"`{name}` {value:g}")
    return found
