"""Read a contract: a page of the vendor's documentation, or a plain OpenAPI document."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)(?:^(?P=fence)[ \t]*$|(?P=fence)?\Z)",
    re.MULTILINE | re.DOTALL,
)


class ContractError(Exception):
    """A contract or a file beside it is invalid; the message is one line for the maintainer."""


def read(path: Path) -> tuple[dict[str, Any], str]:
    """Read a file, and return its OpenAPI document and the text of it with LF line ends."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractError(f"{path}: not UTF-8 (byte {error.start})") from error
    text = text.replace("\r\n", "\n")
    block = _yaml_block(text, path)
    document = parse(text if block is None else block, path)
    return document, text if block is None else block


def read_valid(path: Path) -> tuple[dict[str, Any], str]:
    """Read a file as `read` does, and reject an invalid OpenAPI 3.0 or 3.1 document."""
    document, text = read(path)
    if "swagger" in document:
        raise ContractError(f"{path}: Swagger {document['swagger']} is not supported; OpenAPI 3.0 or 3.1 is")
    if not re.match(r"3\.[01]\.", str(document["openapi"])):
        raise ContractError(f"{path}: OpenAPI {document['openapi']} is not supported; 3.0 and 3.1 are")
    from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator  # noqa: PLC0415  (expensive to import)

    kind = OpenAPIV30SpecValidator if str(document["openapi"]).startswith("3.0") else OpenAPIV31SpecValidator
    try:
        error = next(iter(kind(document).iter_errors()), None)
    except Exception as broken:  # a reference without a target raises one of a dozen types
        raise ContractError(f"{path}: not valid: {' '.join(str(broken).split())[:300]}") from broken
    if error is not None:
        place = "".join(f"/{escape(str(part))}" for part in error.absolute_path)
        raise ContractError(f"{path}: not valid: {place or '/'}: {' '.join(error.message.split())[:300]}")
    return document, text


def _yaml_block(text: str, path: Path) -> str | None:
    """Return the fenced block of a Markdown page that has the contract, or None for a plain document."""
    blocks = [m["body"] for m in _FENCE.finditer(text) if m["language"].lower() in {"yaml", "yml", "json"}]
    if not blocks or re.match(r"\s*(\{|openapi:|swagger:)", text):
        return None
    # An example beside the contract is not a second contract.
    blocks = [
        block for block in blocks if re.search(r"""^\s*["']?(openapi|swagger)["']?\s*:""", block, re.MULTILINE)
    ] or blocks
    if len(blocks) > 1:
        raise ContractError(f"{path}: has {len(blocks)} fenced yaml blocks, and one is expected")
    return blocks[0]


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse YAML or JSON into a document of plain JSON values."""
    document = _plain(text, path)
    if not ("openapi" in document or "swagger" in document):
        raise ContractError(f"{path}: holds no OpenAPI document")
    return document


def parse_mapping(path: Path) -> dict[str, Any]:
    """Read one of the project's own YAML files."""
    return _plain(path.read_text(encoding="utf-8"), path)


def _plain(text: str, path: Path) -> dict[str, Any]:
    loader = YAML(typ="safe", pure=True)
    try:
        loaded = json.loads(text) if text.lstrip().startswith("{") else loader.load(text)
        document = json.loads(json.dumps(loaded, ensure_ascii=False, default=str))
    except YAMLError as error:
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise ContractError(f"{path}: not YAML: {problem}" + ("" if line is None else f" (line {line + 1})")) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ContractError(f"{path}: not YAML or JSON: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ContractError(f"{path}: holds no mapping")
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the operation object of every operation, in the order of the document."""
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def escape(token: str) -> str:
    """Write one name as a segment of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def resolve(document: dict[str, Any], node: Any, pointer: str) -> tuple[Any, str]:
    """Follow `$ref` to its target, and return the target and its JSON pointer."""
    seen = set()
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        if not reference.startswith("#/") or reference in seen:
            raise ContractError(f"{pointer}: $ref {reference!r} leads nowhere")
        seen.add(reference)
        target: Any = document
        for token in reference[2:].split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdigit() and int(name) < len(target):
                target = target[int(name)]
            elif isinstance(target, dict) and name in target:
                target = target[name]
            else:
                raise ContractError(f"{pointer}: $ref {reference!r} leads nowhere")
        node, pointer = target, reference[1:]
    return node, pointer
