"""A Parameterized AP Loss as one Python file that needs nothing of ours: `paploss.losses.standalone` with other
parameters in it, and, for a framework, one of `paploss.trainer.bridges` behind it."""

import ast
import json
from pathlib import Path

import paploss
from paploss.files import whole_file
from paploss.jobs.frameworks import Framework
from paploss.jobs.losses import FUNCTION_NAMES, HeadLoss, LossSpec, ParameterizedAP
from paploss.trainer.errors import UserError

TEMPLATE = Path(paploss.__file__).parent / "losses" / "standalone.py"
BRIDGES = Path(__file__).parent / "bridges"
ONE_HEAD = "bbox_head"
"""The head of a detector that has one, which is what the bridges are for."""


def write_module(loss: LossSpec, origin: str, file: Path, framework: Framework = "torch") -> None:
    """Writes to `file` the module of a loss.

    Args:
        loss: a Parameterized AP Loss.
        origin: a line for the module's docstring that says where the loss is from.
        file: is replaced.
        framework: whose form it takes.

    Raises:
        UserError: the loss is another one, `top_k` is set, a head has no H1, or the framework's form is for one head.
    """
    text = render_module(loss, origin, framework)
    with whole_file(file) as output:
        output.write(text.encode())


def render_module(loss: LossSpec, origin: str, framework: Framework = "torch") -> str:
    """The text of the module; arguments and errors as of `write_module`."""
    if not isinstance(loss, ParameterizedAP):
        raise UserError(f"loss: expected parameterized_ap, which has parameters to export, got {loss.name}")
    if loss.top_k is not None:
        raise UserError(f"loss.top_k: expected none, the module ranks among all entries, got {loss.top_k}")
    if framework != "torch" and set(loss.heads) != {ONE_HEAD}:
        got = ", ".join(loss.heads)
        raise UserError(f"loss.heads: expected {ONE_HEAD} alone for {framework}, got {got}; export it for torch")
    source = TEMPLATE.read_text()
    of_heads, of_extensions = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    lines = source.splitlines()
    extensions = {name: head.extensions for name, head in loss.heads.items() if head.extensions}
    lines[of_extensions.lineno - 1] = f"EXTENSIONS = {extensions!a}"
    heads = [line for name, head in loss.heads.items() for line in _head(name, head)]
    lines[of_heads.lineno - 1 : of_heads.end_lineno] = ["HEADS = {", *heads, "}"]
    origin = ascii(" ".join(origin.split()))[1:-1].replace('"""', "'''")  # names may hold anything
    lines[0] += f"\n\n{origin}" if origin else ""
    bridge = [] if framework == "torch" else _behind(lines, (BRIDGES / f"{framework}.py").read_text())
    return "# ruff: noqa: E402, E501\n" + "\n".join([*lines, *bridge]) + "\n"


def _behind(lines: list[str], bridge: str) -> list[str]:
    """The lines of a bridge that follow those of the loss, in whose docstring its own comes first."""
    docstring, *_ = ast.parse(bridge).body
    own = bridge.splitlines()
    told, code = own[: docstring.end_lineno], own[docstring.end_lineno :]
    lines[:1] = [*told[:-1], "", lines[0].removeprefix('"""')]
    return ["", *(line for line in code if not line.startswith("from paploss."))]


def _head(name: str, head: HeadLoss) -> list[str]:
    if len(head.control_points) != len(FUNCTION_NAMES):
        raise UserError(f"loss.heads[{name}]: expected {len(FUNCTION_NAMES)} functions, got {len(head.control_points)}")
    lines = [
        f"    {json.dumps(name)}: (",
        f'        "{head.quality}",',
        f"        {head.gradient_scale!r},",
        "        [",
    ]
    for function, points in zip(FUNCTION_NAMES, head.control_points, strict=True):
        interior = [coordinate for point in points[1:-1] for coordinate in point]
        lines.append(f"            {interior},  # {function}")
    return [*lines, "        ],", "    ),"]
