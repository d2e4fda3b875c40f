"""The vendor's JSON: where the task is in it, what its fields say, and where it differs from the contract."""

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from sys import intern
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from duomi_api.contract import SCHEMAS
from duomi_api.models import TaskState

from duomi._errors import BODY_LIMIT

TASK_SCHEMA: Mapping[str, Any] = SCHEMAS["GET /v1/videos/tasks/{task_id}"]["200"]

SUCCEEDED_STATES = frozenset({TaskState.SUCCEEDED})
FAILED_STATES = frozenset({TaskState.ERROR})
UNFINISHED_STATES = frozenset({TaskState.PENDING, TaskState.RUNNING})

# What callers of the live API have met instead of the four documented states.
_SYNONYMS = {
    **dict.fromkeys(("queued", "queue", "created", "submitted", "waiting"), TaskState.PENDING),
    **dict.fromkeys(("processing", "in_progress", "generating"), TaskState.RUNNING),
    **dict.fromkeys(("success", "succeed", "completed", "complete", "finished", "done"), TaskState.SUCCEEDED),
    **dict.fromkeys(("failed", "fail", "failure", "cancelled", "canceled", "expired", "rejected"), TaskState.ERROR),
    **{state.value: state for state in TaskState},
}
DOCUMENTED_STATES = frozenset(state.value for state in TaskState)

_MILLISECONDS_FROM = 1e11
_FIRST_MOMENT = 1e9
# What a server sends without end is kept, logged and shown only in part.
STATE_KEPT = 40
DEVIATIONS_KEPT = 100
_DEEPEST = 100
_LINE = 500
# A URL with its query, which ends at a blank, or at a quotation mark that something follows.
_SIGNED = re.compile(r"((?:\bhttps?:)?//[^\s?\"<>]*)\?(?:(?!'(?:[,:;.\s)\]}]|$))[^\s\"<>])*", re.IGNORECASE)
NO_REASON = "the vendor gives no reason"

_NAMES: Mapping[type, str] = {list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def differences(value: object, schema: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the JSON pointer, a text, and whether the generated model cannot hold it, for each difference."""
    if value is None:
        if not schema.get("nullable") and schema.get("type") is not None and "null" not in _types(schema):
            yield pointer, f"is null, the contract says {'/'.join(_types(schema))}", True
        return
    kind = "object" if isinstance(value, Mapping) else _NAMES.get(type(value), type(value).__name__)
    if isinstance(value, float) and value.is_integer():
        kind = "integer"
    allowed = _types(schema)
    if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
        yield pointer, f"is {_brief(value)}, the contract says {'/'.join(allowed)}", True
        return
    if "enum" in schema and value not in schema["enum"]:
        yield pointer, f"is {_brief(value)}, which the contract does not list", False
    if isinstance(value, Mapping):
        properties: Mapping[str, Any] = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{pointer}/{escape(name)}", "is missing", True
        for name, child in properties.items():
            if name in value:
                yield from differences(value[name], child, f"{pointer}/{escape(name)}")
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from differences(item, schema["items"], f"{pointer}/{number}")


def escape(token: str) -> str:
    """Write one name as a segment of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _brief(value: object) -> str:
    text = without_signature(repr(value)[:_LINE])
    return text if len(text) <= 60 else text[:57] + "..."


def find_task(payload: object) -> Mapping[str, Any] | None:
    """Return the part of a payload that is a task: all of it, the `data` of an envelope, or nothing."""
    if not isinstance(payload, Mapping):
        return None
    if read_text(payload.get("state")):
        return payload
    inner = as_mapping(payload.get("data"))
    code = 0 if payload.get("code") is None else whole_number(payload["code"])
    well = code is not None and (code == 0 or 200 <= code <= 299)
    return inner if well and read_text(inner.get("state")) else None


def refusal_code(payload: object) -> int | None:
    """Return the code of an envelope that refuses, from 400 to 599."""
    if not isinstance(payload, Mapping) or find_task(payload) is not None:
        return None
    code = whole_number(payload.get("code"))
    return code if code is not None and 400 <= code <= 599 else None


def vendor_message(payload: object) -> str:
    """Return what an error's body says: `message`, `msg`, `error`, or `error.message`."""
    if not isinstance(payload, Mapping):
        return ""
    inner = as_mapping(payload.get("error")).get("message")
    return _first(payload.get("message"), payload.get("msg"), payload.get("error"), inner)


def read_state(text: str) -> TaskState:
    trimmed = text.strip()
    return _SYNONYMS.get(trimmed.lower()) or TaskState(trimmed[:STATE_KEPT])


def read_progress(value: object) -> int | None:
    if isinstance(value, str):
        digits = re.fullmatch(r"(\d{1,9})(?:\.0*)?%?", "".join(value.split()), re.ASCII)
        value = int(digits[1]) if digits else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100 or value != int(value):
        return None
    return int(value)


def read_time(value: object) -> datetime | None:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value) if len(value) < 30 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS_FROM else value, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def failure_reason(body: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return why a task failed: the first of the places where the vendor says it that is not blank."""
    error, inner = as_mapping(body.get("error")), as_mapping(data.get("error"))
    return _first(
        body.get("message"), body.get("error"), error.get("message"), data.get("description"), inner.get("message"),
        data.get("message"), data.get("msg"), body.get("error_message"), body.get("fail_reason"), body.get("msg"),
    )  # fmt: skip


def expiry(url: str) -> datetime | None:
    """Read from a signed URL until when it says that it is valid: a moment, or a date and the seconds after it."""
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    except ValueError:
        return None
    for name, value in query.items():
        if not name.endswith("expires") and name != "e":
            continue
        date = query.get(f"{name.removesuffix('expires')}date", "") if name != "e" else ""
        if date:
            with contextlib.suppress(ValueError, OverflowError):
                signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return signed_at + timedelta(seconds=int(value))
        # A smaller number is no moment, but a span from one that the URL does not tell.
        elif (moment := read_time(value)) is not None and moment.timestamp() >= _FIRST_MOMENT:
            return moment
    return None


def _first(*values: object) -> str:
    return next((text for value in values if (text := read_text(value))), "")


def read_column(entries: object, key: str, read: Callable[[object], str]) -> list[str]:
    if not isinstance(entries, list):
        return []
    return [text for job in entries if isinstance(job, Mapping) and (text := read(job.get(key)))]


def read_text(value: object) -> str:
    return encodable(value.strip()) if isinstance(value, str) else ""


def encodable(text: str) -> str:
    """Return a text without halves of characters, which JSON may hold and UTF-8, a database or a web page does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_identifier(value: object) -> str:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else read_text(value)


def as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def whole_number(value: object) -> int | None:
    """Read a number, or a text of digits, as a whole number."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*\d{1,9}\s*", value, re.ASCII) else None
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return int(value) if whole and isinstance(value, int | float) else None


def plain(value: object) -> Any:
    """Return a value as JSON in UTF-8 can write it: without NaN and infinity, which are `None`, or halves of characters."""
    match value:
        case str():
            return encodable(value)
        case Mapping():
            return {encodable(str(name)): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


def shown(payload: object) -> str:
    try:
        return json.dumps(payload, ensure_ascii=False, default=str)[:BODY_LIMIT]
    except (RecursionError, ValueError):
        return ""


def read_http_date(text: str | None) -> datetime | None:
    """Read an HTTP date as UTC."""
    try:
        moment = parsedate_to_datetime(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


def decode(content: bytes) -> Any:
    """Decode JSON in UTF-8; a text that is not JSON, or is nested too deep, gives a ValueError, returned."""
    try:
        payload = json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        return error
    except RecursionError as error:
        return ValueError(str(error))
    if content.count(b"[") + content.count(b"{") > _DEEPEST and is_deep(payload):
        return ValueError(f"nested more than {_DEEPEST} deep")
    # Thousands of tasks that are waited for share the names of their fields.
    return {intern(name): value for name, value in payload.items()} if isinstance(payload, dict) else payload


def is_deep(payload: object) -> bool:
    """Tell whether a payload is nested so deep that to copy, pickle or print it could fail."""
    level = [payload]
    for _ in range(_DEEPEST + 1):
        inner: list[Any] = [list(each.values()) if isinstance(each, Mapping) else each for each in level
                            if isinstance(each, Mapping | list | tuple)]  # fmt: skip
        level = [each for values in inner for each in values if isinstance(each, Mapping | list | tuple)]
        if not level:
            return False
    return True


def without_signature(text: str) -> str:
    """Return a text without what is behind the question mark of a signed URL, which is a secret."""
    return _SIGNED.sub(r"\1", text)


def one_line(text: str) -> str:
    """Return what a vendor wrote as one line that forges no log, steers no terminal and holds no signed URL."""
    words = " ".join(without_signature(text[: _LINE * 4]).split())
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words)
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
