"""Pictures of items: local files by a path of this service, remote ones by origins one trusts."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit


class Pictures:
    """What an answer says of an item's picture.

    Attributes:
        origins: from which remote pictures may be shown.
    """

    def __init__(self, origins: str) -> None:
        self.origins = frozenset(origins.split())

    def shown(self, hit: Any) -> str | None:
        """The address that a page may show of a hit, None where there is none."""
        return self.shown_as(hit.entity, hit.id, hit.image)

    def shown_as(self, entity: str, key: str, image: str | None) -> str | None:
        """The same, of an item whose `image` this is."""
        if not image:
            return None
        head = image[:8].lower()
        if head.startswith(("http://", "https://")):
            try:
                parts = urlsplit(image)
            except ValueError:
                return None
            return image if f"{parts.scheme}://{parts.netloc}" in self.origins else None
        return f"/pictures/{entity}/{quote(key, safe='')}"
