"""What one poll costs, compared with raw httpx and the SDKs of other video APIs."""

from __future__ import annotations

import json

import httpx
import openai
import runwayml
from duomi import Duomi
from figures import ratio, side_by_side, table
from server import RUNWAY, TASK, served


def main() -> None:
    """Print the table."""
    with (
        served() as url,
        httpx.Client(headers={"Authorization": "sk-benchmark"}) as raw,
        Duomi("key", base_url=url) as client,
    ):
        peer = openai.OpenAI(api_key="sk-benchmark", base_url=url)
        runway = runwayml.RunwayML(api_key="sk-benchmark", base_url=url)
        task_url = f"{url}/v1/videos/tasks/{TASK['id']}"
        contenders = {
            "httpx `Client.get` + `json.loads`": lambda: json.loads(raw.get(task_url).content),
            "duomi `get_task`": lambda: client.get_task(str(TASK["id"])),
            "openai `videos.retrieve`": lambda: peer.videos.retrieve("video_1"),
            "runwayml `tasks.retrieve`": lambda: runway.tasks.retrieve(str(RUNWAY["id"])),
        }
        times = side_by_side(contenders, rounds=15, calls=200)
    base, ours, theirs, _ = times.values()
    print("One poll, loopback, keep-alive:\n")
    print(
        table(["one poll", "time relative to raw httpx"], [[name, ratio(each, base)] for name, each in times.items()])
    )
    print()
    figures = [
        ["`get_task` relative to raw httpx get + json", ratio(ours, base)],
        ["`get_task` relative to openai's `videos.retrieve`", ratio(ours, theirs)],
    ]  # fmt: skip
    print(table(["figure", "measured"], figures))


if __name__ == "__main__":
    main()
