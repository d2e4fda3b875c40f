from enum import StrEnum
from typing import Self

_LABELS: dict[str, str] = {"pending": "队列中", "running": "生成中", "succeeded": "已成功", "error": "失败"}


class TaskState(StrEnum):
    """An open enum: a value that the contract does not list becomes an instance that `list(TaskState)` does not contain."""

    PENDING = "pending"
    "The vendor calls it 队列中."
    RUNNING = "running"
    "The vendor calls it 生成中."
    SUCCEEDED = "succeeded"
    "The vendor calls it 已成功."
    ERROR = "error"
    "The vendor calls it 失败."

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
