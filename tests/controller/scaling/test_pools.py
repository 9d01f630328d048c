from pathlib import Path
from typing import Any

import pytest
import yaml

from paploss.controller.scaling.errors import PoolsError
from paploss.controller.scaling.pools import Pool, read_pools


def write(folder: Path, **changes: Any) -> Path:
    pool = {"name": "gpu", "gpus": 1, "maximum": 2, "job": {}} | changes
    file = folder / "pools.yaml"
    described = {"namespace": "ml", "prefix": "demo", "owner": "demo-pools", "labels": {"a": "b"}, "pools": [pool]}
    file.write_text(yaml.safe_dump(described))
    return file


def test_pools_are_read_as_the_chart_writes_them(tmp_path: Path) -> None:
    (pool,) = read_pools(write(tmp_path)).pools
    assert (pool.name, pool.gpus, pool.minimum, pool.maximum) == ("gpu", 1, 0, 2)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"gpus": -1}, "gpus"), ({"minimum": 3}, "minimum"), ({"name": "GPU"}, "name"), ({"size": 1}, "size")],
)
def test_a_wrong_field_is_named_with_its_file(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(PoolsError, match=rf"pools\.yaml: pools\.0.*{field}"):
        read_pools(write(tmp_path, **changes))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolsError, match=r"worker_pools_file .*pools\.yaml"):
        read_pools(tmp_path / "pools.yaml")


def test_another_manifest_is_another_template() -> None:
    def template(image: str) -> str:
        return Pool.model_validate({"name": "a", "gpus": 0, "maximum": 1, "job": {"image": image}}).template

    assert template("one") == template("one") != template("two")
