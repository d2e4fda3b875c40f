"""Decide what a change of the contract means for callers of this client."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import attrs

from contract.document import condensed
from contract.facts import Part
from contract.schemas import FORMATS

BREAK, REVIEW, NOTE = "BREAK", "REVIEW", "NOTE"
EXIT_CODES = {NOTE: 0, REVIEW: 3, BREAK: 4}
_COLOURS = {BREAK: "1;31", REVIEW: "33", NOTE: "2"}
BUMPS = {
    NOTE: "patch, or minor where there is something new to use",
    REVIEW: "minor, after a look at the lines marked REVIEW",
    BREAK: "major (minor before 1.0)",
}


@attrs.frozen
class Change:
    """One difference between two contracts and its verdict; `meaning` says what it means for a caller."""

    verdict: str
    pointer: str
    what: str
    old: Any
    new: Any
    meaning: str

    def line(self) -> str:
        """Return the change as one line."""
        what = f" {self.what}" if self.what else ""
        old, new = _around(_said(self.old), _said(self.new))
        return f"{self.verdict:<6} {self.pointer or '/'}{what}: {old} -> {new}; {self.meaning}"


def changes(old: Part, new: Part) -> list[Change]:
    """Return the changes that matter to a caller or a maintainer, the worst first, each pointer once."""
    once: dict[tuple[str, str, bool], Change] = {}
    found = _compare(old, new, set())
    for change in sorted(found, key=lambda change: -EXIT_CODES[change.verdict]):
        # A component is changed once, however many operations use it.
        once.setdefault((change.pointer, change.what, change.old is None), change)
    return list(once.values())


def worst(found: Sequence[Change]) -> str:
    """Return the worst verdict, or NOTE if there is no change."""
    return found[0].verdict if found else NOTE


def _compare(old: Part, new: Part, seen: set[Any]) -> Iterator[Change]:
    """Yield the changes, except those inside a part that is new, removed or of another type."""
    # What surrounds a schema decides whether it is required and may be null; all else stands in it.
    around = [part.aspects.get(aspect) for part in (old, new) for aspect in ("required", "nullable")]
    key = (old.what, old.sent, old.pointer, new.pointer, *around)
    if key in seen:
        return
    seen.add(key)
    moved = old.pointer.startswith("/components/") != new.pointer.startswith("/components/")
    for aspect in {**old.aspects, **new.aspects}:
        if moved and aspect == "title":  # a class that moves may keep its name
            continue
        before, after = old.aspects.get(aspect), new.aspects.get(aspect)
        if repr(before) != repr(after) and _written(before) != _written(after):
            yield _judged(new, aspect, before, after)
    if old.aspects.get("type") != new.aspects.get("type"):
        return
    for name in {**old.parts, **new.parts}:
        if name in old.parts and name in new.parts:
            yield from _compare(old.parts[name], new.parts[name], seen)
        else:
            part = old.parts.get(name) or new.parts[name]
            said = name if part.what == "parameter" else part.what
            yield _judged(part, "is", *((said, None) if name in old.parts else (None, said)))


def _written(value: Any) -> str:
    """Return a value as JSON, where 1 is not true."""
    return json.dumps(value, sort_keys=True, default=str)


def _judged(part: Part, aspect: str, old: Any, new: Any) -> Change:
    verdict, meaning = _verdict(part, aspect, old, new)
    return Change(verdict, part.pointer, "" if aspect == "is" else aspect, old, new, meaning)


def _verdict(part: Part, aspect: str, before: Any, after: Any) -> tuple[str, str]:
    match aspect:
        case "is" if before == "header":
            return NOTE, "this client does not read response headers by name"
        case "is" if after is None:
            return BREAK, f"code that uses the {before} fails"
        case "is" if before is None:
            if part.sent and part.aspects.get("required"):
                return BREAK, f"calls without this {after} are refused"
            if after == "variant" and not part.sent:
                return REVIEW, "a body may be of a type that was not there before"
            return NOTE, f"there is a new {after} to use"
        case "type" if part.sent and _is_wider(before, after):
            return NOTE, "what was sent may still be sent"
        case "type" if part.sent and after == "union":
            return REVIEW, "see whether what is sent is one of them"
        case "is" | "type":
            return BREAK, "code that uses it meets another type"
        case "required" if part.sent:
            return (BREAK, "calls without it are refused") if after else (NOTE, "calls may leave it out")
        case "required":
            return (NOTE, "it is always there now") if after else (BREAK, "code that relies on it meets its absence")
        case "nullable" if part.sent:
            return (NOTE, "null may be sent") if after else (BREAK, "calls that send null are refused")
        case "nullable":
            return (BREAK, "code that relies on it meets null") if after else (NOTE, "null does not come any more")
        case "enum" if (
            part.sent and after is not None and (before is None or any(value not in after for value in before))
        ):
            return BREAK, "calls that send another value are refused"
        case "enum":
            return REVIEW, _enum_meaning(before, after)
        case "extras" if after is False:
            return (
                (BREAK, "calls with other fields are refused") if part.sent else (REVIEW, "other fields are not kept")
            )
        case "constraints" if part.sent:
            return _limits(before or {}, after or {})
        case "conditions":
            return REVIEW, "see whether what is sent or read still fits"
        case "labels":
            return REVIEW, "`.label` shows other words"
        case "operationId" if before is not None:
            return BREAK, "the generated function has another name, unless overlay.yaml gives one"
        case "title":
            return BREAK, "the generated class has another name, unless generator.yaml gives one"
        case "server" | "servers" | "variables" | "security":
            return REVIEW, "requests may have to go elsewhere, or with other rights"
        case "style":
            return REVIEW, "what is sent is written in another way"
        case "deprecated" | "status":
            return REVIEW, "the vendor says how long it will last"
        case "format" if FORMATS & {str(before), str(after)}:
            return BREAK, "the generated model reads it as another type"
        case "format":
            return NOTE, "the text has a form now, or another; the generated model may read it as another type"
        case _:
            return NOTE, "nothing to do"


def _is_wider(old: str, new: str) -> bool:
    """Tell whether a type takes all that another takes."""
    kinds = set(new.split("|"))
    return new == "any" or set(old.split("|")) <= kinds | ({"integer"} if "number" in kinds else set())


def _enum_meaning(old: Any, new: Any) -> str:
    if old is None or new is None:
        return "the values are listed now" if old is None else "the values are not listed any more"
    added, removed = [v for v in new if v not in old], [v for v in old if v not in new]
    parts = [f"decide what {_short(added)} means"] if added else []
    parts += [f"{_short(removed)} does not come any more"] if removed else []
    return " and ".join(parts)


def _limits(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str]:
    """Judge limits on what callers send: a new one may hold already, a tighter one refuses calls."""
    changed = [key for key in new if new[key] != old.get(key) and key not in {"default", "readOnly", "writeOnly"}]
    if any(key in old and _is_tighter(key, old[key], new[key]) for key in changed):
        return BREAK, "calls that were allowed are refused"
    if old.get("default") != new.get("default"):
        return REVIEW, "calls that leave it out may mean another value"
    if any(key not in old and new[key] is not False for key in changed):
        return REVIEW, "there is a limit now on what is sent"
    return NOTE, "nothing to do"


def _is_tighter(key: str, old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return new is True
    if key == "multipleOf":
        return not new or bool(old % new)
    if isinstance(old, int | float) and isinstance(new, int | float):
        return new < old if key.lower().startswith(("max", "exclusivemax")) else new > old
    return new is not False


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "nothing" if value is None else " ".join(text.split())


def _short(value: Any) -> str:
    return _around(_said(value), "")[0]


def _around(old: str, new: str) -> list[str]:
    """Cut two long texts around the place where they begin to differ."""
    at = next((n for n, pair in enumerate(zip_longest(old, new)) if pair[0] != pair[1]), 0)
    start = max(0, at - 40) if max(len(old), len(new)) > 120 else 0
    end = start + 117
    return [f"{'...' if start else ''}{text[start:end]}{'...' if len(text) > end else ''}" for text in (old, new)]


def print_report(found: Sequence[Change], *, as_json: bool = False, more: Sequence[str] = ()) -> None:
    """Print the verdict, and a line for each change and for all else that there is to know, the worst first."""
    if as_json:
        for change in found:
            print(json.dumps(attrs.asdict(change), ensure_ascii=False, default=str))
        return
    lines = [*(change.line() for change in found), *condensed(more)]
    counts = Counter(line.partition(" ")[0] for line in lines)
    counted = [f"{counts[verdict]} {verdict}" for verdict in _COLOURS if counts[verdict]]
    said = next((verdict for verdict in _COLOURS if counts[verdict]), NOTE)
    same = "the contract says the same as before; no release is called for"
    print(f"{said}: {', '.join(counted)}; version bump: {BUMPS[said]}" if found else same)
    for line in sorted(lines, key=lambda line: next((n for n, v in enumerate(_COLOURS) if line.startswith(v)), 3)):
        verdict = line.partition(" ")[0]
        colour = _COLOURS.get(verdict) if sys.stdout.isatty() else None
        print(f"\033[{colour}m{verdict}\033[0m{line[len(verdict) :]}" if colour else line)
