"""The paths of a workspace; docs/reference/workspace.md has them as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.leftovers import remove_leftovers_in, remove_leftovers_of_root

TRUTH = "truth.safetensors"  # in the folder of a sample world, and in a workspace


def check_name(name: str, what: str) -> str:
    """The name that a user gave; raises InputError if it cannot be used as a file name."""
    if not name or name.startswith(".") or Path(name).name != name:
        raise InputError(
            f"{name!r} is not a valid name for a {what}.",
            how="Use letters, digits and dashes.",
        )
    return name


def check_folder(root: Path) -> None:
    """Raise InputError if a file stands where a workspace is named."""
    if root.is_file():
        raise InputError(
            "This is a file, and a workspace is a folder.",
            where=str(root),
            how="Name a folder with --workspace.",
        )


@dataclass(frozen=True)
class Workspace:
    """Paths inside a workspace folder. Nothing is written outside `root`."""

    root: Path

    @classmethod
    def create(cls, root: str | Path) -> Workspace:
        """The workspace at `root`, created if missing."""
        path = Path(root)
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, root: str | Path, *, writing: bool = False) -> Workspace:
        """The workspace at `root`; raises NotReady if it has no catalogue.

        A command that writes sets `writing`: `remove_leftovers` is called.
        """
        workspace = cls(Path(root))
        check_folder(workspace.root)
        if not workspace.catalogue.exists():
            raise NotReady(
                "There is no catalogue in this workspace.",
                where=str(workspace.root),
                how="Run `omnisearch import FILES` first, or name another folder with --workspace.",
            )
        if writing:
            remove_leftovers(workspace)
        return workspace

    @property
    def settings(self) -> Path:
        """The user's settings, TOML."""
        return self.root / "omnisearch.toml"

    # Imported data and the results of enrichment.

    @property
    def catalogue(self) -> Path:
        """The SQLite database of items, queries, engagements and judgments."""
        return self.root / "catalogue.db"

    @property
    def item_vectors(self) -> Path:
        """Imported or trained vectors of items: memory-mapped arrays and their ids."""
        return self.root / "item_vectors"

    @property
    def rejects(self) -> Path:
        """The refused rows of each import, and the refused pictures of each enrichment."""
        return self.root / "rejects"

    def refused_pictures(self, enrichment: str) -> Path:
        """The pictures that an enrichment could not read, JSONL."""
        return self.rejects / f"{enrichment}.jsonl"

    @property
    def feedback(self) -> Path:
        """Events and judgments that a service has acknowledged, SQLite."""
        return self.root / "feedback.db"

    @property
    def text_cache(self) -> Path:
        """Cached vectors of texts by a pretrained encoder, SQLite."""
        return self.root / "text_cache.db"

    @property
    def image_cache(self) -> Path:
        """Cached results of pretrained models for pictures, SQLite."""
        return self.root / "image_cache.db"

    @property
    def text_encoders(self) -> Path:
        """Text encoders that were tuned to the log."""
        return self.root / "text_encoders"

    @property
    def graph(self) -> Path:
        """The trained networks of PinSage and ItemSage, a folder for each."""
        return self.root / "graph"

    def current_network(self, name: str) -> Path:
        """The file that names the current network."""
        return self.graph / name / "CURRENT"

    # Trained encoders.

    @property
    def checkpoints(self) -> Path:
        """Trained encoders, one folder per name."""
        return self.root / "checkpoints"

    def best_checkpoint(self, name: str) -> Path:
        """The file that names the checkpoint used for serving."""
        return self.checkpoints / name / "BEST"

    def last_checkpoint(self, name: str) -> Path:
        """The file that names the checkpoint that training resumes from."""
        return self.checkpoints / name / "LAST"

    def training_lock(self, name: str) -> Path:
        """The lock of the process that trains under this name."""
        return self.checkpoints / name / ".lock"

    def tensorboard(self, name: str) -> Path:
        """TensorBoard logs of the trainings under this name."""
        return self.checkpoints / name / "tensorboard"

    @property
    def exports(self) -> Path:
        """Query towers as ONNX."""
        return self.root / "exports"

    def export(self, checkpoint: str) -> Path:
        """The query tower of one checkpoint as ONNX."""
        return self.exports / checkpoint

    @property
    def classifiers(self) -> Path:
        """Classifiers of queries."""
        return self.root / "classifiers"

    def classifier(self, name: str) -> Path:
        """One classifier, safetensors."""
        return self.classifiers / f"{name}.safetensors"

    # Indexes.

    @property
    def signals(self) -> Path:
        """The encoded items."""
        return self.root / "signals"

    def signals_of(self, checkpoint: str) -> Path:
        """The items encoded by one checkpoint."""
        return self.signals / checkpoint

    def current_signals(self, checkpoint: str) -> Path:
        """The file that names the newest of them."""
        return self.signals / checkpoint / "CURRENT"

    @property
    def generations(self) -> Path:
        """Published indexes."""
        return self.root / "generations"

    def generation(self, number: int | str) -> Path:
        """One published index."""
        return self.generations / str(number)

    @property
    def current(self) -> Path:
        """The file that names the live generation."""
        return self.root / "CURRENT"

    @property
    def index_lock(self) -> Path:
        """The lock of the process that builds indexes."""
        return self.root / ".index.lock"

    @property
    def publish_lock(self) -> Path:
        """The lock of the process that publishes indexes."""
        return self.root / ".publish.lock"

    @property
    def refresh_lock(self) -> Path:
        """The lock of the process that refreshes the workspace."""
        return self.root / ".refresh.lock"

    @property
    def refresh_report(self) -> Path:
        """What the last refresh did, JSON."""
        return self.root / "refresh.json"

    # Ranking and serving.

    @property
    def rankers(self) -> Path:
        """Trained rankers."""
        return self.root / "rankers"

    @property
    def current_rankers(self) -> Path:
        """The file that names the live rankers."""
        return self.rankers / "CURRENT"

    @property
    def rules(self) -> Path:
        """The rules of a shop, a folder for each version."""
        return self.root / "rules"

    @property
    def current_rules(self) -> Path:
        """The file that names the live version of the rules."""
        return self.rules / "CURRENT"

    @property
    def experiments(self) -> Path:
        """Experiments on traffic, a file for each, and the key of users' hashes."""
        return self.root / "experiments"

    @property
    def current_experiment(self) -> Path:
        """The file that names the running experiment."""
        return self.experiments / "CURRENT"

    @property
    def searches(self) -> Path:
        """The log of searches of an experiment's users, and of the ads shown, SQLite."""
        return self.root / "searches.db"

    @property
    def ads(self) -> Path:
        """Campaigns, and the models of their ads."""
        return self.root / "ads"

    @property
    def campaigns(self) -> Path:
        """Who advertises which items, JSONL."""
        return self.ads / "campaigns.jsonl"

    @property
    def ad_models(self) -> Path:
        """The calibrated models of ads, JSON."""
        return self.ads / "models.json"

    @property
    def teachers(self) -> Path:
        """Cross-encoders trained on the judgments."""
        return self.root / "teachers"

    @property
    def current_teacher(self) -> Path:
        """The file that names the current teacher."""
        return self.teachers / "CURRENT"

    @property
    def reranker(self) -> Path:
        """The exported teacher as ONNX."""
        return self.root / "reranker"

    @property
    def soft_labels(self) -> Path:
        """The grades by teachers, SQLite."""
        return self.root / "soft_labels.db"

    @property
    def query_cache(self) -> Path:
        """Query embeddings with a time to live, SQLite."""
        return self.root / "query_cache.db"

    # Judging, reproducing, and the demo.

    @property
    def judging(self) -> Path:
        """Questions to judges about results, and their answers."""
        return self.root / "judging"

    def judging_of(self, name: str) -> Path:
        """One judging."""
        return self.judging / name

    @property
    def made_of(self) -> Path:
        """In a copy that `omnisearch reproduce` works on: what it was copied from, JSON."""
        return self.root / "made_of.json"

    @property
    def truth(self) -> Path:
        """What is true of an imported sample world, for evaluation only."""
        return self.root / TRUTH

    @property
    def demo_mark(self) -> Path:
        """Marks a workspace that `omnisearch demo` made and may empty."""
        return self.root / "demo.json"

    @property
    def demo_world(self) -> Path:
        """The files of the sample world that a demo imported."""
        return self.root / "world"

    @property
    def demo_page(self) -> Path:
        """The comparison page that a demo wrote."""
        return self.root / "comparison.html"


def remove_leftovers(workspace: Workspace) -> None:
    """Remove what processes that were killed while writing left in a workspace."""
    remove_leftovers_of_root(workspace.root)
    remove_leftovers_in(
        *(workspace.item_vectors, workspace.rejects, workspace.graph, workspace.checkpoints),
        *(workspace.exports, workspace.classifiers, workspace.signals, workspace.generations),
        *(workspace.rankers, workspace.judging, workspace.text_encoders, workspace.teachers),
        *(workspace.rules, workspace.experiments, workspace.ads),
    )
