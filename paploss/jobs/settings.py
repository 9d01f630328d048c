"""Where the settings of the controller's and the worker's processes come from."""

import os

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource


class ProcessSettings(BaseSettings):
    """Options, then the environment, then files named after the variables in the folder PAPLOSS_SECRETS_DIR."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not read)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (its folder would be fixed on import)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, strongest first."""
        folder = os.environ.get("PAPLOSS_SECRETS_DIR")
        files = (SecretsSettingsSource(settings_cls, folder),) if folder else ()
        return (init_settings, env_settings, *files)
