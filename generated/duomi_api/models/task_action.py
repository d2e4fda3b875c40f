from enum import StrEnum
from typing import Self

_LABELS: dict[str, str] = {}


class TaskAction(StrEnum):
    """An open enum: a value that the contract does not list becomes an instance that `list(TaskAction)` does not contain."""

    GENERATE = "generate"
    "The contract gives it no label."
    REMIX = "remix"
    "The contract gives it no label."

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def label(self) -> str:
        """The vendor's label of this value, or the value itself if the vendor has none."""
        return _LABELS.get(self.value, self.value)

    def __str__(self) -> str:
        return str(self.value)
