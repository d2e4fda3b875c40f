"""A hook of mkdocs: one search index for each language, so that a search finds pages in the reader's language only."""

from __future__ import annotations

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

CHINESE = "zh/"


def on_post_build(config: MkDocsConfig) -> None:
    """Move the Chinese pages from the common index into one of their own."""
    site = Path(config.site_dir)
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    pages = index["docs"]
    chinese = [
        page | {"location": page["location"].removeprefix(CHINESE)}
        for page in pages
        if page["location"].startswith(CHINESE)
    ]
    english = [page for page in pages if not page["location"].startswith(CHINESE)]
    for folder, docs in (("search", english), (f"{CHINESE}search", chinese)):
        file = site / folder / "search_index.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(index | {"docs": docs}, separators=(",", ":")), encoding="utf-8")
