"""Notes: what Markdown becomes, and what hostile ones do in a real browser, which is nothing."""

import pytest
from browsers import Visitor, sync_api
from controllers import RunningController
from scenarios import training_spec

from paploss.client.sync_client import Client
from paploss.controller.web.markdown import render_markdown

HOSTILE = """# Title

<script>window.hurt = 1</script><img src=x onerror="window.hurt=2"><svg onload="window.hurt=3"></svg>
<iframe src="javascript:window.parent.hurt=4"></iframe><style>main { display: none }</style>

[script](javascript:window.hurt=5) [data](data:text/html,<script>window.hurt=6</script>)
[tab](java&#9;script:window.hurt=7)
<javascript:window.hurt=8> ![pixel](https://evil.example/pixel.png) [ref]

[ref]: javascript:window.hurt=9 "x\\" onmouseover=\\"window.hurt=10"

[page](https://elsewhere.example/?a=1&b=2 "a title")

<form action="https://evil.example"><input name="key"><button>Sign in</button></form>

| a | b |
|---|---|
| `code <b>` | ~~gone~~ |

</div></section></main><div data-action="/api/v1/keys" id="toast">
"""


def test_markdown_becomes_html() -> None:
    text = "# A\n\n1. *b*\n2. **c**\n\n> d\n\n```\n<e>\n```\n"
    assert render_markdown(text) == (
        "<h3>A</h3>\n<ol>\n<li><em>b</em></li>\n<li><strong>c</strong></li>\n</ol>\n"
        "<blockquote>\n<p>d</p>\n</blockquote>\n<pre><code>&lt;e&gt;\n</code></pre>\n"
    )


@pytest.mark.browser
def test_a_hostile_note_shows_as_text_and_does_nothing(
    controller: RunningController, client: Client, visitor: Visitor
) -> None:
    made = client.create(training_spec())
    client.annotate(made.id, note=HOSTILE)
    client.annotate_trial(f"{made.id}-000000", note=HOSTILE)
    page = visitor.sign_in(controller, "user")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for address in (f"/experiments/{made.id}", f"/trials/{made.id}-000000"):
        page.goto(f"{controller.url}{address}")
        note = page.locator(".note-text")
        sync_api.expect(note.get_by_role("heading", name="Title")).to_be_visible()
        sync_api.expect(note).to_contain_text("window.hurt = 1")
        assert page.evaluate("window.hurt") is None
        inside = "[...document.querySelectorAll('.note-text *')]"
        tags = set(page.evaluate(f"{inside}.map((node) => node.localName)"))
        assert tags <= {"h3", "p", "a", "table", "thead", "tbody", "tr", "th", "td", "code", "s"}
        attributes = set(page.evaluate(f"{inside}.flatMap((node) => node.getAttributeNames())"))
        assert attributes == {"href", "title", "rel"}
        links = page.evaluate("[...document.querySelectorAll('.note-text a')].map((node) => [node.href, node.rel])")
        assert ["https://elsewhere.example/?a=1&b=2", "noopener noreferrer nofollow"] in links
        for url, relation in links:  # a scheme with an escaped tab in it is a path below this page
            assert url.startswith(("https://elsewhere.example/", f"{controller.url}/"))
            assert relation == "noopener noreferrer nofollow"
        assert page.locator("#toast").count() == 1
    assert all(url.startswith(controller.url) for url in asked)
