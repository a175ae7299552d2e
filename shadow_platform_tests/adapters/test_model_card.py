"""A model card as files: complete, the same for ever, readable by everyone, asking nothing of the network."""

import html
import itertools
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.adapters.pages.card import METRICS, card_html, card_json
from shadow_platform.contracts.model_card import MetricEstimate, ModelCard
from shadow_platform.domain import training
from shadow_platform_tests.cards import AUC, make_card

PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"
PICTURES = {"roc": PNG, "my_own": PNG}
VOID = {"img", "link", "meta"}


class _Page(HTMLParser):
    """Tags, attributes, text and headings; fails on tags that do not close."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page.decode())
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_json_gives_the_card_back():
    content = card_json(make_card())

    assert ModelCard.model_validate_json(content) == make_card()
    assert content == card_json(make_card())
    assert list(json.loads(content)) == sorted(json.loads(content))


@given(st.floats(), st.one_of(st.none(), st.floats()), st.text(), st.integers(), st.booleans())
def test_every_number_and_word_survives_json(value, low, word, seed, is_on):
    estimate = MetricEstimate(value=value, low=low, high=low)
    overall = make_card().segments[0].model_copy(update={"metrics": {"m": estimate}})
    card = make_card(segments=(overall,), title=word, parameters={"a": seed, "b": is_on, "c": word})

    assert card_json(ModelCard.model_validate_json(card_json(card))) == card_json(card)


def test_what_is_not_finite_stays_so_in_json_that_every_program_reads():
    parity = make_card().parity.model_copy(update={"max_abs_diff": float("inf")})
    content = card_json(make_card(parity=parity))

    def refuse(constant: str) -> None:
        raise AssertionError(f"JSON has no {constant}")

    assert json.loads(content, parse_constant=refuse)["parity"]["max_abs_diff"] == "inf"
    assert ModelCard.model_validate_json(content).parity.max_abs_diff == float("inf")


def test_the_same_card_gives_the_same_page():
    assert card_html(make_card(), PICTURES) == card_html(make_card(), PICTURES)
    assert card_html(make_card(), PICTURES) != card_html(make_card(seed=8), PICTURES)


def test_the_page_tells_everything_the_card_holds():
    card = make_card()
    text = _Page(card_html(card, PICTURES)).text

    told = [
        card.title,
        card.owner,
        card.intended_use,
        *card.limits,
        card.label_description,
        "Known for every request after 1 day.",
        "ROC-AUC 0.712 0.690 to 0.735",
        "channel = shop 700 310",
        "channel = mail 300 0 –",
        "fit 2024-01-01 2024-01-08 1,000 310 31 %",
        "amount Amount numeric, EUR things 2.13 % 50 only up 0.0400 0.0300 to 0.0500",
        "3 levels the request 0 % its own level either way",
        "A wrong yes costs 10 EUR, a wrong no 30 EUR",
        "p = sigmoid(1.1 × logit(score) − 0.1)",
        "ROC-AUC pass 0.712 0.55 good enough",
        "Calibration error insufficient – 0.1 too few",
        "penalty_c 0.1",
        "seed 7",
        *card.fingerprints.values(),
        "shadow models reproduce VERSION",
        "0 decisions differ",
    ]
    assert [words for words in told if words not in text] == []


def test_a_card_with_hardly_anything_is_a_page_too():
    bare = make_card(
        intended_use="", limits=(), segments=(), importances=(), quality=(), parameters={}, costs=None, features=()
    )
    text = _Page(card_html(bare, {})).text

    assert "The use case names none." in text
    assert "The use case declares no costs of wrong decisions" in text
    assert "The use case sets no limits." in text


def test_words_of_a_use_case_cannot_become_markup():
    hostile = '<script>alert(1)</script>" onload="x'
    page = card_html(make_card(title=hostile, limits=(hostile,), fingerprints={hostile: hostile}), {hostile: PNG})

    assert "script" not in _Page(page).tags
    assert {name for _, name, _ in _Page(page).attributes if name.startswith("on")} == set()
    assert html.escape(hostile, quote=False).split('"')[0].encode() in page


def test_the_page_asks_nothing_of_the_network_and_runs_nothing():
    page = _Page(card_html(make_card(), PICTURES))

    assert not {"script", "iframe", "link", "object", "embed", "form"} & set(page.tags)
    addresses = [value for _, name, value in page.attributes if name in {"src", "href", "action"}]
    assert [address for address in addresses if not address.startswith(("data:image/png;base64,", "#"))] == []
    assert "url(" not in card_html(make_card(), PICTURES).decode()
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_the_page_can_be_read_without_seeing_it():
    page = card_html(make_card(), PICTURES).decode()

    assert re.search(r'<html lang="en">', page)
    assert re.findall(r'<img [^>]*alt="([^"]*)"', page) == [
        "ROC curve, on the evaluation rows",
        "My own, on the evaluation rows",
    ]
    assert page.count("<table") == page.count("<caption>")
    assert [tag for tag in re.findall(r"<th\b[^>]*>", page) if "scope=" not in tag] == []
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]*)"', page)) == set(ids)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0146812, "0.0147 0.0012 to 0.0188"), (12.3456, "12.3 0.0 to 0.0"), (1e-9, "0.00000 0.00123 to 0.01883")],
)
def test_a_value_and_its_interval_have_the_same_decimals(value, shown):
    estimate = MetricEstimate(value=value, low=0.00123, high=0.01883)
    overall = make_card().segments[0].model_copy(update={"metrics": {"brier": estimate}})

    assert f"Brier score {shown}" in _Page(card_html(make_card(segments=(overall,)), {})).text


def test_every_metric_of_a_training_is_explained():
    import numpy as np

    labels = np.array([False, True] * 50)
    measured = training.metrics(labels, np.linspace(0.1, 0.9, 100), 0.5)

    assert set(measured) - set(METRICS) == set()


def test_what_is_not_finite_is_shown_as_such():
    overall = (
        make_card()
        .segments[0]
        .model_copy(update={"metrics": {"roc_auc": AUC.model_copy(update={"value": float("nan")}), "f1": AUC}})
    )
    assert "ROC-AUC nan" in _Page(card_html(make_card(segments=(overall,)), {})).text
