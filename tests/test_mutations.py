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
    """One edit of one file: which occurrence of a text (the first is 1, the last -1), its new text, and what the check names."""

    file: str
    old: str
    new: str
    named: str
    which: int = ALL

    def apply(self, package: Path) -> None:
        path = package / self.file
        if not self.old:
            path.unlink()
            return
        pieces = path.read_text(encoding="utf-8").split(self.old)
        assert len(pieces) > 1, f"{self.old!r} is not in {self.file}"
        if self.which == ALL:
            text = self.new.join(pieces)
        else:
            at = self.which if self.which > 0 else len(pieces) + self.which
            text = self.old.join(pieces[:at]) + self.new + self.old.join(pieces[at:])
        path.write_text(text, encoding="utf-8")


ASYNC_REQUEST = """response = await client.get_async_httpx_client().request(**kwargs)

    return"""

MUTATIONS: dict[str, Mutation] = {
    "URL changed": Mutation(GET, '"/v1/videos/tasks/{task_id}"', '"/v1/video/tasks/{task_id}"', "operation"),
    "URL with a trailing slash": Mutation(GET, '"/v1/videos/tasks/{task_id}"', '"/v1/videos/tasks/{task_id}/"', "operation"),
    "method changed": Mutation(GET, '"get"', '"post"', "operation"),
    "query added": Mutation(GET, '"method": "get",', '"method": "get", "params": {"id": task_id},', "query"),
    "quoting removed": Mutation(GET, 'quote(str(task_id), safe="")', "str(task_id)", "not quoted"),
    "quoting leaves out the slash": Mutation(GET, 'safe=""', 'safe="/"', "not quoted"),
    "quoting leaves out the colon": Mutation(GET, 'safe=""', 'safe=":"', "not quoted"),
    "quoting twice": Mutation(GET, "quote(str(task_id)", "quote(quote(str(task_id))", "not quoted"),
    "plus quoting": Mutation(GET, "import quote", "import quote_plus as quote", "not quoted"),
    "id in lower case": Mutation(GET, "str(task_id)", "str(task_id).lower()", ""),
    "id trimmed": Mutation(GET, "str(task_id)", "str(task_id).strip()", ""),
    "header renamed": Mutation(GET, '"Authorization"', '"X-Key"', "Authorization"),
    "header dropped": Mutation(GET, 'headers["Authorization"] = authorization', "pass", "Authorization"),
    "header changed": Mutation(GET, "] = authorization", '] = f"Bearer {authorization}"', "Authorization"),
    "headers not sent": Mutation(GET, '_kwargs["headers"] = headers', "pass", "Authorization"),
    "header made required": Mutation(GET, "authorization: str | Unset = UNSET", "authorization: str", "required"),
    "header type changed": Mutation(GET, "authorization: str | Unset", "authorization: int | Unset", "type"),
    "id made optional": Mutation(GET, "    task_id: str,\n", '    task_id: str = "1",\n', "operation"),
    "status changed": Mutation(GET, "== 200", "== 201", "response"),
    "status made a range": Mutation(GET, "== 200", "< 300", "undocumented"),
    "answer not decoded": Mutation(GET, "VideoTask.from_dict(response.json())", "response.json()", "type"),
    "answer dropped": Mutation(GET, "return response_200", "return None", "200"),
    "unexpected status ignored": Mutation(GET, "if client.raise_on_unexpected_status:", "if False:", "unexpected"),
    "wrong status in the response": Mutation(GET, "HTTPStatus(response.status_code)", "HTTPStatus(200)", "differs"),
    "no body in the response": Mutation(GET, "content=response.content", 'content=b""', "Response"),
    "no headers in the response": Mutation(GET, "headers=response.headers,", "headers={},", "Response"),
    "async URL changed": Mutation(GET, "request(**kwargs)", 'request(**(kwargs | {"url": "/v1/x"}))', "asyncio"),
    "async method changed": Mutation(GET, "request(**kwargs)", 'request(**(kwargs | {"method": "post"}))', "asyncio"),
    "async headers dropped": Mutation(GET, "request(**kwargs)", 'request(**(kwargs | {"headers": {}}))', "asyncio"),
    "async without the header": Mutation(GET, "authorization=authorization,\n    )\n\n    response = await",
                                    ")\n\n    response = await", "asyncio"),
    "async sends twice": Mutation(GET, ASYNC_REQUEST, ASYNC_REQUEST.replace("return", "await client.get_async_httpx_client().request(**kwargs)\n    return"), "asyncio"),
    "async follows redirects": Mutation(GET, "request(**kwargs)", "request(**kwargs, follow_redirects=True)", "asyncio"),
    "async timeout": Mutation(GET, "request(**kwargs)", "request(**kwargs, timeout=1)", "asyncio"),
    "async returns None": Mutation(GET, ").parsed", ").parsed and None", "asyncio", -1),
    "sync returns None": Mutation(GET, ").parsed", ").parsed and None", "sync", 1),
    "sync follows redirects": Mutation(GET, "        **kwargs,\n", "        **kwargs, follow_redirects=True,\n", "sync"),
    "sync timeout": Mutation(GET, "        **kwargs,\n", "        **kwargs, timeout=1,\n", "sync"),
    "sync function dropped": Mutation(GET, "def sync(", "def _sync(", "sync"),
    "async function dropped": Mutation(GET, "async def asyncio(", "async def _asyncio(", "asyncio"),
    "key renamed on reading": Mutation(TASK, 'd.pop("progress")', 'd.pop("percent")', "progress"),
    "key renamed on writing": Mutation(TASK, '"message": message', '"msg": message', "message"),
    "key renamed on reading and writing": Mutation(TASK, '"progress"', '"percent"', "progress"),
    "two fields swapped on reading": Mutation(TASK, "create_time=create_time,\n            update_time=update_time",
                                         "create_time=update_time,\n            update_time=create_time", "time"),
    "two fields swapped on writing": Mutation(TASK, '"create_time": create_time,\n                "update_time": update_time',
                                         '"create_time": update_time,\n                "update_time": create_time', "time"),
    "key dropped from to_dict": Mutation(TASK, '                "progress": progress,\n', "", "progress"),
    "value changed on reading": Mutation(TASK, 'd.pop("progress")', 'd.pop("progress") + 1', "round trip"),
    "value changed on writing": Mutation(TASK, "message = self.message", "message = self.message.strip()[:5]", "round trip"),
    "integer read as text": Mutation(TASK, 'd.pop("progress")', 'str(d.pop("progress"))', "progress"),
    "field type changed": Mutation(TASK, "    progress: int\n", "    progress: str\n", "progress: type"),
    "required made optional": Mutation(TASK, 'd.pop("message")', 'd.pop("message", "")', "message: required"),
    "required field with a default": Mutation(TASK, "    action: TaskAction\n", "    action: TaskAction = TaskAction.GENERATE\n", "action: required"),
    "optional made required": Mutation(VIDEO, 'd.pop("url", UNSET)', 'd.pop("url")', "url: required"),
    "optional written as null": Mutation(VIDEO, "if url is not UNSET:", "if True:", "url"),
    "required field made nullable": Mutation(TASK, "    message: str\n", "    message: str | None\n", "message: nullable"),
    "extras dropped": Mutation(TASK, "video_task.additional_properties = d", "pass", "extras"),
    "extras not written": Mutation(TASK, "field_dict.update(self.additional_properties)", "pass", "extras"),
    "extras of a nested model dropped": Mutation(VIDEO, "video.additional_properties = d", "pass", "extras"),
    "list items dropped": Mutation(DATA, "videos.append(videos_item)", "videos[:] = [videos_item] if False else videos", "round trip"),
    "field dropped": Mutation(TASK, "    action: TaskAction\n", "", ""),
    "enum not decoded": Mutation(TASK, 'TaskState(d.pop("state"))', 'd.pop("state")', "state"),
    "enum written by its name": Mutation(TASK, "state = self.state.value", "state = self.state.name", "state"),
    "enum member added": Mutation(STATE, '    ERROR = "error"\n', '    ERROR = "error"\n    PAUSED = "paused"\n', "state: enum"),
    "enum member dropped": Mutation(STATE, '    ERROR = "error"\n', "", "state: enum"),
    "enum value misspelt": Mutation(STATE, '= "succeeded"', '= "suceeded"', "state: enum"),
    "enum name misspelt": Mutation(STATE, "SUCCEEDED =", "SUCEEDED =", "state: names"),
    "enum values swapped": Mutation(STATE, 'RUNNING = "running"\n    SUCCEEDED = "succeeded"', 'RUNNING = "succeeded"\n    SUCCEEDED = "running"', "state: "),
    "enum order changed": Mutation(STATE, '    PENDING = "pending"\n    RUNNING = "running"\n', '    RUNNING = "running"\n    PENDING = "pending"\n', "state: enum"),
    "enum made closed": Mutation(STATE, "if not isinstance(value, str):", "if True:", "state: open"),
    "label changed": Mutation(STATE, "已成功", "成功", "state: labels"),
    "labels swapped": Mutation(STATE, '"pending": "队列中", "running": "生成中"', '"pending": "生成中", "running": "队列中"', "state: labels"),
    "labels ignored": Mutation(STATE, "_LABELS.get(self.value, self.value)", "self.value", "state: labels"),
    "TLS verification off": Mutation(CLIENT, "_verify_ssl: str | bool | ssl.SSLContext = field(default=True", "_verify_ssl: str | bool | ssl.SSLContext = field(default=False", "verify"),
    "TLS verification off for async": Mutation(CLIENT, "verify=self._verify_ssl", "verify=False", "verify", 2),
    "TLS verification not passed on": Mutation(CLIENT, "verify=self._verify_ssl", "verify=True", "verify", 1),
    "redirects on": Mutation(CLIENT, "_follow_redirects: bool = field(default=False", "_follow_redirects: bool = field(default=True", "follow_redirects"),
    "redirects on for async": Mutation(CLIENT, "follow_redirects=self._follow_redirects", "follow_redirects=True", "follow_redirects", 2),
    "timeout by default": Mutation(CLIENT, "_timeout: httpx.Timeout | None = field(default=None", "_timeout: httpx.Timeout | None = field(default=httpx.Timeout(1)", "timeout"),
    "timeout dropped for async": Mutation(CLIENT, "                timeout=self._timeout,\n", "", "timeout", 2),
    "headers not passed on": Mutation(CLIENT, "headers=self._headers", "headers={}", "headers", 1),
    "token prefix changed": Mutation(CLIENT, 'prefix: str = "Bearer"', 'prefix: str = "Token"', "Authorization"),
    "server changed": Mutation("contract.py", "https://duomiapi.com", "https://example.com", "/servers"),
    "schema in the package changed": Mutation("contract.py", '"progress": {"type": "integer"}', '"progress": {"type": "string"}', "written"),
    "constant query added": Mutation(GET, '"method": "get",', '"method": "get",\n        "params": {"v": "1"},', "generator writes"),
    "constant header added": Mutation(GET, "headers: dict[str, Any] = {}", 'headers: dict[str, Any] = {"X-A": "b"}', "generator writes"),
    "default in the async function only": Mutation(GET, "async def asyncio(\n    task_id: str,", 'async def asyncio(\n    task_id: str = "1",', "generator writes"),
    "default for the key": Mutation(GET, "authorization: str | Unset = UNSET", 'authorization: str | Unset = "leak"', "generator writes"),
    "list truncated": Mutation(DATA, "in _videos:", "in _videos[:1]:", "generator writes"),
    "empty body accepted": Mutation(GET, "response_200 = VideoTask.from_dict(response.json())", "response_200 = VideoTask.from_dict(response.json() or {})", "generator writes"),
    "zero becomes one": Mutation(TASK, 'd.pop("progress")', '(d.pop("progress") or 1)', "generator writes"),
    "quoting leaves out the dollar": Mutation(GET, 'safe=""', 'safe="$"', "generator writes"),
    "unknown enum value in lower case": Mutation(STATE, "member._value_ = value", "member._value_ = value.lower()", "generator writes"),
    "client given another header": Mutation(CLIENT, "self._client = client", "self._client = client\n        client.headers['X-Spy'] = '1'", "sync async mismatches"),
    "error with the wrong status": Mutation("errors.py", "self.status_code = status_code", "self.status_code = 0", "generator writes"),
    "unset is true": Mutation("types.py", "return False", "return True", ""),
    "py.typed missing": Mutation("py.typed", "", "", "py.typed"),
    "parameter renamed": Mutation(GET, "authorization", "autorisation", "parameter"),
    "request that raises": Mutation(GET, '"method": "get",', '"method": str(int("get")),', "does not do as generated code does"),
    "field added": Mutation(TASK, "    action: TaskAction\n", "    action: TaskAction\n    more: int = 0\n", "more"),
    "missing field raises another error": Mutation(TASK, 'd.pop("message")', 'd.pop("message") if "message" in d else str(int("x"))', "message"),
    "model file missing": Mutation(VIDEO, "", "", "cannot be imported"),
    "operation file missing": Mutation(GET, "", "", "operation"),
    "enum file missing": Mutation(STATE, "", "", "cannot be imported"),
    "contract module missing": Mutation("contract.py", "", "", "contract"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_contract_check_finds_a_mutation(tmp_path: Path, name: str) -> None:
    """`contract check` exits with 1 and names the place of the mutation, without a traceback."""
    shutil.copytree(ROOT / "generated", tmp_path / "generated", ignore=shutil.ignore_patterns("__pycache__"))
    MUTATIONS[name].apply(tmp_path / "generated/duomi_api")

    done = check(tmp_path / "generated")

    assert done.returncode == 1, "the mutation was not found"
    assert MUTATIONS[name].named in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
