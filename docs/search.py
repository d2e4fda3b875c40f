"""A hook of mkdocs: one search index for each language, so that a search finds pages in the reader's language only."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

CHINESE = "zh/"
# The site's script takes a query apart at its first character if that is a word of the index, and then forgets the rest:
# a search for 重试 would find all that begins with 重. An invisible mark makes another word of it.
MARK = "\N{WORD JOINER}"
ONE_CHARACTER = re.compile("(?<![一-鿿])[一-鿿](?![一-鿿])")


@event_priority(-200)  # after i18n, which writes the common index at -100
def on_post_build(config: MkDocsConfig) -> None:
    """Move the Chinese pages from the common index into one of their own."""
    site = Path(config.site_dir)
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    pages = index["docs"]
    chinese = [
        page
        | {"location": page["location"].removeprefix(CHINESE)}
        | {field: ONE_CHARACTER.sub(rf"{MARK}\g<0>", page[field]) for field in ("title", "text")}
        for page in pages
        if page["location"].startswith(CHINESE)
    ]
    english = [page for page in pages if not page["location"].startswith(CHINESE)]
    for folder, docs in (("search", english), (f"{CHINESE}search", chinese)):
        file = site / folder / "search_index.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(index | {"docs": docs}, separators=(",", ":")), encoding="utf-8")
