from pathlib import Path

import pytest
from pydantic import ValidationError

from paploss.controller.settings import Settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPLOSS_DATA_ROOTS", "/data:/more/data")
    monkeypatch.setenv("PAPLOSS_LEASE_SECONDS", "30")
    settings = Settings()
    assert settings.data_roots == (Path("/data"), Path("/more/data"))
    assert settings.lease_seconds == 30


def test_the_database_is_a_file_in_the_state_folder_by_default(tmp_path: Path) -> None:
    assert Settings(state_dir=tmp_path).resolved_database_url == f"sqlite:///{tmp_path}/paploss.db"
    assert Settings(database_url="postgresql://db/x").resolved_database_url == "postgresql://db/x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PAPLOSS_DATA_ROOTS", "data"), ("PAPLOSS_DATA_ROOTS", "/data/../etc"), ("PAPLOSS_PORT", "70000")],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("PAPLOSS_").lower()):
        Settings()


def test_a_lease_must_allow_for_more_than_one_renewal() -> None:
    with pytest.raises(ValidationError, match="renew_seconds"):
        Settings(lease_seconds=10, renew_seconds=6)


def test_secrets_come_from_files_named_after_their_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "paploss_database_url").write_text("postgresql://db/x\n")
    (tmp_path / "paploss_admin_key").write_text("a" * 40)
    monkeypatch.setenv("PAPLOSS_SECRETS_DIR", str(tmp_path))
    settings = Settings()
    assert settings.resolved_database_url == "postgresql://db/x"
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "a" * 40
    monkeypatch.setenv("PAPLOSS_DATABASE_URL", "postgresql://db/y")
    assert Settings().resolved_database_url == "postgresql://db/y"


def test_one_key_cannot_have_two_roles() -> None:
    with pytest.raises(ValidationError, match="viewer_key: expected another key than that of admin_key"):
        Settings(admin_key="a" * 40, worker_key="b" * 40, viewer_key="a" * 40)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="worker_key"):
        Settings(worker_key="short")
