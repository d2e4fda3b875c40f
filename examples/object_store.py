"""Send a clip to an object store, without a file in between."""

from __future__ import annotations

from typing import Any

import httpx
from duomi import Duomi, Task


def to_bucket(client: Duomi, task: Task, bucket: str, s3: Any) -> str:
    """Upload the first clip with boto3; `s3` may be made for S3, or for the S3-compatible endpoint of OSS, COS or MinIO."""
    with client.stream(task) as clip:
        s3.upload_fileobj(clip, bucket, f"{task.task_id}.mp4", ExtraArgs={"ContentType": "video/mp4"})
    return f"{task.task_id}.mp4"


def to_signed_url(client: Duomi, task: Task, url: str) -> None:
    """Upload the first clip to a signed PUT URL, as OSS, COS and S3 make them; most of them want to know the length."""
    with client.stream(task) as clip:
        length = {} if clip.size is None else {"Content-Length": str(clip.size)}
        httpx.put(url, content=clip, headers=length, timeout=300.0).raise_for_status()
