"""One user's folder: its paths, published artefacts, locks, settings, and the errors they raise."""

from omnisearch.data.workspace.paths import Workspace

__all__ = ["Workspace"]
