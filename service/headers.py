"""Headers of every answer, and the CORS headers for allowed origins."""

from __future__ import annotations

from omnisearch.service.config import ServiceConfig

COOKIE = "omnisearch_key"  # holds the API key that a reader has entered on a page
Headers = list[tuple[bytes, bytes]]


def content_policy(config: ServiceConfig) -> str:
    """The Content-Security-Policy: nothing from other origins but images of trusted ones."""
    images = " ".join(["'self'", "data:", *config.image_origins.split()])
    return (
        f"default-src 'self'; img-src {images}; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )


def common_headers(config: ServiceConfig) -> Headers:
    """Headers of every answer."""
    return [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"content-security-policy", content_policy(config).encode()),
    ]


def cors_headers(origin: bytes) -> Headers:
    """Headers that let a page of this origin read the answer."""
    exposed = b"X-Request-Id, X-Dim, X-Count, X-Checkpoint, Retry-After"
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", exposed),
        (b"vary", b"Origin"),
    ]


PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, X-Api-Key, X-Request-Id"),
    (b"access-control-max-age", b"600"),
]
