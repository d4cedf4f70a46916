"""What a submission knows of the workers of this machine, from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from labelmill.core.settings import ENV_FILE


class ImageSettings(BaseSettings):
    """The folder that workers read images under, where it is set here too."""

    model_config = SettingsConfigDict(
        env_prefix="LABELMILL_", env_file=ENV_FILE, extra="ignore", frozen=True
    )

    image_root: Path | None = None

    def is_outside(self, uri: str) -> bool:
        """Whether workers with the same setting would refuse to read this path."""
        if self.image_root is None or "://" in uri or uri.startswith("upload:"):
            return False
        return not Path(uri).resolve().is_relative_to(self.image_root.resolve())

    def refusal(self, images: str) -> str:
        """What to do about images outside of the root.

        Parameters:
            images: which ones, with the verb.
        """
        return (
            f"{images} outside of LABELMILL_IMAGE_ROOT ({self.image_root}), where workers refuse "
            "to read them: use --upload, or --inline for small ones"
        )
