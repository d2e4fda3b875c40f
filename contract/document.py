"""Read a contract: pages of the vendor's documentation, or plain OpenAPI documents."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import yaml  # type: ignore[import-untyped]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LARGEST_FILE = 8_000_000
# Aliases count as often as they are used.
MOST_VALUES = 1_000_000
DEEPEST = 150
MOST_REFERENCES = 20
# Of more lines than this that say the same of other places one is shown.
MOST_ALIKE = 10
# The kinds of the parts inside a part; a star means each of several.
INSIDE: Mapping[str, Mapping[str, str]] = {
    "document": {"components": "components", "paths": "*path"},
    "components": {
        "schemas": "*schema", "requestBodies": "*body", "responses": "*response", "parameters": "*parameter",
    },
    "path": {"parameters": "*parameter", **dict.fromkeys(METHODS, "operation")},
    "operation": {"parameters": "*parameter", "requestBody": "body", "responses": "*response"},
    "parameter": {"schema": "schema", "content": "*media"},
    "body": {"content": "*media"},
    "response": {"content": "*media"},
    "media": {"schema": "schema"},
    "schema": {
        "items": "schema", "additionalProperties": "schema", "properties": "*schema",
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), "*schema"),
    },
}  # fmt: skip
# Each holds several parts.
PARTS = {key for inside in INSIDE.values() for key, kind in inside.items() if kind.startswith("*")}

_FENCE = re.compile(
    r"^(?P<fence>`{3,}+|~{3,}+)[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)(?:^(?P=fence)[ \t]*$|(?P=fence)?\Z)",
    re.MULTILINE | re.DOTALL,
)


class ContractError(Exception):
    """A contract or a file beside it is invalid; the message is for the maintainer, a line for each trouble."""


@attrs.frozen
class Page:
    """One OpenAPI document of the vendor's: the name of its file, its text with LF line ends, and what it says."""

    name: str
    text: str
    document: dict[str, Any]

    @property
    def file(self) -> str:
        """Return the name of a file of its own for this page."""
        name = "-".join(re.findall(r"[\w.-]+", Path(self.name).name)).removesuffix(".md")
        return name if name.endswith((".json", ".yaml", ".yml")) else f"{name}.yaml"


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]
    """Reads YAML 1.2, where `on` and `no` are text."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012


class _Dumper(yaml.CSafeDumper):  # type: ignore[misc]
    """Writes in quotes what readers of YAML 1.1 or 1.2 would not take for text."""


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 16 if text.startswith("0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _int)


def read(path: Path) -> list[Page]:
    """Read the OpenAPI documents of a file: each yaml block of a Markdown page, or a plain document."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ContractError(f"{path}: is larger than {LARGEST_FILE // 1_000_000} MB")
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractError(f"{path}: not UTF-8 (byte {error.start})") from error
    blocks = _yaml_blocks(text)
    names = [str(path)] if len(blocks) == 1 else [f"{path} (block {n})" for n in range(1, len(blocks) + 1)]
    return [Page(name, block, _openapi(block, name)) for name, block in zip(names, blocks, strict=True)]


def read_contract(path: Path) -> dict[str, Any]:
    """Read a file with one OpenAPI document."""
    pages = read(path)
    if len(pages) > 1:
        raise ContractError(f"{path}: has {len(pages)} contracts, and one is expected")
    return pages[0].document


def _yaml_blocks(text: str) -> list[str]:
    """Return the fenced blocks of a Markdown page that have a contract, or else the text itself."""
    if re.match(r"\s*(\{|openapi:|swagger:)", text):
        return [text]
    blocks = [(m["language"].lower(), m["body"]) for m in _FENCE.finditer(text)]
    named = [body for language, body in blocks if language in {"yaml", "yml", "json"}]
    unnamed = [body for language, body in blocks if not language]
    # An example beside the contract is not a second contract.
    is_contract = re.compile(r"""^\s*\{?\s*["']?(openapi|swagger)["']?\s*:""", re.MULTILINE)
    for found in (named, unnamed):
        if contracts := [body for body in found if is_contract.search(body)]:
            return contracts
    return named[:1] or [text]


def _openapi(text: str, name: str) -> dict[str, Any]:
    document = parse(text, name)
    if "swagger" in document:
        raise ContractError(f"{name}: Swagger {document['swagger']} is not supported; OpenAPI 3.0 or 3.1 is")
    if "openapi" not in document:
        raise ContractError(f"{name}: holds no OpenAPI document")
    if not re.fullmatch(r"3\.[01](\.\S*)?", str(document["openapi"])):
        raise ContractError(f"{name}: OpenAPI {document['openapi']} is not supported; 3.0 and 3.1 are")
    return document


@lru_cache(maxsize=16)
def parse(text: str, name: str) -> dict[str, Any]:
    """Parse YAML or JSON into a mapping of plain JSON values of bounded size, which nobody may change."""
    try:
        if max(map(text.count, ",\n")) > MOST_VALUES:  # to parse so many takes too long
            raise ContractError(f"{name}: holds more than {MOST_VALUES:,} values")
        loaded = json.loads(text) if text.lstrip().startswith("{") else _load(text)
        _measure(loaded, name, {}, 0)
        plain = json.dumps(loaded, ensure_ascii=False, allow_nan=False, default=str)
        plain.encode()
        document = json.loads(plain)
    except yaml.YAMLError as error:
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise ContractError(f"{name}: not YAML: {problem}" + ("" if line is None else f" (line {line + 1})")) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ContractError(f"{name}: not YAML or JSON: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(document, dict):
        raise ContractError(f"{name}: holds no mapping")
    return document


def _load(text: str) -> Any:
    """Load YAML, and reject a key that stands twice in a mapping, since one of its values would be lost."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        left, seen = [root], set[int]()
        while left:
            node = left.pop()
            if id(node) in seen or not isinstance(node, yaml.CollectionNode):
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                left += [value for _, value in node.value]
                _reject_same_keys(node)
            else:
                left += node.value
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _reject_same_keys(node: Any) -> None:
    known: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
            continue
        if key.value in known:
            raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
        known.add(key.value)


def dump(document: dict[str, Any]) -> str:
    """Return a document as YAML, which `parse` reads as the same values."""
    # A copy holds no value twice, so that no alias is written.
    text: str = yaml.dump(copied(document), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10_000)
    return text


def _measure(value: Any, name: str, known: dict[int, int], depth: int) -> int:
    """Return how many values a value has with its aliases written out, and reject too many."""
    if not isinstance(value, dict | list):
        return 1
    if depth > DEEPEST:
        raise ContractError(f"{name}: is nested deeper than {DEEPEST}")
    if id(value) not in known:
        children = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_measure(child, name, known, depth + 1) for child in children)
        if known[id(value)] > MOST_VALUES:
            raise ContractError(f"{name}: holds more than {MOST_VALUES:,} values")
    return known[id(value)]


def addresses(document: Mapping[str, Any]) -> list[str]:
    """Return the addresses of the servers that have a host, with the defaults of their variables."""
    found: list[str] = []
    for _, server in entries(document.get("servers")):
        url = str(mapping(server).get("url") or "")
        for name, variable in entries(mapping(server).get("variables")):
            url = url.replace(f"{{{name}}}", str(mapping(variable).get("default", "")))
        with suppress(ValueError):
            found += [url] if urlsplit(url).netloc else []
    return found


def condensed(lines: Iterable[str]) -> list[str]:
    """Return lines that each name a place, of which those that say one thing in many places are one."""
    places: dict[str, list[str]] = {}
    for line in lines:
        places.setdefault(f"{line.partition('/')[0]}{line.partition(': ')[2]}", []).append(line)
    return [
        line
        for same in places.values()
        for line in (same if len(same) <= MOST_ALIKE else [f"{same[0]} (and in {len(same) - 1} more places)"])
    ]


def copied(document: dict[str, Any]) -> dict[str, Any]:
    """Return a deep copy of JSON values, faster than `copy.deepcopy` makes one."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    return copy


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the operation object of every operation, in the order of the document."""
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        real = followed(document, item)
        for method in METHODS:
            if isinstance(real.get(method), dict):
                yield path, method, real[method]


def escape(token: object) -> str:
    """Write one name as a segment of a JSON pointer (RFC 6901)."""
    return str(token).replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """Read one segment of a JSON pointer."""
    return token.replace("~1", "/").replace("~0", "~")


def place(path: str, method: str) -> str:
    """Return the JSON pointer of an operation."""
    return f"/paths/{escape(path)}/{method}"


def operation_name(operation: Mapping[str, Any]) -> str | None:
    """Return the name that the generator makes a function of, which has to be ASCII."""
    given = str(operation.get("operationId") or "")
    return given if given.isascii() and re.search(r"[A-Za-z]", given) else None


def in_braces(path: str) -> list[str]:
    """Return the names that a path has in braces, each once."""
    return list(dict.fromkeys(re.findall(r"\{([^{}]+)\}", path)))


def path_key(path: str, names: Iterable[str] = ()) -> tuple[str, frozenset[str]]:
    """Return a path without the names of its parameters, which the generator changes, and those names as they were."""
    return re.sub(r"\{[^{}]*\}", "{}", path), frozenset(names or in_braces(path))


def resolve(document: Mapping[str, Any], node: Any, pointer: str) -> tuple[Any, str]:
    """Follow `$ref` to its target, and return the target and its JSON pointer."""
    given, seen = pointer, set[str]()
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        found = lookup(document, reference)
        if found is None or reference in seen:
            raise ContractError(f"{given}/$ref: {reference!r} leads nowhere")
        seen.add(reference)
        node, pointer = found[0], reference[1:]
    return node, pointer


def followed(document: Mapping[str, Any], node: Any) -> dict[str, Any]:
    """Return the mapping that a node is or refers to, or else an empty one."""
    with suppress(ContractError):
        return mapping(resolve(document, node, "")[0])
    return {}


def lookup(document: Mapping[str, Any], reference: str, through: int = 0) -> tuple[Any] | None:
    """Return the value that a reference names, be it behind so many others, alone in a tuple, or None."""
    if not reference.startswith("#/") or through > MOST_REFERENCES:
        return None
    value: Any = document
    for token in reference[2:].split("/"):
        name = unescape(token)
        if isinstance(value, dict) and name not in value and isinstance(value.get("$ref"), str):
            found = lookup(document, value["$ref"], through + 1)
            value = found[0] if found else None
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return None
    return (value,)


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def entries(parts: Any) -> list[tuple[Any, Any]]:
    """Return the names or numbers of a mapping's or a list's values, with the values."""
    if isinstance(parts, dict):
        return list(parts.items())
    return list(enumerate(parts)) if isinstance(parts, list) else []


def walk(
    node: Any, kind: str = "document", pointer: str = "", *, schemas: bool = True
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the kind, the node and the JSON pointer of a part and of those inside it, without schemas if it is said so.

    A part comes before those inside it, which may still change.
    """
    left = [(kind, node, pointer)]
    while left:
        kind, node, pointer = left.pop()
        if not isinstance(node, dict) or (kind == "schema" and not schemas):
            continue
        yield kind, node, pointer
        inside: list[tuple[str, Any, str]] = []
        for key, inner in INSIDE[kind].items() if "$ref" not in node else ():
            if key not in node:
                continue
            if inner.startswith("*"):
                inside += [(inner[1:], part, f"{pointer}/{key}/{escape(name)}") for name, part in entries(node[key])]
            else:
                inside.append((inner, node[key], f"{pointer}/{key}"))
        left += reversed(inside)
