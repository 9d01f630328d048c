"""Write the chart's README.md: every value with its default and what the comments of values.yaml say of it.

python deploy/make_chart_readme.py
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parent.parent / "helm"
README = CHART / "README.md"
HEADER = """# The chart paploss

<!-- Made by deploy/make_chart_readme.py from Chart.yaml and values.yaml. -->

{description}. [docs/cluster.md](../docs/cluster.md) is the way from nothing to a search, with a table of what may go
wrong; `deploy/values/` has values that are ready for a node, a cloud, an air-gapped site and Kueue.

```
helm install paploss ./helm --namespace paploss --create-namespace -f my-values.yaml
helm test paploss --namespace paploss --logs
```

Kubernetes {kubernetes}. Every value is checked: a wrong one is refused with its path and what is expected.

| value | default | |
|---|---|---|
"""


def render() -> str:
    """The README's text."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    head = HEADER.format(description=chart["description"], kubernetes=chart["kubeVersion"].removesuffix("-0"))
    rows = [
        f"| `{path}` | {_cell(f'`{default}`') if default else ''} | {_cell(text)} |"
        for path, default, text in read_values()
    ]
    return head + "\n".join(rows) + "\n"


def read_values() -> Iterator[tuple[str, str, str]]:
    """Path, default and description of each value; of a mapping with a description too, without a default."""
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    yield from _walk(root, text.splitlines(), "")


def _walk(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        description = _describe(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            if description:
                yield path, "", description
            yield from _walk(value, lines, f"{path}.")
        else:
            default = json.dumps(yaml.safe_load(yaml.serialize(value)))
            yield path, default, description or _trailing(lines[key.start_mark.line])


def _describe(lines: list[str], line: int) -> str:
    """The comment above a key that begins with `# --`, as one line."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words = [text.strip().removeprefix("#") for text in lines[first:line]]
    if not words or not words[0].strip().startswith("--"):
        return ""
    # What is indented further is an example, which the values show.
    return " ".join(word.strip() for word in words if not word.startswith("   ")).removeprefix("-- ")


def _trailing(line: str) -> str:
    found = re.search(r"\s# (.+)$", line)
    return found.group(1) if found else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    README.write_text(render())
