"""A WordPiece tokeniser trained on the catalogue, for a query encoder without a hub (§3.4.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece
from transformers import PreTrainedTokenizerFast

from omnisearch.data.text.normalise import MAX_QUERY_CHARS, is_unspaced, normalise

# The special word pieces by their names in transformers.
_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_INSIDE = "##"  # prefix of a piece inside a word


def train_wordpiece(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A tokeniser of at most `size` pieces that can spell the characters of `texts`.

    At most half of the pieces are single characters; in a corpus with more, the rarest become
    [UNK]. The same texts give the same tokeniser: the library's trainer numbers inner characters in
    the order of a randomly seeded hash table, which decides ties, so they are numbered here.
    """
    words = _count_words(texts)
    singles = _characters(words, size // 2)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*_SPECIAL.values(), *singles],
        show_progress=False,
    )
    learner = _tokeniser({"[UNK]": 0})
    learner.train_from_iterator(_spellable(words, set(singles)), trainer)
    tokeniser = _tokeniser(learner.get_vocab(with_added_tokens=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokeniser, **_SPECIAL)


def _tokeniser(pieces: dict[str, int]) -> Tokenizer:
    # In a script without spaces, a query is one long word.
    model = WordPiece(
        pieces, unk_token=_SPECIAL["unk_token"], max_input_chars_per_word=MAX_QUERY_CHARS
    )
    tokeniser = Tokenizer(model)
    tokeniser.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokeniser.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if _SPECIAL["cls_token"] in pieces:
        separator, first = _SPECIAL["sep_token"], _SPECIAL["cls_token"]
        tokeniser.post_processor = processors.BertProcessing(
            (separator, pieces[separator]), (first, pieces[first])
        )
    return tokeniser


def _count_words(texts: Iterable[str]) -> Counter[str]:
    plain = _tokeniser({"[UNK]": 0})
    counts: Counter[str] = Counter()
    for text in texts:
        # Queries are encoded normalised (`models.query`), so train on normalised text.
        folded = plain.normalizer.normalize_str(normalise(text))
        counts.update(word for word, _ in plain.pre_tokenizer.pre_tokenize_str(folded))
    return counts


def _characters(words: Counter[str], most: int) -> list[str]:
    """The most frequent single characters, prefixed if inside words, in a fixed order.

    The trainer also adds the unprefixed form of each character, so both are counted. In scripts
    without spaces a query may begin anywhere in a title, so both forms of each are kept.
    """
    counts: Counter[str] = Counter()
    for word, times in words.items():
        counts[word[0]] += times
        for character in word[1:]:
            counts[_INSIDE + character] += times
    chosen: set[str] = set()
    for piece in sorted(counts, key=lambda piece: (-counts[piece], piece)):
        plain = piece.removeprefix(_INSIDE)
        forms = {piece, plain, _INSIDE + plain} if is_unspaced(plain) else {piece, plain}
        if len(chosen | forms) <= most:
            chosen |= forms
    return sorted(chosen)


def _spellable(words: Counter[str], singles: set[str]) -> Iterator[str]:
    for word in sorted(words):
        if word[0] in singles and all(_INSIDE + character in singles for character in word[1:]):
            yield " ".join([word] * min(words[word], 1000))
