"""Models of requests and answers, for validation and for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TEXT = 4096  # characters of a query; the engine uses the first 512

Query = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Id = Annotated[str, Field(min_length=1, max_length=512)]


class Said(BaseModel):
    what: str = Field(description="What happened, in one sentence.")
    where: str = Field(description="The parameter, field or header that it is about; may be empty.")
    how: str = Field(description="What to do about it; may be empty.")
    fields: list[dict[str, Any]] | None = Field(
        None, description="Each parameter or field that is wrong, where there can be several."
    )


class ErrorAnswer(BaseModel):
    error: Said


class Hit(BaseModel):
    rank: int
    entity: Literal["pin", "product"]
    id: str
    score: float
    title: str
    image: str | None = Field(
        description="A path of this service, or a URL of an allowed image origin."
    )
    link: str | None
    price: float | None
    currency: str | None
    brand: str | None
    is_ad: bool
    explain: dict[str, Any] | None
    highlights: list[tuple[int, int]] = Field(
        description="[start, end) of the title's words that the query has, in Unicode code points."
    )
    campaign: str | None = Field(description="Of an ad: whose it is; null if it is none.")


class RelatedQuery(BaseModel):
    query: str
    score: float


class FacetValue(BaseModel):
    value: str
    count: int
    filter: str = Field(description="What to send as `filter` to keep these.")
    chosen: bool = Field(description="Whether the search is filtered by it.")


class Facet(BaseModel):
    name: str
    kind: Literal["text", "list", "number", "flag", "path"]
    values: list[FacetValue]
    more: int = Field(description="How many further values there are.")
    least: float | None
    most: float | None
    parent: str = Field(description="Of a category path: the node whose children are counted.")


class Part(BaseModel):
    name: str = Field(description="Of the experiment.")
    variant: str = Field(description="The one whose results these are.")


class SearchAnswer(BaseModel):
    query: str = Field(description="The query of the request, normalised.")
    searched: str = Field(
        description="The query that was searched for: words that no item contains are respelled."
    )
    language: str | None = Field(description="The query's language; null if it is not known.")
    language_source: Literal["caller", "log", "detected"] | None
    hits: list[Hit]
    related: list[RelatedQuery]
    generation: int = Field(description="Number of the index generation that answered.")
    took_ms: float
    total: int = Field(
        description="The number of results on all pages, with those that are only near the query."
    )
    matching: int = Field(
        description="How many items have all words of the query and meet the filters, also those "
        "beyond the last page."
    )
    page: int
    system: str
    cached: bool | None
    stages: dict[str, float]
    notes: list[str]
    degraded: list[str] = Field(description="Sources and stages left out to meet the deadline.")
    nothing_fits: bool = Field(
        description="Whether no item has a word of the query and none is near to it."
    )
    tried: list[str] = Field(description="What was tried where nothing fits, in sentences.")
    rules: list[str] = Field(description="With `explain`, the shop's rules that act on the query.")
    facets: list[Facet] = Field(description="Those that were asked for.")
    experiment: Part | None = Field(description="Null for who takes part in none.")
    request_id: str = Field(description="To be sent back with the events that follow.")


class Suggested(BaseModel):
    text: str = Field(description="What to search for; a category is a path such as A > B.")
    kind: Literal["query", "category", "brand", "title"]
    count: int = Field(
        description="How many people asked the query, how many items have the brand or are in the "
        "category; of a title its items, and how often these were engaged."
    )
    highlights: list[tuple[int, int]] = Field(
        description="[start, end) of what was typed, in Unicode code points of the text."
    )
    typos: int = Field(description="Between what was typed and what was found.")
    filter: str | None = Field(
        description="Of a brand or a category: the `filter` of a search for what is in it."
    )


class SuggestAnswer(BaseModel):
    query: str
    generation: int = Field(description="Number of the index generation that answered.")
    suggestions: list[Suggested]
    request_id: str


class EmbedAnswer(BaseModel):
    query: str
    checkpoint: str
    dim: int
    embedding: list[float]
    cached: bool


class EmbedRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    queries: list[Query] = Field(min_length=1)


class EmbedBatchAnswer(BaseModel):
    checkpoint: str
    dim: int
    count: int
    embeddings: list[list[float]]


class RelatedAnswer(BaseModel):
    query: str
    generation: int
    related: list[RelatedQuery]
    degraded: list[str]
    request_id: str


class SimilarAnswer(BaseModel):
    entity: str
    id: str
    generation: int
    hits: list[Hit]
    request_id: str


class ComparedHit(BaseModel):
    rank: int
    entity: Literal["pin", "product"]
    id: str
    score: float
    title: str
    brand: str
    price: float | None
    currency: str
    image: str | None
    link: str | None
    is_ad: bool
    also: list[str] = Field(description="The other systems that show this result too.")
    gain: float | None
    relevant: bool | None


class ComparedColumn(BaseModel):
    system: str
    took_ms: float
    hits: list[ComparedHit]
    relevant: int
    irrelevant: int
    unjudged: int
    ndcg: float | None
    condensed_ndcg: float | None = Field(
        description="nDCG@10 of the first 100 results without the unjudged ones."
    )


class CompareAnswer(BaseModel):
    query: str
    k: int
    generation: int
    columns: list[ComparedColumn]
    overlap: dict[str, int]
    related: list[str]
    judged: int
    level: float
    notes: list[str]
    top_grades: dict[str, float] = Field(
        description="Highest grade of each data set, by the part of its ids before ':'."
    )
    request_id: str
