"""A body of bounded size: decompressed chunk by chunk, so that neither an endless one nor a bomb fills the memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx

from duomi._core.reply import BodyTooLargeError, codings

LIMIT = 10 * 1024 * 1024
_CHUNK = 64 * 1024
_CODINGS = 2


class Body:
    """Collects the chunks of one response, up to 10 MiB after decompression."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._codings: list[_Inflater] = []

    def begin(self, headers: httpx.Headers) -> None:
        """Take the head of the response.

        Raises:
            httpx.DecodingError: the body is compressed in a way that was not asked for.
        """
        if "content-encoding" not in headers:
            return
        names = codings(headers["content-encoding"])
        if len(names) > _CODINGS:
            raise httpx.DecodingError(f"the body is compressed {len(names)} times over")
        self._codings = [_Inflater(name) for name in reversed(names)]

    def add(self, chunk: bytes) -> None:
        """Take a chunk as it came over the wire.

        Raises:
            httpx.DecodingError: it is not what `content-encoding` says.
            BodyTooLargeError: the body has more than 10 MiB.
        """
        for part in self._inflate(chunk, self._codings):
            self._size += len(part)
            if self._size > LIMIT:
                raise BodyTooLargeError("the body has more than 10 MiB")
            self._chunks.append(part)

    def finish(self) -> None:
        """See that the compressed body is complete.

        Raises:
            httpx.DecodingError: it is cut off.
        """
        if any(coding.is_cut_off for coding in self._codings):
            raise httpx.DecodingError("the compressed body is cut off")

    @property
    def content(self) -> bytes:
        """All that came so far, inflated."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _inflate(self, chunk: bytes, codings: list[_Inflater]) -> Iterator[bytes]:
        if not codings:
            yield chunk
            return
        for part in codings[0].feed(chunk):
            yield from self._inflate(part, codings[1:])


class _Inflater:
    def __init__(self, name: str) -> None:
        if name not in {"gzip", "x-gzip", "deflate"}:
            raise httpx.DecodingError(f"content-encoding {name!r} was not asked for")
        self._gzip = name != "deflate"
        self._begun = False
        self._size = 0
        self._engine = zlib.decompressobj(zlib.MAX_WBITS | 16 if self._gzip else zlib.MAX_WBITS)

    @property
    def is_cut_off(self) -> bool:
        return self._begun and not self._engine.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        first = not self._begun
        while data:
            if self._engine.eof:
                # A gzip body may be several members, one behind the other; what else follows is padding.
                if not (self._gzip and data.startswith(b"\x1f\x8b")):
                    return
                self._engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._begun = True
            try:
                part = self._engine.decompress(data, _CHUNK)
            except zlib.error as error:
                if self._gzip or not first:
                    raise httpx.DecodingError(str(error)) from error
                # Some servers send deflate without its zlib header.
                first, self._engine = False, zlib.decompressobj(-zlib.MAX_WBITS)
                continue
            if part:
                # The bytes between two codings count as well: one may inflate to a thousand times its size.
                self._size += len(part)
                if self._size > LIMIT:
                    raise BodyTooLargeError("the body has more than 10 MiB")
                yield part
            data = self._engine.unconsumed_tail or self._engine.unused_data
