"""Give the contract the names that it lacks."""

import copy
from typing import Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.parser import parse
from oas_patch.overlay import apply_overlay

from contract.document import ContractError


def named(document: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the overlay applied, where every action must find its target."""
    document = copy.deepcopy(document)
    for number, action in enumerate(overlay.get("actions", [])):
        target = action.get("target")
        try:
            found = parse(target).find(document)
        except (JSONPathError, TypeError, AttributeError) as error:
            raise ContractError(f"overlay.yaml: /actions/{number}: {target!r} is no JSONPath") from error
        if not found:
            raise ContractError(f"overlay.yaml: /actions/{number}: {target} matches nothing in the contract")
        document = apply_overlay(document, {"actions": [action]})
    return document
