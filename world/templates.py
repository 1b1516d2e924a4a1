"""Sentence patterns in seven languages: titles, descriptions, boards and query endings.

`{}` stands for a noun phrase such as 'boho linen curtains'.
"""

from __future__ import annotations

from typing import Final

Patterns = dict[str, tuple[str, ...]]

# Attribute groups in phrase order, before or after the noun.
BEFORE_NOUN: Final = ("en", "ja")
ORDER_BEFORE: Final = [
    "manner",
    "season",
    "style",
    "colour",
    "pattern",
    "material",
    "taste",
    "place",
    "room",
    "occasion",
    "audience",
]
ORDER_AFTER: Final = [
    "taste",
    "material",
    "colour",
    "pattern",
    "style",
    "audience",
    "room",
    "occasion",
    "season",
    "place",
    "manner",
]

PIN_TITLES: Final[Patterns] = {
    "en": ("{}", "{}", "{} ideas", "{} inspiration", "The best {}", "{} we love", "Our new {}"),
    "de": ("{}", "{}", "{} – Ideen", "Inspiration: {}", "{} zum Verlieben", "Unser Tipp: {}"),
    "fr": ("{}", "{}", "Idées : {}", "{} – inspiration", "Coup de cœur : {}", "{} à adopter"),
    "es": ("{}", "{}", "Ideas: {}", "{} – inspiración", "{} que enamora", "Lo mejor: {}"),
    "it": ("{}", "{}", "Idee: {}", "{} – ispirazione", "{} da copiare", "Il meglio: {}"),
    "ja": ("{}", "{}", "{}のアイデア", "{}の実例", "おすすめの{}", "素敵な{}"),
    "ru": ("{}", "{}", "Идеи: {}", "{} – вдохновение", "Красиво: {}", "{}: подборка"),
}

# Uninformative titles.
VAGUE_TITLES: Final[Patterns] = {
    "en": ("Love this!", "So pretty", "Need this", "For later", "Obsessed", "Yes please", "Wow"),
    "de": ("Wunderschön", "Will ich haben", "Für später", "Ein Traum", "So toll"),
    "fr": ("Trop beau", "J'adore", "Pour plus tard", "Magnifique", "Je veux"),
    "es": ("Me encanta", "Qué bonito", "Para después", "Precioso", "Lo quiero"),
    "it": ("Bellissimo", "Lo adoro", "Per dopo", "Che meraviglia", "Lo voglio"),
    "ja": ("素敵", "これ好き", "あとで見る", "ほしい", "お気に入り"),
    "ru": ("Красота", "Хочу", "На потом", "Очень нравится", "Супер"),
}

DESCRIPTIONS: Final[Patterns] = {
    "en": (
        "{}. Save it for later and click through for the details.",
        "Looking for {}? Here is one that works in every home and on every budget.",
        "A closer look at {}, with tips on how we chose it.",
        "{}: what to look for, what it costs and where to start.",
    ),
    "de": (
        "{}. Jetzt merken und später in Ruhe ansehen.",
        "{}: worauf es ankommt, was es kostet und wie man anfängt.",
        "Hier gibt es {} mit vielen Tipps zum Nachmachen.",
    ),
    "fr": (
        "{}. À enregistrer pour plus tard, tous les détails sur le site.",
        "Envie de changement ? {}, avec nos conseils pour bien choisir.",
        "{} : ce qu'il faut savoir avant de se lancer.",
    ),
    "es": (
        "{}. Guárdalo para más tarde y descubre todos los detalles.",
        "{}: qué tener en cuenta, cuánto cuesta y por dónde empezar.",
        "Te enseñamos {} con consejos fáciles de seguir.",
    ),
    "it": (
        "{}. Salvalo per dopo e scopri tutti i dettagli.",
        "{}: cosa sapere, quanto costa e da dove cominciare.",
        "Ecco {} con tanti consigli pratici.",
    ),
    "ja": (
        "{}を詳しく紹介します。保存してあとでチェックしてください。",
        "{}の選び方とポイントをまとめました。",
        "{}が気になる方へ。参考にどうぞ。",
    ),
    "ru": (
        "{}. Сохраните, чтобы не потерять.",
        "{}: на что обратить внимание и с чего начать.",
        "Показываем {} и делимся советами.",
    ),
}

TIDY_BOARDS: Final[Patterns] = {
    "en": ("{}", "{}", "{} ideas", "{} inspo", "My {}", "{} 2023", "Favorite {}"),
    "de": ("{}", "{}", "{} Ideen", "Meine Sammlung: {}", "{} 2023"),
    "fr": ("{}", "{}", "Idées {}", "Ma sélection {}", "{} 2023"),
    "es": ("{}", "{}", "Ideas de {}", "Mi colección: {}", "{} 2023"),
    "it": ("{}", "{}", "Idee {}", "La mia raccolta: {}", "{} 2023"),
    "ja": ("{}", "{}", "{}まとめ", "{}のアイデア", "好きな{}"),
    "ru": ("{}", "{}", "Идеи: {}", "Моё: {}", "{} 2023"),
}

USELESS_BOARDS: Final[Patterns] = {
    "en": (
        "stuff",
        "my board",
        "Things I like",
        "misc",
        "random",
        "wishlist",
        "Saved",
        "pins",
        "♥",
    ),
    "de": ("Sachen", "Mein Board", "Dies und das", "Sonstiges", "Schnelle Merkliste", "❤"),
    "fr": ("trucs", "mon tableau", "J'aime", "divers", "à voir", "vrac"),
    "es": ("cosas", "mi tablero", "Me gusta", "varios", "guardados", "todo"),
    "it": ("cose", "la mia bacheca", "Mi piace", "varie", "da vedere", "tutto"),
    "ja": ("いろいろ", "マイボード", "好きなもの", "その他", "メモ"),
    "ru": ("разное", "моя доска", "Нравится", "всякое", "сохранённое"),
}

QUERY_ENDINGS: Final[Patterns] = {
    "en": ("ideas", "inspiration", "aesthetic", "2024", "inspo", "pictures"),
    "de": ("ideen", "inspiration", "bilder", "2024"),
    "fr": ("idées", "inspiration", "tendance", "2024"),
    "es": ("ideas", "inspiración", "bonitos", "2024"),
    "it": ("idee", "ispirazione", "tendenze", "2024"),
    "ja": ("アイデア", "おしゃれ", "画像", "実例"),
    "ru": ("идеи", "фото", "вдохновение", "2024"),
}

# Patterns of a captioning model; always English.
CAPTIONS: Final = (
    "{}",
    "{}",
    "a photo of {}",
    "a close up of {}",
    "{} with a white background",
    "{} in the middle of the picture",
    "{} on display",
)

COUNTRIES: Final[dict[str, tuple[str, ...]]] = {
    "en": ("US", "US", "US", "GB", "CA", "AU"),
    "de": ("DE", "DE", "AT", "CH"),
    "fr": ("FR", "FR", "CA", "BE"),
    "es": ("MX", "ES", "AR", "CO"),
    "it": ("IT",),
    "ja": ("JP",),
    "ru": ("KZ", "RU", "GE"),
}

# Invented names; any resemblance to real companies is coincidental. Sites use the reserved
# top-level domain .example.
BRANDS: Final = (
    "Alderwick",
    "Bramblo",
    "Cindra & Moss",
    "Dovemark",
    "Elmstead Lane",
    "Fernwhistle",
    "Galdora",
    "Hollin & Reed",
    "Ivoryne",
    "Juno Marsh",
    "Kestrelby",
    "Lumafield",
    "Mirelle Ost",
    "Nordvane",
    "Ostrelle",
    "Pennywharf",
    "Quillon",
    "Rosendal Works",
    "Solvanta",
    "Tamberly",
    "Umbrio",
    "Velkari",
    "Wrenhouse",
    "Yarrowby",
    "Zephra Lane",
    "Arctelle",
    "Birchenough Co",
    "Corallune",
    "Dustin Vale",
    "Everlode",
    "Foxglen",
    "Grovanna",
)
SITES: Final = ("corner", "daily", "notes", "studio", "lovers", "journal", "market", "club")
