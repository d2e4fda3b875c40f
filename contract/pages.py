"""Merge the vendor's pages into one contract."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from contract.document import ContractError, escape, read_valid

Sources = dict[str, Path]


def merge(current: Path, pages: Sequence[Path], *, only: bool) -> str:
    """Return the text of the current contract with the pages merged into it.

    The paths of the pages are replaced and the others stay; with `only` no other path stays. A single page that is the
    whole contract is taken unchanged.

    Raises:
        ContractError: a page cannot be read, is not valid, or contradicts another.
    """
    read = [(path, *read_valid(path)) for path in pages]
    for path, document, _ in read:
        if not document.get("paths"):
            raise ContractError(f"{path}: /paths: has no operation")
    old = {} if only or not current.exists() else read_valid(current)[0]
    kept = {
        path: item for path, item in old.get("paths", {}).items() if not any(path in d["paths"] for _, d, _ in read)
    }
    if len(read) == 1 and not kept:
        text = read[0][2]
        return text if text.endswith("\n") else text + "\n"
    merged: dict[str, Any] = {}
    sources: Sources = {}
    for path, document, _ in read:
        _add(merged, document, path, sources)
    if kept and old["openapi"].split(".")[:2] != merged["openapi"].split(".")[:2]:
        raise ContractError(
            f"{pages[0]}: is OpenAPI {merged['openapi']}, and the paths that stay are {old['openapi']}; --only replaces all"
        )
    merged["paths"] = {**_in_old_order(old, merged["paths"]), **kept} if kept else merged["paths"]
    if kept:
        _keep_components(merged, old)
        for key in ("servers", "security"):
            if key in old:
                merged.setdefault(key, old[key])
    return _dump(merged)


def _in_old_order(old: Mapping[str, Any], paths: Mapping[str, Any]) -> dict[str, Any]:
    known = {path: paths[path] for path in old.get("paths", {}) if path in paths}
    return {**known, **paths}


def _keep_components(merged: dict[str, Any], old: Mapping[str, Any]) -> None:
    components = merged.setdefault("components", {})
    for section, entries in old.get("components", {}).items():
        components[section] = {**entries, **components.get(section, {})}
    names = {tag["name"] for tag in merged.get("tags", [])}
    tags = [*merged.get("tags", []), *(tag for tag in old.get("tags", []) if tag["name"] not in names)]
    if tags:
        merged["tags"] = tags


def _add(merged: dict[str, Any], document: Mapping[str, Any], path: Path, sources: Sources) -> None:
    for key, value in document.items():
        if key == "paths":
            for name, item in value.items():
                target = merged.setdefault("paths", {}).setdefault(name, {})
                _agree(target, item, f"/paths/{escape(name)}", path, sources)
        elif key == "components":
            for section, entries in value.items():
                target = merged.setdefault("components", {}).setdefault(section, {})
                _agree(target, entries, f"/components/{escape(section)}", path, sources)
        elif key == "tags":
            by_name = {tag["name"]: tag for tag in merged.get("tags", [])}
            _agree(by_name, {tag["name"]: tag for tag in value}, "/tags", path, sources)
            merged["tags"] = list(by_name.values())
        elif key == "info":
            merged.setdefault("info", value)
        else:
            _agree(merged, {key: value}, "", path, sources)


def _agree(target: dict[str, Any], entries: Mapping[str, Any], pointer: str, path: Path, sources: Sources) -> None:
    """Add new entries, and reject one that differs from the same entry of another page."""
    for name, value in entries.items():
        at = f"{pointer}/{escape(name)}"
        if name in target and target[name] != value:
            inner = _first_difference(target[name], value, at)
            raise ContractError(f"{sources[at]} and {path} contradict each other at {inner}")
        target.setdefault(name, value)
        sources.setdefault(at, path)


def _first_difference(one: Any, two: Any, pointer: str) -> str:
    if isinstance(one, dict) and isinstance(two, dict):
        key = next(key for key in {**one, **two} if key not in one or key not in two or one[key] != two[key])
        return _first_difference(one.get(key), two.get(key), f"{pointer}/{escape(key)}")
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        number = next(number for number, (first, second) in enumerate(zip(one, two, strict=True)) if first != second)
        return _first_difference(one[number], two[number], f"{pointer}/{number}")
    return pointer


def _dump(document: Mapping[str, Any]) -> str:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 10_000
    order = ("openapi", "info", "tags", "paths", "components", "servers", "security")
    known = {key: document[key] for key in order if key in document}
    stream = io.StringIO()
    writer.dump({**known, **document}, stream)
    return stream.getvalue()
