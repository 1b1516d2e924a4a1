"""Names of encoders that there are not, and a hub that does not answer."""

from __future__ import annotations

import huggingface_hub
import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders import hub
from omnisearch.encoders.cross_encoder import CrossEncoder
from omnisearch.encoders.models.query import named_backbone
from omnisearch.encoders.text_encoder import encoder_folder
from omnisearch.enrichment.vision_models import load_model


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked for, of a hub that cannot be reached."""
    found: list[str] = []

    class Session:
        def head(self, address: str, timeout: float) -> None:
            assert timeout < 5
            found.append(address)
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    hub._answers.cache_clear()
    yield found
    hub._answers.cache_clear()


def test_a_misspelt_encoder_is_refused_with_those_that_are_known(tmp_path, asked) -> None:
    for opened in (lambda name: encoder_folder(Workspace(tmp_path), name), CrossEncoder):
        with pytest.raises(InputError, match=r"^minlm: .* minilm \((installed|needs).* and e5 \("):
            opened("minlm")
    with pytest.raises(InputError, match="no such model folder"):
        load_model(None, "clip")
    (tmp_path / "mine").mkdir()
    for file in ("config.json", "model.safetensors"):
        (tmp_path / "mine" / file).touch()
    assert encoder_folder(Workspace(tmp_path), str(tmp_path / "mine")) == str(tmp_path / "mine")
    assert asked == []


def test_a_folder_without_a_model_is_told_in_words(tmp_path, asked) -> None:
    for opened in (
        lambda name: encoder_folder(Workspace(tmp_path), name),
        CrossEncoder,
        lambda name: load_model(None, name),
    ):
        with pytest.raises(InputError) as error:
            opened(str(tmp_path))
        assert str(error.value) == (
            f"{tmp_path}: This folder holds no model: it has no config.json and no weights in "
            "model.safetensors. Name the folder that a model was saved or downloaded into."
        )
    assert asked == []


def test_a_hub_that_does_not_answer_is_asked_once(asked) -> None:
    for name in ("owner/one", "owner/two"):
        with pytest.raises(InputError, match="cannot be loaded"):
            named_backbone(name)
    assert len(asked) == 1
