"""A download saves the whole clip, or leaves no file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from duomi import DownloadError, Task
from duomi._core.names import file_name
from duomi._io.files import PartFile
from harness import KEY, Caller, Server
from werkzeug import Request, Response

CLIP = bytes(range(256)) * 1_000


def finished(*urls: str) -> Task:
    videos = [{"url": url} for url in urls]
    return Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": videos}})


def clip(_request: Request) -> Response:
    return Response(CLIP, content_type="video/mp4", headers={"ETag": '"one"'})


def test_every_video_is_saved(call: Caller, server: Server, tmp_path: Path) -> None:
    """Each video has its own file, its URL is sent unchanged, and the key is not sent."""
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


def test_an_existing_file_is_only_replaced_on_request(call: Caller, server: Server, tmp_path: Path) -> None:
    """An existing file is an error before any request, unless `if_exists="replace"`."""
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
def test_a_reply_that_is_not_a_clip_is_not_saved(call: Caller, server: Server, tmp_path: Path, answer: Any) -> None:
    """An error page, an empty body or an invalid redirect raises `DownloadError`, and leaves no file."""
    server.replies = [answer]

    with pytest.raises(DownloadError) as caught:
        call("download", finished(f"{server.url}/1.mp4"), tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert type(caught.value)(*caught.value.args) == caught.value


def test_a_transient_failure_of_a_download_is_retried(call: Caller, server: Server, tmp_path: Path) -> None:
    """A 503 from the clip's server costs one attempt."""
    server.replies = [503, clip]

    (path,) = call("download", finished(f"{server.url}/1.mp4"), tmp_path)

    assert path.read_bytes() == CLIP


@pytest.mark.parametrize("if_exists", ["skip", "error"])
@pytest.mark.parametrize("what", ["a folder", "a link to nothing"])
def test_what_is_no_file_is_no_saved_clip(
    call: Caller, server: Server, tmp_path: Path, what: str, if_exists: str
) -> None:
    """A folder or a broken link under a clip's name is an error before any request."""
    place = tmp_path / "t.mp4"
    if what == "a folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "nowhere")

    with pytest.raises(DownloadError, match="already exists, and is no file"):
        call("download", finished(f"{server.url}/1.mp4"), tmp_path, if_exists=if_exists)

    assert server.requests == []


# The URLs of two clips, what the API says when it is asked again, and what is asked for then.
REORDERED = {
    "in another order": (["/1?s=1", "/2?s=1"], ["/2?s=2", "/1?s=2"], "/2?s=2"),
    "under other paths": (["/1?s=1", "/2?s=1"], ["/3?s=2", "/4?s=2"], "/4?s=2"),
    "under one path": (["/v?id=1", "/v?id=2"], ["/v?id=1&s=2", "/v?id=2&s=2"], "/v?id=2&s=2"),
    "one less": (["/1?s=1", "/2?s=1"], ["/2?s=2"], "/2?s=2"),
    "one under another path": (["/1?s=1", "/2?s=1"], ["/1?s=2", "/3?s=2"], "/3?s=2"),
    "in another order, and one under another path": (["/1?s=1", "/2?s=1"], ["/3?s=2", "/1?s=2"], "/3?s=2"),
}


@pytest.mark.parametrize("name", REORDERED)
def test_a_fresh_url_is_that_of_the_same_clip(call: Caller, server: Server, tmp_path: Path, name: str) -> None:
    """A clip keeps its own URL, if the API lists the clips in another order when it is asked again."""
    old, new, asked = REORDERED[name]
    fresh = {"id": "t", "state": "succeeded", "data": {"videos": [{"url": f"{server.url}{path}"} for path in new]}}
    server.replies = [clip, 403, fresh, clip]

    call("download", finished(*(f"{server.url}{path}" for path in old)), tmp_path)

    assert server.requests[-1].environ["REQUEST_URI"] == asked


def test_an_expired_url_is_replaced_by_a_fresh_one(call: Caller, server: Server, tmp_path: Path) -> None:
    """After a 403 for a clip the task is polled once, and its fresh URL is used."""
    fresh = {"id": "t", "state": "succeeded", "data": {"videos": [{"url": f"{server.url}/fresh.mp4"}]}}
    server.replies = [403, fresh, clip]

    (path,) = call("download", finished(f"{server.url}/old.mp4"), tmp_path)

    assert path.read_bytes() == CLIP
    assert [request.path for request in server.requests] == ["/old.mp4", "/v1/videos/tasks/t", "/fresh.mp4"]


def test_a_download_error_lists_the_saved_videos(call: Caller, server: Server, tmp_path: Path) -> None:
    """If a later video fails, the saved ones stay, and the error lists them."""
    server.replies = [clip, 400]

    with pytest.raises(DownloadError) as caught:
        call("download", finished(f"{server.url}/1.mp4", f"{server.url}/2.mp4"), tmp_path)

    assert caught.value.saved == [tmp_path / "t.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["t.mp4"]


@pytest.mark.parametrize(
    "task_id", ["a/b", "..", "con", "CON.txt", "a\\b", "x" * 400, "a:b", " a", "a.", "é\u202e", "长" * 300]
)
def test_file_names_are_valid_on_every_system(task_id: str) -> None:
    """A file name fits every file system, and has a hash if it had to be changed."""
    name = file_name(task_id)

    assert not set(name) & set('<>:"/\\|?*')
    assert len(name.encode()) <= 220
    assert name.endswith(".mp4")
    assert name != file_name(task_id + "2")
    assert name.split(".")[0].lower() not in {"con", "nul"}
    assert file_name("5dd1ef43-efeb") == "5dd1ef43-efeb.mp4"
    assert file_name("5dd1ef43-efeb", 2) == "5dd1ef43-efeb-2.mp4"


NAMES = [
    "a",
    "A",
    "a-2",
    "a-2-2",
    "a-3",
    "a+2",
    "ä",
    "a\u0308",
    "a-12345678",
    "a-1234567",
    "A-2",
    "con",
    "CON",
    "_con",
    "a/b",
    "a_b",
]


def test_no_two_clips_share_a_name() -> None:
    """Names of all clips differ, on a file system that ignores case, too, and the usual ids keep theirs."""
    names = [file_name(task_id, number).casefold() for task_id in NAMES for number in (1, 2, 3)]
    hashed = file_name("A").removesuffix(".mp4")

    assert len(set(names)) == len(names)
    assert file_name(hashed.lower()).casefold() != file_name("A").casefold()
    assert file_name("5dd1ef43-efeb-9017-be66-f37a9d4348ee") == "5dd1ef43-efeb-9017-be66-f37a9d4348ee.mp4"
    assert (file_name("task_0123"), file_name("task-1")) == ("task_0123.mp4", "task-1.mp4")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_fsync_keeps_the_clip(
    number: int, call: Caller, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be synchronized is saved all the same."""

    def fail(_descriptor: int) -> None:
        raise OSError(number, "cannot")

    monkeypatch.setattr("os.fsync", fail)
    server.replies = [clip]

    (path,) = call("download", finished(f"{server.url}/1.mp4"), tmp_path)

    assert path.read_bytes() == CLIP
    assert [each.name for each in tmp_path.iterdir()] == ["t.mp4"]


@pytest.mark.parametrize("links", ["links", "no links"])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    links: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes that save one clip, one is told that the file exists, with hard links and without."""
    if links == "no links":
        monkeypatch.delattr("os.link")
    first, second = PartFile(tmp_path / "t.mp4"), PartFile(tmp_path / "t.mp4")
    for part, content in ((first, b"first"), (second, b"second")):
        part.restart()
        part.write(content)

    first.finish(replace=False)
    with pytest.raises(FileExistsError):
        second.finish(replace=False)
    for part in (first, second):
        part.discard()

    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("t.mp4", b"first")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_url_that_does_not_answer_yet_is_waited_for(
    status: int, call: Caller, server: Server, tmp_path: Path
) -> None:
    """A clip whose fresh URL is refused for a moment is saved, after the API was asked for another URL."""
    task = finished(f"{server.url}/1.mp4")
    again = {"id": "t", "state": "succeeded", "data": {"videos": [{"url": f"{server.url}/1.mp4"}]}}
    server.replies = [Response("no", status), again, Response("no", status), again, clip]

    (path,) = call("download", task, tmp_path)

    assert path.read_bytes() == CLIP
    assert len(server.requests) == 5


@pytest.mark.parametrize("coding", ["aws-chunked", "utf-8", "binary", "none", "identity", "", "UTF-8, identity"])
def test_a_content_encoding_that_is_no_compression_is_ignored(
    coding: str, call: Caller, server: Server, tmp_path: Path
) -> None:
    """Servers write all kinds of words there, for clips and for answers."""
    again = {"id": "t", "state": "succeeded", "data": {"videos": [{"url": f"{server.url}/1.mp4"}]}}
    server.replies = [
        Response(json.dumps(again), content_type="application/json", headers={"Content-Encoding": coding}),
        Response(CLIP, content_type="video/mp4", headers={"Content-Encoding": coding}),
    ]

    (path,) = call("download", call("get_task", "t"), tmp_path)

    assert path.read_bytes() == CLIP


def test_the_folder_stays_where_it_was(
    call: Caller, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is the one of the moment in which the download was called."""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    server.replies = [clip]
    task = finished(f"{server.url}/1.mp4", f"{server.url}/2.mp4")

    paths = call("download", task, "clips", on_progress=lambda *_: os.chdir(tmp_path / "other"))

    assert paths == [tmp_path / "clips/t.mp4", tmp_path / "clips/t-2.mp4"]
    assert all(path.read_bytes() == CLIP for path in paths)
    assert list((tmp_path / "other").iterdir()) == []


def test_a_file_that_appears_meanwhile_is_skipped(call: Caller, server: Server, tmp_path: Path) -> None:
    """With `if_exists="skip"` it does not matter when another process saves the clip."""
    server.replies = [clip]

    paths = call(
        "download", finished(f"{server.url}/1.mp4"), tmp_path, if_exists="skip",
        on_progress=lambda *_: (tmp_path / "t.mp4").write_bytes(b"other"),
    )  # fmt: skip

    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("t.mp4", b"other")]
    assert paths == [tmp_path / "t.mp4"]


ASCII = """
import sys, duomi
task = duomi.Task.from_payload({"id": "t", "state": "succeeded", "data": {"videos": [{"url": sys.argv[1]}]}}, task_id=eval(sys.argv[2]))
with duomi.Duomi("sk-test-0123456789", base_url="http://127.0.0.1:1") as client:
    try:
        client.download(task, eval(sys.argv[3]))
    except duomi.DownloadError as error:
        print(ascii(str(error)))
"""


@pytest.mark.parametrize(("task_id", "folder"), [("'\\u957f'", "'.'"), ("'t'", "'\\u957f'")])
def test_a_name_that_the_system_cannot_write_is_an_error(
    server: Server, tmp_path: Path, task_id: str, folder: str
) -> None:
    """In a locale without Chinese the error comes before the first request."""
    server.replies = [clip]
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = subprocess.run(
        [sys.executable, "-c", ASCII, f"{server.url}/1.mp4", task_id, folder],
        env=plain, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "ascii" in done.stdout
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []
