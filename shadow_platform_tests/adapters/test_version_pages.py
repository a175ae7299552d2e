"""Guarantees of the page of a comparison: complete in itself, safe, readable without colour, always the same."""

import re
from html.parser import HTMLParser

from shadow_platform.adapters.pages.card import card_html
from shadow_platform.adapters.pages.comparison import comparison_html
from shadow_platform.adapters.pages.rendering import PICTURE_TITLES
from shadow_platform.domain.versions import compare
from shadow_platform_tests.cli.versions_home import PNG
from shadow_platform_tests.versions import make_card, make_details, make_summary

PAIR = compare(make_details("1"), make_details("2", metrics={"roc_auc": 0.8, "log_loss": 0.4}, parameters={"C": 2.0}))
VOID = {"meta", "img", "br", "link", "input", "hr"}


class _Elements(HTMLParser):
    """Every element with its attributes; raises when one is closed that is not open."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_a_page_needs_no_network_and_runs_no_script():
    page = comparison_html(PAIR, {"roc": PNG}, {"roc": PNG})
    found = _Elements(page)
    assert found.open == []
    assert found.named("script") == found.named("link") == []
    assert not re.search(rb"https?://|url\(|@import|\son\w+=", page)
    assert {str(image["src"])[:22] for image in found.named("img")} == {"data:image/png;base64,"}
    assert any("default-src 'none'" in str(meta.get("content")) for meta in found.named("meta"))


def test_a_page_can_be_read_aloud_and_without_colour():
    page = comparison_html(PAIR, {"roc": PNG}, {"roc": PNG})
    found = _Elements(page)
    assert found.named("html")[0]["lang"] == "en"
    assert {heading.get("scope") for heading in found.named("th")} == {"col", "row"}
    assert [image["alt"] for image in found.named("img")] == ["ROC curve of Version 1", "ROC curve of Version 2"]
    assert b">differs<" in page
    overlapping = compare(make_details("1", metrics={"f1": 0.50}), make_details("2", metrics={"f1": 0.51}))
    assert b"but the intervals overlap" in comparison_html(overlapping, {}, {})
    assert b"but the intervals overlap" not in page


def test_text_from_outside_is_never_markup():
    evil = "<img src=x onerror=alert(1)>"
    pair = PAIR.model_copy(update={"a": make_summary("1", model_name=evil, aliases=(evil,))})
    page = comparison_html(pair, {evil: PNG}, {})
    assert evil.encode() not in page
    assert b"&lt;shop&gt;" in page
    assert all(set(image) == {"src", "alt"} for image in _Elements(page).named("img"))


def test_a_picture_that_one_side_lacks_is_named():
    text = comparison_html(PAIR, {"roc": PNG}, {"drawing": PNG}).decode()
    assert text.count("The training run of Version 1 holds no such picture.") == 1
    assert text.count("The training run of Version 2 holds no such picture.") == 1
    assert text.count("Neither training run holds pictures.") == 0
    assert "Neither training run holds pictures." in comparison_html(PAIR, {}, {}).decode()


def test_the_same_comparison_gives_the_same_page():
    assert comparison_html(PAIR, {"a": PNG, "b": PNG}, {}) == comparison_html(PAIR, {"b": PNG, "a": PNG}, {})


def test_what_is_not_known_is_marked_neither_as_the_same_nor_as_different():
    untold = make_details("2", fingerprints={})
    page = comparison_html(compare(make_details("1", fingerprints={"code": "c"}), untold), {}, {}).decode()
    (row,) = re.findall(r"<tr[^>]*><th scope=\"row\">code</th>.*?</tr>", page)
    assert "<td>not known</td>" in row
    assert "differs" not in row


def test_card_and_comparison_call_a_picture_by_one_name():
    for name, title in PICTURE_TITLES.items():
        assert title in comparison_html(PAIR, {name: PNG}, {}).decode()
        assert title in card_html(make_card(make_details("1").manifest), {name: PNG}).decode()


def test_an_interval_without_width_is_drawn_all_the_same():
    pair = compare(make_details("1", metrics={"f1": 0.5}), make_details("2", metrics={"f1": 0.5}))
    point = pair.metrics[0].a
    assert point is not None
    flat = point.model_copy(update={"low": 0.5, "high": 0.5})
    metrics = (pair.metrics[0].model_copy(update={"a": flat, "b": flat}),)
    assert b"left:0.0%;width:0.0%" in comparison_html(pair.model_copy(update={"metrics": metrics}), {}, {})
