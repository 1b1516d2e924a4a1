"""Where everything of a workspace lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnisearch.data.workspace.errors import NotReady


@dataclass(frozen=True)
class Workspace:
    """Paths inside a workspace folder. Nothing is written outside `root`."""

    root: Path

    @classmethod
    def create(cls, root: str | Path) -> Workspace:
        """The workspace at `root`, made if it is not there."""
        path = Path(root)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, root: str | Path) -> Workspace:
        """The workspace at `root`; raises NotReady if it holds no catalogue."""
        workspace = cls(Path(root))
        if not workspace.catalogue.exists():
            raise NotReady(
                "There is no catalogue in this workspace.",
                where=str(workspace.root),
                how="Run `omnisearch import FILES` first, or name another folder with --workspace.",
            )
        return workspace

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue.db"

    @property
    def query_cache(self) -> Path:
        return self.root / "query_cache.db"

    @property
    def feedback(self) -> Path:
        """Events and judgments that a service has acknowledged."""
        return self.root / "feedback.db"

    @property
    def settings(self) -> Path:
        return self.root / "omnisearch.toml"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def signals(self) -> Path:
        return self.root / "signals"

    @property
    def generations(self) -> Path:
        return self.root / "generations"

    @property
    def exports(self) -> Path:
        """Query towers as ONNX, by checkpoint."""
        return self.root / "exports"

    @property
    def current(self) -> Path:
        """The file that names the live generation."""
        return self.root / "CURRENT"

    @property
    def rankers(self) -> Path:
        return self.root / "rankers"

    @property
    def item_vectors(self) -> Path:
        return self.root / "item_vectors"

    @property
    def graph(self) -> Path:
        """The trained networks of PinSage and ItemSage."""
        return self.root / "graph"

    @property
    def rejects(self) -> Path:
        return self.root / "rejects"

    @property
    def judging(self) -> Path:
        """What people are asked about results, and their answers; a folder for each judging."""
        return self.root / "judging"
