from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.task_action import TaskAction
from ..models.task_state import TaskState

if TYPE_CHECKING:
    from ..models.video_task_data import VideoTaskData


T = TypeVar("T", bound="VideoTask")


@_attrs_define
class VideoTask:
    """
    Attributes:
        id (str):
        state (TaskState):
        data (VideoTaskData):
        progress (int):
        create_time (int):
        update_time (int):
        message (str):
        action (TaskAction):
    """

    id: str
    state: TaskState
    data: VideoTaskData
    progress: int
    create_time: int
    update_time: int
    message: str
    action: TaskAction
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        state = self.state.value

        data = self.data.to_dict()

        progress = self.progress

        create_time = self.create_time

        update_time = self.update_time

        message = self.message

        action = self.action.value

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "state": state,
                "data": data,
                "progress": progress,
                "create_time": create_time,
                "update_time": update_time,
                "message": message,
                "action": action,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.video_task_data import VideoTaskData  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        state = TaskState(d.pop("state"))

        data = VideoTaskData.from_dict(d.pop("data"))

        progress = d.pop("progress")

        create_time = d.pop("create_time")

        update_time = d.pop("update_time")

        message = d.pop("message")

        action = TaskAction(d.pop("action"))

        video_task = cls(
            id=id,
            state=state,
            data=data,
            progress=progress,
            create_time=create_time,
            update_time=update_time,
            message=message,
            action=action,
        )

        video_task.additional_properties = d
        return video_task

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
