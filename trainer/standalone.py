"""A Parameterized AP Loss as one Python file that needs torch and nothing of ours: `paploss.losses.standalone`, with
other parameters in it."""

import ast
import json
from pathlib import Path

import paploss
from paploss.files import whole_file
from paploss.jobs.losses import FUNCTION_NAMES, HeadLoss, LossSpec, ParameterizedAP
from paploss.trainer.errors import UserError

TEMPLATE = Path(paploss.__file__).parent / "losses" / "standalone.py"


def write_module(loss: LossSpec, origin: str, file: Path) -> None:
    """Writes to `file` the module of a loss; `origin` is a line for its docstring that says where the loss is from.

    Raises:
        UserError: the loss is another one, `top_k` is set, or a head has no H1.
    """
    text = render_module(loss, origin)
    with whole_file(file) as output:
        output.write(text.encode())


def render_module(loss: LossSpec, origin: str) -> str:
    """The text of the module; arguments and errors as of `write_module`."""
    if not isinstance(loss, ParameterizedAP):
        raise UserError(f"loss: expected parameterized_ap, which has parameters to export, got {loss.name}")
    if loss.top_k is not None:
        raise UserError(f"loss.top_k: expected none, the module ranks among all entries, got {loss.top_k}")
    source = TEMPLATE.read_text()
    of_heads, of_extensions = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    lines = source.splitlines()
    extensions = {name: head.extensions for name, head in loss.heads.items() if head.extensions}
    lines[of_extensions.lineno - 1] = f"EXTENSIONS = {extensions!a}"
    heads = [line for name, head in loss.heads.items() for line in _head(name, head)]
    lines[of_heads.lineno - 1 : of_heads.end_lineno] = ["HEADS = {", *heads, "}"]
    origin = ascii(" ".join(origin.split()))[1:-1].replace('"""', "'''")  # names may hold anything
    lines[0] += f"\n\n{origin}" if origin else ""
    return "# ruff: noqa: E501\n" + "\n".join(lines) + "\n"


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
