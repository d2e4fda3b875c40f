"""A clip arrives whole, or nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from duomi import DownloadError, Task
from duomi._core.download import file_name
from harness import KEY, Caller, Server
from werkzeug import Request, Response

CLIP = bytes(range(256)) * 1_000


def finished(*urls: str) -> Task:
    videos = [{"url": url} for url in urls]
    return Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": videos}})


def clip(_request: Request) -> Response:
    return Response(CLIP, content_type="video/mp4", headers={"ETag": '"one"'})


def test_every_video_is_saved(call: Caller, server: Server, tmp_path: Path) -> None:
    """Each video has its file, its URL is sent to the letter, and the key stays at home."""
    server.replies = [clip]
    progress: list[tuple[int, int | None]] = []
    task = finished(f"{server.url}/1.mp4?X-Sig=a%2Fb'|", f"{server.url}/2.mp4")

    paths = call("download", task, tmp_path / "new", on_progress=lambda *step: progress.append(step))

    assert [path.name for path in paths] == ["t.mp4", "t-2.mp4"]
    assert all(path.read_bytes() == CLIP for path in paths)
    assert progress[-1] == (len(CLIP), len(CLIP))
    assert server.requests[0].environ["REQUEST_URI"] == "/1.mp4?X-Sig=a%2Fb'|"
    assert all("Authorization" not in request.headers for request in server.requests)
    assert not any(KEY in str(request.headers) for request in server.requests)
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_file_that_is_there_is_refused_or_replaced(call: Caller, server: Server, tmp_path: Path) -> None:
    """Nothing is overwritten unasked, and nothing is fetched for it."""
    server.replies = [clip]
    (tmp_path / "t.mp4").write_bytes(b"mine")

    with pytest.raises(DownloadError, match="already exists"):
        call("download", finished(f"{server.url}/1.mp4"), tmp_path)
    assert server.requests == []
    assert (tmp_path / "t.mp4").read_bytes() == b"mine"

    call("download", finished(f"{server.url}/1.mp4"), tmp_path, if_exists="replace")
    assert (tmp_path / "t.mp4").read_bytes() == CLIP


@pytest.mark.parametrize(
    "answer",
    [
        Response("<html>", content_type="text/html"), Response("{}", content_type="application/json"),
        Response(b"", content_type="video/mp4"), Response("no", 400), Response("", 302, {"Location": "ftp://h/"}),
        Response("", 302, {"Location": "/again"}),
    ],
)  # fmt: skip
def test_what_is_no_clip_leaves_nothing(call: Caller, server: Server, tmp_path: Path, answer: Any) -> None:
    """An error page is never saved as a clip."""
    server.replies = [answer]

    with pytest.raises(DownloadError) as caught:
        call("download", finished(f"{server.url}/1.mp4"), tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert type(caught.value)(*caught.value.args) == caught.value


def test_trouble_that_passes_is_outlasted(call: Caller, server: Server, tmp_path: Path) -> None:
    """A 503 from the clip's server costs an attempt."""
    server.replies = [503, clip]

    (path,) = call("download", finished(f"{server.url}/1.mp4"), tmp_path)

    assert path.read_bytes() == CLIP


def test_a_stale_url_is_asked_for_again(call: Caller, server: Server, tmp_path: Path) -> None:
    """403 on a clip means that its URL has aged: the task is asked once for a fresh one."""
    fresh = {"id": "t", "state": "succeeded", "data": {"videos": [{"url": f"{server.url}/fresh.mp4"}]}}
    server.replies = [403, fresh, clip]

    (path,) = call("download", finished(f"{server.url}/old.mp4"), tmp_path)

    assert path.read_bytes() == CLIP
    assert [request.path for request in server.requests] == ["/old.mp4", "/v1/videos/tasks/t", "/fresh.mp4"]


def test_what_arrived_before_is_told(call: Caller, server: Server, tmp_path: Path) -> None:
    """Of several videos those that arrived stay, and the error lists them."""
    server.replies = [clip, 400]

    with pytest.raises(DownloadError) as caught:
        call("download", finished(f"{server.url}/1.mp4", f"{server.url}/2.mp4"), tmp_path)

    assert caught.value.saved == [tmp_path / "t.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["t.mp4"]


@pytest.mark.parametrize(
    "task_id", ["a/b", "..", "con", "CON.txt", "a\\b", "x" * 400, "a:b", " a", "a.", "é\u202e", "长" * 300]
)
def test_names_are_safe_everywhere(task_id: str) -> None:
    """A name that had to be changed says so with a hash, and fits every file system."""
    name = file_name(task_id)

    assert not set(name) & set('<>:"/\\|?*')
    assert len(name.encode()) <= 220
    assert name.endswith(".mp4")
    assert name != file_name(task_id + "2")
    assert name.split(".")[0].lower() not in {"con", "nul"}
    assert file_name("5dd1ef43-efeb") == "5dd1ef43-efeb.mp4"
    assert file_name("5dd1ef43-efeb", 2) == "5dd1ef43-efeb-2.mp4"
