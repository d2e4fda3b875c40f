"""Names that leave the program: those of clips, valid on every system and no two alike, and words for a shell."""

from __future__ import annotations

import hashlib
import os
import re

NAME_BYTES = 180

_RESERVED = r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *\.|$)"
_LIKE_A_NUMBER = r"-([2-9]|[1-9]\d{1,5})$"
# A tilde stands before the hash, and nowhere else.
_UNSAFE = frozenset('<>:"/\\|?*~')


def file_name(task_id: str, number: int = 1) -> str:
    """Return the name of a task's clip, valid on Linux, macOS and Windows; no two clips share one.

    An id gets 8 hex digits of its SHA-256 if it had to be changed, or if its name could be another's: that of a second
    clip (`a-2`), or that of an id in other letters on a file system that ignores case.
    """
    safe = "".join("_" if c in _UNSAFE or not c.isprintable() else c for c in task_id).strip(" .")
    safe = f"_{safe}" if re.match(_RESERVED, safe, re.IGNORECASE) else safe
    safe = safe.encode()[:NAME_BYTES].decode(errors="ignore") or "task"
    if safe != task_id or not safe.isascii() or safe != safe.lower() or re.search(_LIKE_A_NUMBER, safe):
        safe += "~" + hashlib.sha256(task_id.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe}.mp4" if number == 1 else f"{safe}-{number}.mp4"


def quoted(word: str, *, windows: bool = os.name == "nt") -> str:
    """Quote a word for the shell of the platform: double quotes on Windows, which cmd and PowerShell both take."""
    if re.fullmatch(r"[\w@%+=:,./\\-]+" if windows else r"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    if windows:
        return '"' + word.replace('"', '\\"') + '"'
    return "'" + word.replace("'", "'\"'\"'") + "'"
