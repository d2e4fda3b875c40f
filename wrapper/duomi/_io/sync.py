"""The driver that blocks: it performs the effects of flows over httpx."""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import httpx

from duomi._config import Settings
from duomi._core.poll import Emit, WatchFlow
from duomi._core.rate import Rate
from duomi._core.reply import Problem, Reply
from duomi._core.request import Answer, RequestFlow, Send, Sleep
from duomi._io.base import TRANSPORT_ERRORS, BaseDriver, advance, content_of, each_step, unwrap
from duomi._io.body import Body
from duomi._io.lanes import Lane, Lanes
from duomi._task import Task

T = TypeVar("T")


class Driver(BaseDriver):
    """Performs the effects of flows, and blocks."""

    lanes: Lanes[Lane]
    http_client: httpx.Client | None

    def __init__(self, settings: Settings, http_client: httpx.Client | None) -> None:
        super().__init__(settings, http_client, Rate(settings.max_rate, threading.RLock))
        self.lanes = Lanes(Lane, settings.base_url)

    def call(self, flow: RequestFlow[T]) -> T:
        """Drive a flow to its end; return its answer, or raise the error of its problem."""
        return unwrap(self.drive(flow))

    def drive(self, flow: RequestFlow[T]) -> T | Problem:
        """Drive a flow to its end."""
        try:
            effect = next(flow)
            while True:
                effect = flow.send(self.perform(effect))
        except StopIteration as end:
            answer: T | Problem = end.value
            return answer
        finally:
            flow.close()

    def watch(self, flow: WatchFlow) -> Iterator[Task]:
        """Drive a flow, and yield what it emits."""
        answer: Answer = None
        try:
            while (effect := advance(flow, answer)) is not None:
                self.ensure_open()
                if isinstance(effect, Emit):
                    answer = None
                    yield effect.task
                else:
                    answer = self.perform(effect)
        finally:
            flow.close()

    def perform(self, effect: Send | Sleep) -> Answer:
        """Send, or sleep."""
        if isinstance(effect, Sleep):
            for nap in self.naps(effect):
                time.sleep(nap)
            return None
        self.ensure_open()
        try:
            reply = self._by_lane(effect) if self.http_client is None else self._by_client(self.http_client, effect)
        except RuntimeError as error:
            raise self.closed_during_call(error) or error from error
        failure = reply if isinstance(reply, Exception) else reply.broken
        if failure is not None and (closed := self.closed_during_call(failure)):
            raise closed
        return reply

    def _by_lane(self, effect: Send) -> Reply | Exception:
        lane = self.lanes.acquire(fresh=effect.fresh_lane)
        complete = False
        try:
            reply = self._attempt(lane, effect)
            complete = isinstance(reply, Reply) and reply.broken is None
        finally:
            for dropped in self.lanes.release(lane, complete=complete):
                dropped.network.close()
        return reply

    def _attempt(self, lane: Lane, effect: Send) -> Reply | Exception:
        lane.network.begin(effect.limit)
        unsigned = effect.request.headers
        effect.request.headers = self.settings.auth.sign(unsigned)
        try:
            response = lane.handle_request(effect.request)
        except TRANSPORT_ERRORS as error:
            return lane.explain(error)
        finally:
            effect.request.headers = unsigned
        return self._read(response, iter(response.stream))  # type: ignore[arg-type]

    def _by_client(self, http_client: httpx.Client, effect: Send) -> Reply | Exception:
        effect.request.extensions = {"timeout": each_step(effect.limit, effect.queue_limit)}
        try:
            response = http_client.send(effect.request, auth=self.settings.auth, follow_redirects=False, stream=True)
        except httpx.HTTPStatusError as error:
            response = error.response  # a hook of the caller's raised it
        except TRANSPORT_ERRORS as error:
            return error
        if (content := content_of(response)) is not None:
            return self._reply(response, content)
        ends_at = time.monotonic() + effect.limit
        return self._read(response, _until(response.iter_raw(), ends_at))

    def _read(self, response: httpx.Response, chunks: Iterator[bytes]) -> Reply:
        body = Body()
        broken = None
        try:
            body.begin(response.headers)
            for chunk in chunks:
                body.add(chunk)
            body.finish()
        except TRANSPORT_ERRORS as error:
            broken = error
        finally:
            response.close()
        return self._reply(response, body.content, broken)

    def close(self) -> None:
        """Close every connection that is ours; calls under way end with an error."""
        idle, active = self.lanes.close_all()
        for lane in idle:
            lane.network.close()
        for lane in active:
            lane.network.interrupt()


def _until(chunks: Iterable[bytes], ends_at: float) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        if time.monotonic() > ends_at:
            raise httpx.ReadTimeout("no complete answer in time")
