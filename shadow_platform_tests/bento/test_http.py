"""What a body may be: JSON within limits, each key once, and numbers left to the validation that names their field."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bento.http import MAX_DEPTH, ProblemError, _unique, parse_json, request_id_of
from shadow_platform.contracts.errors import RequestError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def refusal(body: bytes) -> tuple[str, set[str]]:
    """Slug of the refusal, and the fields it names."""
    with pytest.raises((ProblemError, RequestError)) as caught:
        parse_json(body)
    error = caught.value
    if isinstance(error, ProblemError):
        assert error.status == 400
        return error.slug, set()
    assert isinstance(error, RequestError)
    return "invalid-request", {entry["field"] for entry in error.errors}


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
@example({'"': '\\"', "\\": '"'}, False, None)
def test_what_json_dumps_writes_is_read_as_it_was(value: object, ensure_ascii: bool, indent: int | None) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()) == value


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=5), st.data())
def test_a_key_given_twice_is_refused_by_its_name_wherever_it_stands(
    value: dict[str, Any], data: st.DataObject
) -> None:
    twice = data.draw(st.sampled_from(sorted(value)))
    pairs = [*value.items(), (twice, data.draw(JSON))]
    data.draw(st.randoms(use_true_random=False)).shuffle(pairs)
    text = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(item)}" for name, item in pairs) + "}"
    before, after = data.draw(st.sampled_from([("", ""), ("[", "]"), ('{"event":', "}"), ('[{"a": "b\\""},', "]")]))
    assert refusal((before + text + after).encode()) == ("invalid-request", {twice[:80]})


class CountingKey(str):
    """A key that counts how often one is compared with another."""

    n_compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountingKey.n_compared += 1
        return super().__eq__(other)


def test_finding_the_key_given_twice_takes_each_key_once_however_many_there_are() -> None:
    n_keys = 2000
    with pytest.raises(RequestError) as caught:
        _unique([(CountingKey(index % n_keys), 0) for index in range(n_keys + 1)])
    assert [entry["field"] for entry in caught.value.errors] == ["0"]
    assert CountingKey.n_compared < n_keys


@given(st.integers(0, 3 * MAX_DEPTH), st.sampled_from(["[%s]", '{"a":%s}', '[{"a":1,"b":%s}]']), st.sampled_from("1ń"))
def test_a_body_is_read_up_to_a_depth_and_refused_beyond(n: int, layer: str, leaf: str) -> None:
    body = json.dumps(leaf)
    for _ in range(n):
        body = layer % body
    depth = n * (2 if layer.startswith("[{") else 1)
    if depth <= MAX_DEPTH:
        assert parse_json(body.encode()) == json.loads(body)
    else:
        assert refusal(body.encode()) == ("nested-too-deep", set())


@pytest.mark.parametrize("n", [1_000, 100_000, 500_000])
@pytest.mark.parametrize("layer", ["[]", "[", '{"a":', '[{"a":'])
def test_no_depth_breaks_the_parser(n: int, layer: str) -> None:
    body = ("[" * n + "]" * n if layer == "[]" else layer * n).encode()
    assert refusal(body)[0] in {"nested-too-deep", "not-json"}


@pytest.mark.parametrize("digits", [1, 19, 20, 40, 309, 400, 4_299, 4_301, 100_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_any_length_is_a_number(digits: int, sign: str) -> None:
    value = parse_json(f'{{"a": {sign}{"9" * digits}}}'.encode())["a"]
    assert value == pytest.approx(float(f"{sign}{'9' * digits}"))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_is_no_finite_number_is_left_to_the_validation(text: str) -> None:
    assert not math.isfinite(parse_json(f'{{"a": {text}}}'.encode())["a"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"visit_id=1",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b'{"a": 1} x',
        b'{"a": "\n"}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xc3"}',
        b"[NaN",
    ],
)
def test_what_is_no_json_in_utf_8_is_refused(body: bytes) -> None:
    assert refusal(body) == ("not-json", set())


@given(st.binary(max_size=40))
def test_any_bytes_are_either_read_or_refused(body: bytes) -> None:
    try:
        json.dumps(parse_json(body))
    except (ProblemError, RequestError):
        return


@given(st.binary(max_size=200))
@example(b"a" * 128)
@example(b"a" * 129)
@example(b"")
def test_a_request_id_comes_back_as_it_was_or_is_refused(given_id: bytes) -> None:
    is_good = 1 <= len(given_id) <= 128 and all(0x20 <= byte <= 0x7E for byte in given_id)
    try:
        assert request_id_of({b"x-request-id": given_id}) == given_id
        assert is_good
    except RequestError:
        assert not is_good
