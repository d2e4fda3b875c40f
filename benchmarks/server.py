"""The server that every client is measured against, in its own process: keep-alive, and a body made once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TASK = {
    "id": "5dd1ef43-efeb-9017-be66-f37a9d4348ee", "state": "running", "data": {"videos": []}, "progress": 45,
    "create_time": 1762000000, "update_time": 1762000060, "message": "", "action": "generate",
}  # fmt: skip
OPENAI = {
    "id": "video_1", "object": "video", "model": "sora-2", "status": "in_progress", "progress": 45,
    "created_at": 1762000000, "completed_at": None, "expires_at": None, "error": None, "prompt": "a cat",
    "remixed_from_video_id": None, "seconds": "8", "size": "720x1280",
}  # fmt: skip
RUNWAY = {
    "id": "17f20503-6c24-4c16-946b-35dbbce2af2f",
    "status": "RUNNING",
    "createdAt": "2025-11-01T00:00:00Z",
    "progress": 0.45,
}


def _answer(body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content) + content


ID = str(TASK["id"]).encode()
DONE = TASK | {
    "state": "succeeded",
    "progress": 100,
    "data": {"videos": [{"url": "https://clips.example/1.mp4?sig=0123456789"}]},
}
ANSWERS = {
    b"/v1/videos/done/": _answer(DONE),
    b"/v1/videos/tasks/": _answer(TASK),
    b"/videos/": _answer(OPENAI),
    b"/v1/tasks/": _answer(RUNWAY),
}


class Connection(asyncio.Protocol):
    """Answers each request after `delay` seconds."""

    delay = 0.0

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            path, self._buffer = self._buffer[:end].split(b" ", 2)[1], self._buffer[end + 4 :]
            folder, name = path[: path.rindex(b"/") + 1], path[path.rindex(b"/") + 1 :]
            # As long as the example's id, so that the length of the body stays.
            answer = ANSWERS[folder].replace(ID, name.ljust(len(ID))[: len(ID)])
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def _serve(delay: float, done: str) -> None:
    Connection.delay = delay
    if done:
        ANSWERS[done.encode()] = _answer(DONE)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def served(delay: float = 0.0, done: str = "") -> Iterator[str]:
    """Serve in another process, and yield the base URL; below the path `done` every task has succeeded."""
    process = subprocess.Popen([sys.executable, __file__, str(delay), done], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), sys.argv[2]))
