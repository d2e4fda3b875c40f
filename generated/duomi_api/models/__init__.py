"""Contains all the data models used in inputs/outputs"""

from .task_action import TaskAction
from .task_state import TaskState
from .video import Video
from .video_task import VideoTask
from .video_task_data import VideoTaskData

__all__ = (
    "TaskAction",
    "TaskState",
    "Video",
    "VideoTask",
    "VideoTaskData",
)
