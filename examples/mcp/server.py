"""An MCP server: a model may look at a task, wait for it, and have its clips saved in one folder."""

import argparse
import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from duomi import AsyncDuomi, DuomiError, Task, TaskTimeoutError
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

LINK = re.compile(r"[!-~]*(?:://|\?\S)\S*")
READS = ToolAnnotations(read_only_hint=True)
SAVES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)


class State(BaseModel):
    """What a model gets to know of a task: no link, since a link to a clip is signed."""

    task_id: str
    state: str
    label: str
    progress: int | None
    message: str
    characters: list[str]
    clips: int
    next: str


class Saved(BaseModel):
    """The files of a task."""

    paths: list[str]
    next: str


def without_links(text: str) -> str:
    """Return what the vendor wrote in one line, without links: a signed one opens the clip for anybody."""
    return LINK.sub("(link)", " ".join(text.split()))[:500]


def state(task: Task) -> State:
    """Return what may be told of a task, and what to do next."""
    todo = "not finished yet: call wait again" if not task.is_finished else "call download" if task.videos else "done"
    return State(
        task_id=task.task_id,
        state=without_links(task.state.value),
        label=without_links(task.state.label),
        progress=task.progress,
        message=without_links(task.message),
        characters=[without_links(character.id) for character in task.characters],
        clips=len(task.videos),
        next=todo,
    )


@asynccontextmanager
async def told() -> AsyncGenerator[None]:
    """Tell a model what went wrong."""
    try:
        yield
    except DuomiError as error:
        again = " It is temporary: try again later." if error.is_transient else ""
        raise ToolError(f"{type(error).__name__}: {without_links(str(error))}{again}") from None


def make_server(client: AsyncDuomi, folder: Path, limit: float) -> MCPServer[None]:
    """Return a server that saves clips in `folder` alone; `wait` and `download` answer within `limit` seconds."""
    downloads: dict[str, asyncio.Task[list[Path]]] = {}

    @asynccontextmanager
    async def lifespan(_server: MCPServer[None]) -> AsyncGenerator[None]:
        async with client:
            yield

    # Stdout belongs to the protocol; what is logged goes to stderr.
    server: MCPServer[None] = MCPServer("duomi", lifespan=lifespan, log_level="WARNING")

    @server.tool(annotations=READS)
    async def get(task_id: str) -> State:
        """Look at a video task as it is now."""
        async with told():
            return state(await client.get_task(task_id))

    @server.tool(annotations=READS)
    async def wait(task_id: str, ctx: Context) -> State:
        """Wait until a video task is finished, for less than a minute; if it is not finished then, call this again."""
        highest = -1

        async def tell(task: Task) -> None:
            nonlocal highest
            # The protocol wants progress that rises.
            if (task.progress or 0) > highest:
                highest = task.progress or 0
                await ctx.report_progress(highest, 100, without_links(str(task)))

        async with told():
            try:
                return state(await client.wait(task_id, timeout=limit, on_update=tell))
            except TaskTimeoutError as error:
                if error.task is None:
                    raise
                return state(error.task)

    @server.tool(annotations=SAVES)
    async def download(task_id: str) -> Saved:
        """Save the clips of a finished video task on this machine; files that are there are kept."""

        async def save() -> list[Path]:
            return await client.download(await client.get_task(task_id), folder, if_exists="skip")

        def over(job: asyncio.Task[list[Path]]) -> None:
            del downloads[task_id]
            # Who asks again finds the files, or tries again.
            _ = job.cancelled() or job.exception()

        # A large clip takes longer than a call may: it continues between calls.
        job = downloads.get(task_id)
        if job is None:
            job = downloads[task_id] = asyncio.create_task(save())
            job.add_done_callback(over)
        await asyncio.wait([job], timeout=limit)
        if not job.done():
            return Saved(paths=[], next="not saved yet: call download again")
        async with told():
            return Saved(paths=[str(path) for path in await job], next="done")

    return server


def main() -> None:
    """Serve over stdin and stdout, until the client closes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where clips are saved; made if it is not there")
    parser.add_argument(
        "--limit", type=float, default=50.0, help="seconds of one call (50; many clients give up at 60)"
    )
    given = parser.parse_args()
    folder = given.folder.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        client = AsyncDuomi()
    except DuomiError as error:
        sys.exit(f"duomi: {error}")
    make_server(client, folder, given.limit).run("stdio")


if __name__ == "__main__":
    main()
