"""Ask the generator which classes and modules it makes of a contract, before it writes them."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from openapi_python_client.config import ClassOverride, Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError
from openapi_python_client.parser.properties import EnumProperty
from openapi_python_client.strings import PythonIdentifier

from contract.document import ContractError, operations


@attrs.frozen
class Names:
    """The classes by module, the endpoint modules, and the vendor's labels by enum class."""

    classes: dict[str, str]
    endpoints: tuple[str, ...]
    labels: dict[str, dict[str, str]]


class _Overrides(dict[str, ClassOverride]):
    """Records which overrides the generator used."""

    def __init__(self, overrides: dict[str, ClassOverride]) -> None:
        super().__init__(overrides)
        self.unused = set(overrides)

    def get(self, key: str, default: Any = None) -> Any:
        self.unused.discard(key)
        return super().get(key, default)


@contextmanager
def _labels_recorded() -> Generator[dict[str, dict[str, str]]]:
    """Collect the labels of each enum, because the generator drops `x-apifox-enum`."""
    labels: dict[str, dict[str, str]] = {}
    original = EnumProperty.build

    def build(*, data: Any, **arguments: Any) -> Any:
        table = label_table((data.model_extra or {}).get("x-apifox-enum"))
        prop, schemas = original(data=data, **arguments)
        if isinstance(prop, EnumProperty):
            labels.setdefault(prop.class_info.name, {}).update(table)
        return prop, schemas

    EnumProperty.build = build  # type: ignore[method-assign]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield labels
    finally:
        EnumProperty.build = original  # type: ignore[method-assign]


def label_table(entries: Any) -> dict[str, str]:
    """Read `x-apifox-enum` as a table from value to label, without empty labels."""
    if not isinstance(entries, list):
        return {}
    named = ((e.get("value"), e.get("name")) for e in entries if isinstance(e, dict))
    return {str(value): name.strip() for value, name in named if isinstance(name, str) and name.strip()}


def names(document: dict[str, Any], config_path: Path) -> Names:
    """Return the names, and reject a contract that the generator would not take completely."""
    config = Config.from_sources(
        ConfigFile.load_from_path(config_path), MetaType.NONE, Path(), "utf-8", overwrite=False, output_path=None
    )
    overrides = _Overrides(config.class_overrides)
    config.class_overrides = overrides
    with _labels_recorded() as labels:
        try:
            data = GeneratorData.from_dict(document, config=config)
        except Exception as error:  # on invalid input the generator may raise any error
            raise ContractError(f"openapi.yaml: {' '.join(str(error).split())[:300]}") from error
    if isinstance(data, GeneratorError):
        raise ContractError(f"openapi.yaml: {_line(data)}")
    errors = [*data.errors, *(e for c in data.endpoint_collections_by_tag.values() for e in c.parse_errors)]
    if errors:
        raise ContractError(f"openapi.yaml: the generator would leave something out: {_line(errors[0])}")
    if overrides.unused:
        raise ContractError(f"generator.yaml: class_overrides: {min(overrides.unused)} matches no class")
    endpoints = tuple(
        f"{tag}/{PythonIdentifier(endpoint.name, config.field_prefix)}"
        for tag, collection in data.endpoint_collections_by_tag.items()
        for endpoint in collection.endpoints
    )
    wanted = sum(1 for _ in operations(document))
    if wanted != len(set(endpoints)):
        raise ContractError(f"openapi.yaml: {wanted} operations would become {len(set(endpoints))} modules")
    infos = [item.class_info for item in (*data.models, *data.enums)]
    classes = {str(info.module_name): str(info.name) for info in infos}
    if len(classes) != len(infos):
        raise ContractError("openapi.yaml: two models would share one module; name them in generator.yaml")
    return Names(classes, endpoints, labels)


def _line(error: GeneratorError) -> str:
    return " ".join(f"{error.header} {error.detail or ''}".split())[:500]
