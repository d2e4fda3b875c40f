"""Write the contract into the generated package, where the wrapper reads the server and the schemas."""

from typing import Any

from contract.document import operations, resolve

_KEPT = {"type", "properties", "required", "items", "enum", "nullable"}


def written(document: dict[str, Any]) -> str:
    """Return the source of `contract.py`: the server, and the JSON schemas of each operation's responses."""
    servers = document.get("servers") or [{"url": ""}]
    return "\n".join([
        '"""What the contract says that no model shows: its server, and the shape of each answer as JSON schema."""',
        "",
        "from typing import Any, Final",
        "",
        f"SERVER: Final[str] = {servers[0]['url']!r}",
        "",
        f"SCHEMAS: Final[dict[str, dict[str, Any]]] = {answers(document)!r}",
        "",
    ])  # fmt: skip


def answers(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each response, by operation and status."""
    schemas: dict[str, dict[str, Any]] = {}
    for path, method, operation in operations(document):
        for status, response in operation.get("responses", {}).items():
            answer, pointer = resolve(document, response, "")
            for media in (answer.get("content") or {}).values():
                if "schema" in media:
                    schemas.setdefault(f"{method.upper()} {path}", {})[status] = _shape(
                        document, media["schema"], pointer, ()
                    )
                break
    return schemas


def _shape(document: dict[str, Any], node: Any, pointer: str, above: tuple[int, ...]) -> dict[str, Any]:
    """Return a schema with its references resolved, without texts, examples and extensions."""
    node, pointer = resolve(document, node, pointer)
    if not isinstance(node, dict) or id(node) in above:
        return {}
    above = (*above, id(node))
    shape = {key: value for key, value in node.items() if key in _KEPT}
    if isinstance(node.get("properties"), dict):
        shape["properties"] = {
            name: _shape(document, child, pointer, above) for name, child in node["properties"].items()
        }
    if "items" in shape:
        shape["items"] = _shape(document, shape["items"], pointer, above)
    return shape
