"""Markdown of an inline picture, as Dagster's UI shows it. Upstream: PNG bytes. Downstream: asset metadata."""

import base64


def markdown_image(png: bytes, alt: str) -> str:
    """The picture within the text, so that it needs no file."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"
