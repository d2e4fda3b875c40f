"""`contract check` finds each of many mutations of the generated package."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import pytest
from checkout import ROOT, check

GET = "api/videos/get_video_task.py"
TASK = "models/video_task.py"
STATE = "models/task_state.py"
DATA = "models/video_task_data.py"
VIDEO = "models/video.py"
CLIENT = "client.py"
ALL = 0


@attrs.frozen
class Mutation:
    """One edit of one file: a text, its new text, and which occurrence of it (the first is 1, the last -1)."""

    file: str
    old: str
    new: str
    which: int = ALL

    def apply(self, package: Path) -> int | None:
        """Edit the file, and return the first line that differs then, or None if it is gone."""
        path = package / self.file
        if not self.old:
            path.unlink()
            return None
        before = path.read_text(encoding="utf-8")
        pieces = before.split(self.old)
        assert len(pieces) > 1, f"{self.old!r} is not in {self.file}"
        if self.which == ALL:
            text = self.new.join(pieces)
        else:
            at = self.which if self.which > 0 else len(pieces) + self.which
            text = self.old.join(pieces[:at]) + self.new + self.old.join(pieces[at:])
        path.write_text(text, encoding="utf-8")
        lines = zip(before.splitlines(), text.splitlines(), strict=False)
        return next((number for number, pair in enumerate(lines, 1) if pair[0] != pair[1]), None)


ASYNC_REQUEST = """response = await client.get_async_httpx_client().request(**kwargs)

    return"""

MUTATIONS: dict[str, Mutation] = {
    "URL changed": Mutation(GET, '"/v1/videos/tasks/{task_id}"', '"/v1/video/tasks/{task_id}"'),
    "URL with a trailing slash": Mutation(GET, '"/v1/videos/tasks/{task_id}"', '"/v1/videos/tasks/{task_id}/"'),
    "method changed": Mutation(GET, '"get"', '"post"'),
    "query added": Mutation(GET, '"method": "get",', '"method": "get", "params": {"id": task_id},'),
    "quoting removed": Mutation(GET, 'quote(str(task_id), safe="")', "str(task_id)"),
    "quoting leaves out the slash": Mutation(GET, 'safe=""', 'safe="/"'),
    "quoting leaves out the colon": Mutation(GET, 'safe=""', 'safe=":"'),
    "quoting twice": Mutation(GET, "quote(str(task_id)", "quote(quote(str(task_id))"),
    "plus quoting": Mutation(GET, "import quote", "import quote_plus as quote"),
    "id in lower case": Mutation(GET, "str(task_id)", "str(task_id).lower()"),
    "id trimmed": Mutation(GET, "str(task_id)", "str(task_id).strip()"),
    "header renamed": Mutation(GET, '"Authorization"', '"X-Key"'),
    "header dropped": Mutation(GET, 'headers["Authorization"] = authorization', "pass"),
    "header changed": Mutation(GET, "] = authorization", '] = f"Bearer {authorization}"'),
    "headers not sent": Mutation(GET, '_kwargs["headers"] = headers', "pass"),
    "header made required": Mutation(GET, "authorization: str | Unset = UNSET", "authorization: str"),
    "header type changed": Mutation(GET, "authorization: str | Unset", "authorization: int | Unset"),
    "id made optional": Mutation(GET, "    task_id: str,\n", '    task_id: str = "1",\n'),
    "status changed": Mutation(GET, "== 200", "== 201"),
    "status made a range": Mutation(GET, "== 200", "< 300"),
    "answer not decoded": Mutation(GET, "VideoTask.from_dict(response.json())", "response.json()"),
    "answer dropped": Mutation(GET, "return response_200", "return None"),
    "unexpected status ignored": Mutation(GET, "if client.raise_on_unexpected_status:", "if False:"),
    "wrong status in the response": Mutation(GET, "HTTPStatus(response.status_code)", "HTTPStatus(200)"),
    "no body in the response": Mutation(GET, "content=response.content", 'content=b""'),
    "no headers in the response": Mutation(GET, "headers=response.headers,", "headers={},"),
    "async URL changed": Mutation(GET, "request(**kwargs)", 'request(**(kwargs | {"url": "/v1/x"}))'),
    "async method changed": Mutation(GET, "request(**kwargs)", 'request(**(kwargs | {"method": "post"}))'),
    "async headers dropped": Mutation(GET, "request(**kwargs)", 'request(**(kwargs | {"headers": {}}))'),
    "async without the header": Mutation(GET, "authorization=authorization,\n    )\n\n    response = await",
                                    ")\n\n    response = await"),
    "async sends twice": Mutation(GET, ASYNC_REQUEST, ASYNC_REQUEST.replace("return", "await client.get_async_httpx_client().request(**kwargs)\n    return")),
    "async follows redirects": Mutation(GET, "request(**kwargs)", "request(**kwargs, follow_redirects=True)"),
    "async timeout": Mutation(GET, "request(**kwargs)", "request(**kwargs, timeout=1)"),
    "async returns None": Mutation(GET, ").parsed", ").parsed and None", -1),
    "sync returns None": Mutation(GET, ").parsed", ").parsed and None", 1),
    "sync follows redirects": Mutation(GET, "        **kwargs,\n", "        **kwargs, follow_redirects=True,\n"),
    "sync timeout": Mutation(GET, "        **kwargs,\n", "        **kwargs, timeout=1,\n"),
    "sync function dropped": Mutation(GET, "def sync(", "def _sync("),
    "async function dropped": Mutation(GET, "async def asyncio(", "async def _asyncio("),
    "key renamed on reading": Mutation(TASK, 'd.pop("progress")', 'd.pop("percent")'),
    "key renamed on writing": Mutation(TASK, '"message": message', '"msg": message'),
    "key renamed on reading and writing": Mutation(TASK, '"progress"', '"percent"'),
    "two fields swapped on reading": Mutation(TASK, "create_time=create_time,\n            update_time=update_time",
                                         "create_time=update_time,\n            update_time=create_time"),
    "two fields swapped on writing": Mutation(TASK, '"create_time": create_time,\n                "update_time": update_time',
                                         '"create_time": update_time,\n                "update_time": create_time'),
    "key dropped from to_dict": Mutation(TASK, '                "progress": progress,\n', ""),
    "value changed on reading": Mutation(TASK, 'd.pop("progress")', 'd.pop("progress") + 1'),
    "value changed on writing": Mutation(TASK, "message = self.message", "message = self.message.strip()[:5]"),
    "integer read as text": Mutation(TASK, 'd.pop("progress")', 'str(d.pop("progress"))'),
    "field type changed": Mutation(TASK, "    progress: int\n", "    progress: str\n"),
    "required made optional": Mutation(TASK, 'd.pop("message")', 'd.pop("message", "")'),
    "required field with a default": Mutation(TASK, "    action: TaskAction\n", "    action: TaskAction = TaskAction.GENERATE\n"),
    "optional made required": Mutation(VIDEO, 'd.pop("url", UNSET)', 'd.pop("url")'),
    "optional written as null": Mutation(VIDEO, "if url is not UNSET:", "if True:"),
    "required field made nullable": Mutation(TASK, "    message: str\n", "    message: str | None\n"),
    "extras dropped": Mutation(TASK, "video_task.additional_properties = d", "pass"),
    "extras not written": Mutation(TASK, "field_dict.update(self.additional_properties)", "pass"),
    "extras of a nested model dropped": Mutation(VIDEO, "video.additional_properties = d", "pass"),
    "list items dropped": Mutation(DATA, "videos.append(videos_item)", "videos[:] = [videos_item] if False else videos"),
    "field dropped": Mutation(TASK, "    action: TaskAction\n", ""),
    "enum not decoded": Mutation(TASK, 'TaskState(d.pop("state"))', 'd.pop("state")'),
    "enum written by its name": Mutation(TASK, "state = self.state.value", "state = self.state.name"),
    "enum member added": Mutation(STATE, '    ERROR = "error"\n', '    ERROR = "error"\n    PAUSED = "paused"\n'),
    "enum member dropped": Mutation(STATE, '    ERROR = "error"\n', ""),
    "enum value misspelt": Mutation(STATE, '= "succeeded"', '= "suceeded"'),
    "enum name misspelt": Mutation(STATE, "SUCCEEDED =", "SUCEEDED ="),
    "enum values swapped": Mutation(STATE, 'RUNNING = "running"\n    "The vendor calls it 生成中."\n    SUCCEEDED = "succeeded"', 'RUNNING = "succeeded"\n    "The vendor calls it 生成中."\n    SUCCEEDED = "running"'),
    "enum order changed": Mutation(STATE, '    PENDING = "pending"\n    "The vendor calls it 队列中."\n    RUNNING = "running"\n', '    RUNNING = "running"\n    "The vendor calls it 队列中."\n    PENDING = "pending"\n'),
    "enum made closed": Mutation(STATE, "if not isinstance(value, str):", "if True:"),
    "label changed": Mutation(STATE, "已成功", "成功"),
    "labels swapped": Mutation(STATE, '"pending": "队列中", "running": "生成中"', '"pending": "生成中", "running": "队列中"'),
    "labels ignored": Mutation(STATE, "_LABELS.get(self.value, self.value)", "self.value"),
    "TLS verification off": Mutation(CLIENT, "_verify_ssl: str | bool | ssl.SSLContext = field(default=True", "_verify_ssl: str | bool | ssl.SSLContext = field(default=False"),
    "TLS verification off for async": Mutation(CLIENT, "verify=self._verify_ssl", "verify=False", 2),
    "TLS verification not passed on": Mutation(CLIENT, "verify=self._verify_ssl", "verify=True", 1),
    "redirects on": Mutation(CLIENT, "_follow_redirects: bool = field(default=False", "_follow_redirects: bool = field(default=True"),
    "redirects on for async": Mutation(CLIENT, "follow_redirects=self._follow_redirects", "follow_redirects=True", 2),
    "timeout by default": Mutation(CLIENT, "_timeout: httpx.Timeout | None = field(default=None", "_timeout: httpx.Timeout | None = field(default=httpx.Timeout(1)"),
    "timeout dropped for async": Mutation(CLIENT, "                timeout=self._timeout,\n", "", 2),
    "headers not passed on": Mutation(CLIENT, "headers=self._headers", "headers={}", 1),
    "token prefix changed": Mutation(CLIENT, 'prefix: str = "Bearer"', 'prefix: str = "Token"'),
    "server changed": Mutation("contract.py", "https://duomiapi.com", "https://example.com"),
    "schema in the package changed": Mutation("contract.py", '"progress": {"type": "integer"}', '"progress": {"type": "string"}'),
    "constant query added": Mutation(GET, '"method": "get",', '"method": "get",\n        "params": {"v": "1"},'),
    "constant header added": Mutation(GET, "headers: dict[str, Any] = {}", 'headers: dict[str, Any] = {"X-A": "b"}'),
    "default in the async function only": Mutation(GET, "async def asyncio(\n    task_id: str,", 'async def asyncio(\n    task_id: str = "1",'),
    "default for the key": Mutation(GET, "authorization: str | Unset = UNSET", 'authorization: str | Unset = "leak"'),
    "list truncated": Mutation(DATA, "in _videos:", "in _videos[:1]:"),
    "empty body accepted": Mutation(GET, "response_200 = VideoTask.from_dict(response.json())", "response_200 = VideoTask.from_dict(response.json() or {})"),
    "zero becomes one": Mutation(TASK, 'd.pop("progress")', '(d.pop("progress") or 1)'),
    "quoting leaves out the dollar": Mutation(GET, 'safe=""', 'safe="$"'),
    "unknown enum value in lower case": Mutation(STATE, "member._value_ = value", "member._value_ = value.lower()"),
    "client given another header": Mutation(CLIENT, "self._client = client", "self._client = client\n        client.headers['X-Spy'] = '1'"),
    "error with the wrong status": Mutation("errors.py", "self.status_code = status_code", "self.status_code = 0"),
    "unset is true": Mutation("types.py", "return False", "return True"),
    "py.typed missing": Mutation("py.typed", "", ""),
    "parameter renamed": Mutation(GET, "authorization", "autorisation"),
    "request that raises": Mutation(GET, '"method": "get",', '"method": str(int("get")),'),
    "field added": Mutation(TASK, "    action: TaskAction\n", "    action: TaskAction\n    more: int = 0\n"),
    "missing field raises another error": Mutation(TASK, 'd.pop("message")', 'd.pop("message") if "message" in d else str(int("x"))'),
    "model file missing": Mutation(VIDEO, "", ""),
    "operation file missing": Mutation(GET, "", ""),
    "enum file missing": Mutation(STATE, "", ""),
    "contract module missing": Mutation("contract.py", "", ""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_contract_check_finds_a_mutation(tmp_path: Path, name: str) -> None:
    """`contract check` exits with 1 and names the file and the line of the mutation, without a traceback."""
    shutil.copytree(ROOT / "generated", tmp_path / "generated", ignore=shutil.ignore_patterns("__pycache__"))
    mutation = MUTATIONS[name]
    line = mutation.apply(tmp_path / "generated/duomi_api")

    done = check(tmp_path / "generated")

    assert done.returncode == 1, "the mutation was not found"
    assert done.stdout.startswith(f"{mutation.file}:{line}: " if line else f"{mutation.file}: is missing")
    assert done.stderr == ""
