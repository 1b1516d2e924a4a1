"""Tiny randomly initialised vision models, saved as folders, and pictures: no hub is touched."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    CLIPConfig,
    CLIPModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

WORDS = "a photo of the red blue green lamp chair table dress cake garden with on white"


def save_blip(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    config = BlipConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 16,
            "encoder_hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 40,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
        },
        projection_dim=8,
        image_text_hidden_size=8,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    pixels = BlipImageProcessorPil(size={"height": 16, "width": 16})
    BlipProcessor(pixels, tokenizer).save_pretrained(folder)
    return folder


def save_vit(folder: Path, dim: int = 12, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=dim,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def save_clip(folder: Path, dim: int = 6) -> Path:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2}
    config = CLIPConfig(
        text_config=small | {"vocab_size": 9, "max_position_embeddings": 8},
        vision_config=small | {"image_size": 16, "patch_size": 8},
        projection_dim=dim,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
    return folder


def picture(path: Path, number: int, size: int = 24) -> str:
    """Write a picture that differs by number; its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (size, size), ((number * 37) % 256, (number * 91) % 256, 99))
    drawing = ImageDraw.Draw(image)
    drawing.ellipse((2, 2, 4 + number % 18, 20), fill=((number * 53) % 256, 200, 30))
    image.save(path)
    return path.name
