"""Write the contract into the generated package, where the wrapper reads the server and the schemas."""

from typing import Any

from contract.document import operations, resolve

_KEPT = {"type", "properties", "required", "items", "enum", "nullable"}


class _Name(str):
    """A name that stands in Python source without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def written(document: dict[str, Any]) -> str:
    """Return the source of `contract.py`: the server, and the JSON schemas of each operation's responses."""
    servers = document.get("servers") or [{"url": ""}]
    schemas, components = answers(document)
    return "\n".join([
        '"""What the contract says that no model shows: its server, and the shape of each answer as JSON schema."""',
        "",
        "from typing import Any, Final",
        "",
        f"SERVER: Final[str] = {servers[0]['url']!r}",
        "",
        *(f"{name}: Final[dict[str, Any]] = {shape!r}\n" for name, shape in components.items()),
        f"SCHEMAS: Final[dict[str, dict[str, Any]]] = {schemas!r}",
        "",
    ])  # fmt: skip


def answers(document: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the JSON schema of each response, by operation and status, and those that they name."""
    shapes = _Shapes(document)
    schemas: dict[str, dict[str, Any]] = {}
    for path, method, operation in operations(document):
        for status, response in operation.get("responses", {}).items():
            answer, _ = resolve(document, response, "")
            for media in (answer.get("content") or {}).values():
                if "schema" in media:
                    schemas.setdefault(f"{method.upper()} {path}", {})[status] = shapes.of(media["schema"])
                break
    return schemas, shapes.named


class _Shapes:
    """Makes schemas without texts, examples and extensions; what a reference names is made once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.names: dict[str, Any] = {}
        self.named: dict[str, Any] = {}

    def of(self, node: Any) -> Any:
        reference = node.get("$ref") if isinstance(node, dict) else None
        if reference is None:
            return self.plain(node) if isinstance(node, dict) else {}
        if reference not in self.names:
            self.names[reference] = {}  # inside itself it may be anything
            shape = self.of(resolve(self.document, node, "")[0])
            self.names[reference] = _Name(f"_SCHEMA_{len(self.named)}")
            self.named[self.names[reference]] = shape
        return self.names[reference]

    def plain(self, node: dict[str, Any]) -> dict[str, Any]:
        shape = {key: value for key, value in node.items() if key in _KEPT}
        if isinstance(node.get("properties"), dict):
            shape["properties"] = {name: self.of(child) for name, child in node["properties"].items()}
        if "items" in shape:
            shape["items"] = self.of(shape["items"])
        return shape
