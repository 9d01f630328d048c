"""Reads the YAML files that people write; every fault is told with the file and the key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError

from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.starts import read_start
from paploss.client.loss_choice import LOSS_NAMES, choose_by_name
from paploss.client.specs import ComparisonSpec, Request, SearchSpec
from paploss.jobs.faults import describe_faults
from paploss.jobs.losses import LossSpec, check_fit
from paploss.jobs.messages import Message
from paploss.jobs.metrics import Reward
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import DatasetSpec, Overrides, RateFactor

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML's own loader takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class TrainingInput(Message):
    """What a training is made of, whichever files and options that came from."""

    profile: str
    dataset: DatasetSpec = DatasetSpec()
    weights: str | None = None
    overrides: Overrides = Overrides()
    gpus: int = Field(0, ge=0, le=64)
    gather_scores: bool = False
    loss: LossSpec
    learning_rate_factor: RateFactor = 1.0


def read_search(file: Path, data_root: Path | None = None, start_from: Sequence[str] = ()) -> SearchSpec:
    """The search that `file` describes; `data_root` takes the place of `dataset.root`.

    A relative root, and a relative file of weights, is meant from the file's own folder. `start_from` may hold
    `{file: PATH}`, what `paploss dump` or `paploss export` writes; the argument, of names and files, takes its place.

    Raises:
        CommandError: names the file and the key.
    """
    content = _read_request(file, data_root)
    if start_from:
        content["start_from"] = [read_start(Path(one)) if Path(one).is_file() else one for one in start_from]
    elif isinstance(content.get("start_from"), list):
        content["start_from"] = [
            read_start(file.parent / str(one["file"])) if isinstance(one, dict) and set(one) == {"file"} else one
            for one in content["start_from"]
        ]
    return _validate(SearchSpec, content, str(file))


def read_comparison(file: Path, data_root: Path | None = None) -> ComparisonSpec:
    """The comparison that `file` describes, as `read_search`.

    A loss may be given as `{file: PATH}` too: what `paploss export` writes, or a LossSpec; relative paths as above.

    Raises:
        CommandError: names the file and the key.
    """
    content = _read_request(file, data_root)
    if isinstance(content.get("losses"), list):
        content["losses"] = [_read_choice(choice, file.parent) for choice in content["losses"]]
    return _validate(ComparisonSpec, content, str(file))


def read_training(
    loss: str,
    like: Path | None,
    *,
    profile: str | None,
    data_root: Path | None,
    epochs: int | None,
    gpus: int | None,
    schedule: str,
) -> TrainingInput:
    """A training with `loss`, a name or a file, on the profile and data of `like`, or of the loss's own file.

    The number of epochs of a search is its proxies': a final training does not inherit it.

    Raises:
        CommandError: names the file or the option.
    """
    loss_content = None if loss in LOSS_NAMES else _read_loss_file(Path(loss))
    source = str(like or loss)
    given = _read_request(like, data_root) if like else dict(loss_content or {})
    if data_root is not None:
        given["dataset"] = _with_root(given.get("dataset"), data_root)
    profile = profile or given.get("profile")
    if profile is None:
        raise CommandError("--profile: expected one, or --like FILE, or a loss exported from a search", BAD_INPUT)
    if profile not in PROFILES:
        raise CommandError(f"--profile: expected one of {', '.join(PROFILES)}, got {profile!r}", BAD_INPUT)
    overrides = dict(given.get("overrides") or {})
    if epochs is not None or schedule == "final":
        overrides["epochs"] = epochs
    try:
        chosen = _trained_with(loss_content) if loss_content else {"loss": choose_by_name(loss).find_loss(profile)}
    except ValueError as error:
        raise CommandError(f"{loss}: {error}", BAD_INPUT) from None
    content = {name: given[name] for name in ("dataset", "weights", "gather_scores") if given.get(name)}
    default_gpus = given.get("gpus") if given.get("gpus") is not None else PROFILES[profile].gpus
    content |= {"profile": profile, "overrides": overrides, **chosen}
    content["gpus"] = default_gpus if gpus is None else gpus
    training = _validate(TrainingInput, content, source)
    try:
        check_fit(training.loss, profile)
    except ValueError as error:
        raise CommandError(f"{loss}: {error}", BAD_INPUT) from None
    return training


class DatasetInput(Message):
    """What a specification says of its data set and of who looks at it."""

    profile: str | None = None
    dataset: DatasetSpec = DatasetSpec()
    overrides: Overrides = Overrides()
    reward: Reward = "AP"


def read_dataset(file: Path, data_root: Path | None = None) -> DatasetInput:
    """The data set of a specification of any kind; `data_root` as in `read_search`.

    Raises:
        CommandError: names the file and the key.
    """
    content = _read_request(file, data_root)
    if not content.keys() & {"dataset", "profile"}:  # it would be taken for a search on the embedded data set
        hint = "; of a YOLO data set, name the folder" if "names" in content else ""
        raise CommandError(f"{file}: expected a specification, with a key 'dataset'{hint}", BAD_INPUT)
    return _validate(
        DatasetInput, {key: content[key] for key in DatasetInput.model_fields if key in content}, str(file)
    )


def find_data_roots(request: Request) -> list[Path]:
    """Folders that a controller must allow for it to take `request`."""
    roots = [Path(request.dataset.root)] if request.dataset.root else []
    return roots + ([Path(request.weights).parent] if request.weights else [])


def _read_choice(choice: Any, folder: Path) -> Any:
    if not isinstance(choice, dict) or "file" not in choice:
        return choice
    file = folder / str(choice["file"])
    content = _read_mapping(file)
    rest = {name: value for name, value in choice.items() if name != "file"}
    return {"label": file.stem, **_trained_with(content), **rest}


def _trained_with(content: Mapping[str, Any]) -> dict[str, Any]:
    """The loss of a file, and the factor on the learning rate where it is an export."""
    if "loss" not in content:
        return {"loss": content}
    return {name: content[name] for name in ("loss", "learning_rate_factor") if name in content}


def _read_loss_file(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise CommandError(f"{file}: neither a file nor one of {', '.join(LOSS_NAMES)}", BAD_INPUT)
    return _read_mapping(file)


def _read_request(file: Path, data_root: Path | None) -> dict[str, Any]:
    content = _read_mapping(file)
    dataset = content.get("dataset")
    if data_root is not None:
        content["dataset"] = _with_root(dataset, data_root)
    elif isinstance(dataset, dict) and isinstance(dataset.get("root"), str) and dataset["root"]:
        dataset["root"] = _resolve(file, dataset["root"])
    if isinstance(content.get("weights"), str):
        content["weights"] = _resolve(file, content["weights"])
    return content


def _resolve(file: Path, path: str) -> str:
    """A path in `file` as an absolute one; `~` is somebody's home, as in a shell."""
    try:
        return str((file.parent / Path(path).expanduser()).resolve())
    except RuntimeError as error:  # there is no such home
        raise CommandError(f"{file}: {path}: {error}", BAD_INPUT) from None


def _with_root(dataset: object, root: Path) -> dict[str, Any]:
    return (dataset if isinstance(dataset, dict) else {}) | {"root": str(root.expanduser().resolve())}


def _read_mapping(file: Path) -> dict[str, Any]:
    try:
        content = yaml.load(file.read_bytes(), _Loader)  # noqa: S506 (a safe one); UTF-8 or UTF-16, whatever the locale
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", BAD_INPUT) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: not valid YAML: {error}", BAD_INPUT) from None
    if not isinstance(content, dict):
        raise CommandError(f"{file}: expected keys with values, got {type(content).__name__}", BAD_INPUT)
    return content


def _validate(model: type[Model], content: Mapping[str, Any], source: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise CommandError(describe_faults(error, model, source), BAD_INPUT) from None
