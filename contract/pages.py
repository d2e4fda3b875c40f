"""Make one contract of the vendor's pages and the contract before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from contract.dialect import translate
from contract.diff import changes
from contract.document import (
    ContractError,
    Page,
    addresses,
    copied,
    dump,
    entries,
    escape,
    mapping,
    operations,
    path_key,
    read,
    read_contract,
)
from contract.facts import Part, of_document
from contract.join import Join
from contract.overlay import overlay_of, updated

_ORDER = ("openapi", "info", "tags", "paths", "components", "servers", "security")


@attrs.frozen
class Merged:
    """A contract and its text, the lines of the report about how it was made, and its pages if there are several."""

    document: dict[str, Any]
    text: str
    lines: list[str]
    pages: list[Page]


def merge(current: Path, files: Sequence[Path], *, only: bool) -> Merged:
    """Merge pages into the current contract: their paths replace its own, and its others stay unless `only` is set.

    A single page that is the whole contract is taken unchanged.

    Raises:
        ContractError: a page cannot be read, belongs to another host, or contradicts another page.
    """
    pages = [page for file in files for page in read(file)]
    old = read_contract(current) if current.exists() else {}
    for page in pages:
        if not any(True for _ in operations(page.document)):
            raise ContractError(f"{page.name}: /paths: has no operation")
        there = _host(page.document)
        if there and old.get("servers") and not only and there != _host(old):
            said = f"is of {there}, and the contract of {_host(old)}; --only replaces all"
            raise ContractError(f"{page.name}: /servers: {said}")
    lines: list[str] = []
    merged = join(pages, lines, overlay_of(current.parent))
    kept = {} if only else {p: item for p, item in old.get("paths", {}).items() if p not in merged["paths"]}
    new = {path_key(path)[0]: path for path in merged["paths"]}
    for path in kept:
        if same := new.get(path_key(path)[0]):
            said = f"is {same} with other names for its parameters, and stays beside it"
            lines.append(f"REVIEW /paths/{escape(path)}: {said}")
    servers = merged.get("servers")
    if not addresses(merged) and old.get("servers"):
        lines += ["NOTE   /servers: no address has a host, so the contract's servers stay"] if servers else []
        servers = old["servers"]
    if len(pages) == 1 and not kept and merged.get("servers") == servers:
        return Merged(pages[0].document, pages[0].text.removesuffix("\n") + "\n", lines, [])
    if servers:
        merged["servers"] = servers
    if kept:
        _keep(merged, old, kept)
        pages = pages if (current.parent / "pages").is_dir() else [*read(current), *pages]
    return Merged(merged, _dump(merged), lines, pages)


def join(pages: Sequence[Page], lines: list[str], overlay: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return one document of several pages, and add a REVIEW line for each difference.

    Raises:
        ContractError: the pages contradict each other where no action of the overlay says what shall be.
    """
    first, *others = pages
    merged, names, troubles = copied(first.document), first.name, list[str]()
    for page in others:
        work = Join(names, page.name, (merged, page.document), lines, updated(merged, overlay or {}), troubles)
        old, new = ([mapping(d.get(key)) for key in ("paths", "components")] for d in work.documents)
        merged["paths"] = work.parts("path", old[0], new[0], "/paths")
        merged["components"] = work.part("components", old[1], new[1], "/components")
        if _host(merged) and _host(page.document) and _host(merged) != _host(page.document):
            work.contradict("/servers")
        servers: list[Any] = [d.get("servers") if addresses(d) else [] for d in work.documents]
        if all(servers) and _url(merged) != _url(page.document):
            work.review("/servers", f"{_url(merged)} is taken")
        merged["servers"] = servers[0] or servers[1] or merged.get("servers")
        merged["tags"] = _tags(merged, page.document)
        merged["openapi"] = max(str(merged["openapi"]), str(page.document["openapi"]))
    if troubles:
        raise ContractError("\n".join(dict.fromkeys(troubles)))
    return merged


def readable(path: Path) -> Part:
    """Return what a file says, its pages joined, in OpenAPI's own words."""
    try:
        whole = of_document(translate(join(read(path), []))[0])
        changes(whole, whole)  # reads all of it
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(f"{path}: is not OpenAPI: {type(error).__name__}: {error}") from error
    return whole


def _host(document: Mapping[str, Any]) -> str:
    return urlsplit(_url(document)).netloc


def _url(document: Mapping[str, Any]) -> str:
    return next(iter(addresses(document)), "").rstrip("/")


def _tags(*documents: Mapping[str, Any]) -> list[Any]:
    tags = [tag for document in documents for _, tag in entries(document.get("tags")) if isinstance(tag, dict)]
    return list({str(tag.get("name")): tag for tag in reversed(tags)}.values())[::-1]


def _keep(merged: dict[str, Any], old: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Add the paths that stay, and what they may refer to."""
    known = {path: merged["paths"][path] for path in old.get("paths", {}) if path in merged["paths"]}
    merged["paths"] = {**known, **merged["paths"], **kept}
    components = dict(merged.get("components") or {})
    for section, named in (old.get("components") or {}).items():
        components[section] = {**(named or {}), **(components.get(section) or {})}
    merged["components"] = components
    merged["tags"] = _tags(merged, old)
    if "security" in old:
        merged.setdefault("security", old["security"])


def _dump(document: Mapping[str, Any]) -> str:
    known = {key: document[key] for key in _ORDER if key in document and (key != "tags" or document[key])}
    rest = {key: value for key, value in document.items() if key not in _ORDER}
    return dump({**known, **rest})
