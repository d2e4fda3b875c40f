"""Ask the generator which classes and modules it makes of a contract, before it writes them."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
from openapi_python_client.config import ClassOverride, Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData, openapi
from openapi_python_client.parser.openapi import Endpoint
from openapi_python_client.parser.properties import EnumProperty, Property
from openapi_python_client.schema.untrusted_string import UntrustedString

from contract.dialect import translate
from contract.document import ContractError
from contract.overlay import left_out, named, overlay_of
from contract.schemas import label_table
from contract.validate import fit, modules, names_itself, properties, validate

# What the generated code calls by these names: inside a function that takes parameters, and inside a model.
_IN_FUNCTIONS = {"asyncio_detailed", "body", "cookies", "headers", "params", "quote", "sync_detailed"}
_IN_MODELS = {
    "additional_keys", "additional_properties", "cast", "cls", "d", "field_dict", "from_dict", "isoparse", "prop", "prop_name",
    "to_dict", "to_multipart",
}  # fmt: skip


class _Overrides(dict[str, ClassOverride]):
    """Records which overrides the generator used."""

    def __init__(self, overrides: dict[str, ClassOverride]) -> None:
        super().__init__(overrides)
        self.unused = set(overrides)

    def get(self, key: str, default: Any = None) -> Any:
        self.unused.discard(key)
        return super().get(key, default)


@attrs.frozen
class Plan:
    """What the generator will make: of which document, by which settings, with which labels, and what there is to say."""

    document: dict[str, Any]
    config: Config
    data: GeneratorData
    labels: dict[str, dict[str, str]]
    notes: list[str]

    def modules(self) -> dict[tuple[str, str, frozenset[str]], tuple[str, Endpoint]]:
        """Return the module and the generator's description of each operation, by method and the key of its path."""
        return {key: (module, endpoint) for key, module, endpoint in modules(self.data, self.config)}

    def fields(self) -> dict[str, dict[str, Property]]:
        """Return the generator's description of each field, by the class of the model and the field's name in JSON."""
        return {
            str(model.class_info.name): {prop.name.get_untrusted_value(): prop for prop in properties(model)}
            for model in self.data.models
        }


def settings(root: Path) -> Config:
    """Read generator.yaml."""
    try:
        file = ConfigFile.load_from_path(root / "generator.yaml")
    except Exception as error:  # a file that the generator cannot read may raise any error
        raise ContractError(f"generator.yaml: {' '.join(str(error).split())[:300]}") from error
    return Config.from_sources(file, MetaType.NONE, Path(), "utf-8", overwrite=True, output_path=None)


def plan(root: Path, document: dict[str, Any], name: str = "openapi.yaml") -> Plan:
    """Take a contract through dialect, overlay and validation.

    Raises:
        ContractError: the generator would not take it completely.
    """
    config = settings(root)
    contract, notes = translate(document, config.content_type_overrides)
    changed = named(contract, overlay_of(root))
    notes += left_out(contract, changed)
    notes += fit(changed, config)
    overrides = _Overrides(config.class_overrides)
    config.class_overrides = overrides
    data, labels = _described(changed, config)
    if isinstance(data, GeneratorData):
        if shadowed := {str(model.class_info.name) for model in data.models if names_itself(model)} - overrides.keys():
            overrides.update({name: ClassOverride(module_name=f"{name}_module") for name in shadowed})
            data, labels = _described(changed, config)
        _rename(data, config)
    data = validate(changed, data, config, name)
    if overrides.unused:
        raise ContractError(f"generator.yaml: class_overrides: {min(overrides.unused)} matches no class")
    return Plan(changed, config, data, labels, notes)


def _rename(data: GeneratorData, config: Config) -> None:
    """Rename what the generated code calls by names of its own, as the generator does it with `client` and `url`."""
    # Chinese has no capitals by which a class differs from a variable.
    classes = {str(item.class_info.name) for item in (*data.models, *data.enums)}
    fields: list[Any] = [prop for model in data.models for prop in properties(model)]
    in_models, in_functions = _IN_MODELS | classes, _IN_FUNCTIONS | classes
    names = [(prop, f"{config.field_prefix}{prop.python_name}") for prop in fields if prop.python_name in in_models]
    for _, _, endpoint in modules(data, config):
        found = [(prop, where) for where, prop in endpoint.iter_all_parameters() if prop.python_name in in_functions]
        names += [(prop, f"{prop.python_name}_{where}") for prop, where in found]
    for prop, name in names:
        prop.set_python_name(new_name=UntrustedString(name), config=config)


def _described(document: dict[str, Any], config: Config) -> tuple[Any, dict[str, dict[str, str]]]:
    """Return what the generator makes of a document or its error, and the labels of each enum, which it drops."""
    labels: dict[str, dict[str, str]] = {}
    original = EnumProperty.build

    def build(*, data: Any, **arguments: Any) -> Any:
        table = label_table((data.model_extra or {}).get("x-apifox-enum"))
        prop, known = original(data=data, **arguments)
        if isinstance(prop, EnumProperty):
            values = {str(value) for value in data.enum or ()}
            found = {value: label for value, label in table.items() if value in values}
            labels.setdefault(str(prop.class_info.name), {}).update(found)
        return prop, known

    # The generator copies all models that an operation can reach, once for each operation, and drops the originals.
    with patch.object(EnumProperty, "build", build), patch.object(openapi, "deepcopy", copy):
        try:
            return GeneratorData.from_dict(document, config=config), labels
        except Exception as error:  # on invalid input the generator may raise any error
            return error, labels
