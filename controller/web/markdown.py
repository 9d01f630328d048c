"""Notes: Markdown as HTML that is safe to show.

Two libraries stand behind each other: markdown-it passes no HTML on, and nh3 (ammonia) keeps only the elements, the
attributes and the schemes below. No images: one from elsewhere would tell its site who reads the note.
"""

from functools import lru_cache
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

_BELOW: Final = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
"""A note stands under a heading of the page."""
_TEXT_TAGS: Final = {"a", "blockquote", "br", "code", "em", "h3", "h4", "h5", "h6", "hr", "p", "pre", "s", "strong"}
_LIST_TAGS: Final = {"ol", "ul", "li"}
_TABLE_TAGS: Final = {"table", "thead", "tbody", "tr", "th", "td"}
_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@lru_cache(maxsize=256)
def render_markdown(text: str) -> Markup:
    """A note as HTML. Links lead away without telling where from."""
    tokens = _PARSER.parse(text)
    for token in tokens:
        token.tag = _BELOW.get(token.tag, token.tag)
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    clean = nh3.clean(
        html,
        tags=_TEXT_TAGS | _LIST_TAGS | _TABLE_TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)  # noqa: S704 (what nh3 has cleaned)
