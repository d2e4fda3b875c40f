"""Read a contract: pages of the vendor's documentation, or plain OpenAPI documents."""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import yaml  # type: ignore[import-untyped]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LARGEST_FILE = 8_000_000
# Aliases count as often as they are used.
MOST_VALUES = 1_000_000
DEEPEST = 150

_FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)(?:^(?P=fence)[ \t]*$|(?P=fence)?\Z)",
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
    """Writes a value as often as it is used, and in quotes what readers of YAML 1.1 or 1.2 would not take for text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


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
    blocks = [m["body"] for m in _FENCE.finditer(text) if m["language"].lower() in {"yaml", "yml", "json"}]
    # An example beside the contract is not a second contract.
    contracts = [b for b in blocks if re.search(r"""^\s*["']?(openapi|swagger)["']?\s*:""", b, re.MULTILINE)]
    return contracts or blocks[:1] or [text]


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
        loaded = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_Loader)  # noqa: S506
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


def dump(document: dict[str, Any]) -> str:
    """Return a document as YAML, which `parse` reads as the same values."""
    text: str = yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10_000)
    return text


def _measure(value: Any, name: str, known: dict[int, int], depth: int) -> int:
    """Return how many values a value has with its aliases written out, and reject too many."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in known:
        size = known[id(value)]
        if size == 0:
            raise ContractError(f"{name}: not YAML or JSON: an alias leads back to itself")
        return size
    if depth > DEEPEST:
        raise ContractError(f"{name}: is nested deeper than {DEEPEST}")
    known[id(value)] = 0
    children = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_measure(child, name, known, depth + 1) for child in children)
    if size > MOST_VALUES:
        raise ContractError(f"{name}: holds more than {MOST_VALUES:,} values")
    known[id(value)] = size
    return size


def copied(document: dict[str, Any]) -> dict[str, Any]:
    """Return a deep copy of JSON values, faster than `copy.deepcopy` makes one."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    return copy


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the operation object of every operation, in the order of the document."""
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        for method in METHODS:
            if isinstance(item, dict) and isinstance(item.get(method), dict):
                yield path, method, item[method]


def escape(token: object) -> str:
    """Write one name as a segment of a JSON pointer (RFC 6901)."""
    return str(token).replace("~", "~0").replace("/", "~1")


def place(path: str, method: str) -> str:
    """Return the JSON pointer of an operation."""
    return f"/paths/{escape(path)}/{method}"


def unnamed_path(path: str) -> str:
    """Return a path without the names of its parameters, which the generator changes."""
    return re.sub(r"\{[^{}]*\}", "{}", path)


def target(path: str, method: str) -> str:
    """Return the JSONPath of an operation, for overlay.yaml."""
    return f"$.paths['{path}'].{method}"


def resolve(document: dict[str, Any], node: Any, pointer: str) -> tuple[Any, str]:
    """Follow `$ref` to its target, and return the target and its JSON pointer."""
    seen: set[str] = set()
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        found = lookup(document, reference)
        if found is None or reference in seen:
            raise ContractError(f"{pointer}: $ref {reference!r} leads nowhere")
        seen.add(reference)
        node, pointer = found[0], reference[1:]
    return node, pointer


def lookup(document: dict[str, Any], reference: str) -> tuple[Any] | None:
    """Return the value that a reference names, alone in a tuple, or None."""
    if not reference.startswith("#/"):
        return None
    value: Any = document
    for token in reference[2:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return None
    return (value,)


def schemas(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every schema of a document with its JSON pointer, before the schemas inside it."""
    components = document.get("components") or {}
    for name, schema in (components.get("schemas") or {}).items():
        yield from schemas_in(schema, f"/components/schemas/{escape(name)}")
    for section in ("parameters", "requestBodies", "responses"):
        for name, holder in (components.get(section) or {}).items():
            yield from _schemas_of(holder, f"/components/{section}/{escape(name)}")
    for path, item in (document.get("paths") or {}).items():
        shared = f"/paths/{escape(path)}"
        yield from _schemas_of_all(item.get("parameters"), f"{shared}/parameters")
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                yield from _schemas_of_all(operation.get("parameters"), f"{shared}/{method}/parameters")
                yield from _schemas_of(operation.get("requestBody"), f"{shared}/{method}/requestBody")
                for status, answer in (operation.get("responses") or {}).items():
                    yield from _schemas_of(answer, f"{shared}/{method}/responses/{escape(status)}")


def _schemas_of_all(holders: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    for number, holder in enumerate(holders or []):
        yield from _schemas_of(holder, f"{pointer}/{number}")


def _schemas_of(holder: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the schemas of a parameter, a request body or a response."""
    if isinstance(holder, dict) and "$ref" not in holder:
        yield from schemas_in(holder.get("schema"), f"{pointer}/schema")
        for media, content in (holder.get("content") or {}).items():
            if isinstance(content, dict):
                yield from schemas_in(content.get("schema"), f"{pointer}/content/{escape(media)}/schema")


def schemas_in(schema: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield a schema and those inside it, each with its pointer."""
    if isinstance(schema, dict):
        yield schema, pointer
        for key in ("items", "additionalProperties"):
            yield from schemas_in(schema.get(key), f"{pointer}/{key}")
        for key in ("allOf", "anyOf", "oneOf", "prefixItems"):
            for number, child in enumerate(schema.get(key) or []):
                yield from schemas_in(child, f"{pointer}/{key}/{number}")
        for name, child in (schema.get("properties") or {}).items():
            yield from schemas_in(child, f"{pointer}/properties/{escape(name)}")
