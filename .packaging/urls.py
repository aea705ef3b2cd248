"""A hook of hatchling: the project's URLs, from the one address in pyproject.toml; none while that is empty."""

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {"Source": "", "Issues": "/issues", "Changelog": "/blob/main/popjax/README.md#changelog"}


class Urls(MetadataHookInterface):
    """Sets `project.urls`, which is dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        if address := self.config["address"].rstrip("/"):
            metadata["urls"] = {name: address + page for name, page in PAGES.items()}
