"""Requests of production, answered milliseconds after their event and by another clock, get their labels all the same.

Real parts: the products' own SQL, the request contract, the log, the lake and the asset.
"""

from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.assets.labels import LABELLED_CHECK, build_label_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS, PREDICTIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import ModelOutput, RequestContract, build_record, rfc3339
from shadow_platform.resources import PlatformResource
from shadow_platform.testing.tables import Tables, requests_of
from shadow_platform_tests.use_cases.credit import loans
from shadow_platform_tests.use_cases.fraud import payments

FIRST = pd.Timestamp("2024-01-01T10:00:00.200Z")
FRAUD, CREDIT = (replace(use_case, first_partition=FIRST.date()) for use_case in (payments.FRAUD, loans.CREDIT))
ANSWERED = FIRST + pd.Timedelta(milliseconds=15)
NO_CLOCK_AHEAD = pd.Timedelta(milliseconds=-40)
DAY = pd.Timedelta(days=1)


class Production:
    """One home with the events of some days and what was answered."""

    def __init__(self, layout: Layout, use_case: UseCase, events: Tables, n_days: int) -> None:
        self.use_case, self.events = use_case, events
        self.lake, self.layout = Lake(layout), layout
        self.platform = PlatformResource(shadow_home=str(layout.home))
        self._contract = RequestContract(use_case)
        for kind in use_case.events:
            received = events[kind.name]["received_at"].dt.date
            for day in self.days(n_days):
                self.lake.write_events(use_case, kind, day, events[kind.name][received == day])

    def days(self, n: int) -> list[date]:
        return [FIRST.date() + timedelta(days=offset) for offset in range(n)]

    def answer(self, body: dict[str, Any], at: pd.Timestamp, probability: float, *, is_explored: bool = False) -> None:
        """Append the record of one answer to the log, and bring its day into the table."""
        request = self._contract.parse(body, at.to_pydatetime())
        moment = rfc3339(at.to_pydatetime())
        record = build_record(
            self.use_case.name,
            f"request-{at.value}",
            request,
            self._contract.assemble(request, {}, at.to_pydatetime()),
            ModelOutput(probability, self.use_case.answer.threshold, "1", "0" * 64),
            requested_at=moment,
            logged_at=rfc3339(datetime.now(UTC)),
            latency_ms=1.0,
            is_explored=is_explored,
        )
        sink = FileLogSink(self.layout.log("predictions", self.use_case.name))
        sink.append(asdict(record))
        sink.close()
        rows, n_bad = self.lake.ingest_predictions(self.use_case, at.date())
        assert n_bad == 0
        self.lake.write_table(PREDICTIONS, self.use_case, at.date(), rows)

    def label(self, n_days: int) -> dg.ExecuteInProcessResult:
        """Materialize the labels of the first days."""
        chosen = self.days(n_days)
        asset = build_label_assets(self.use_case)[0]
        tags = {
            "dagster/asset_partition_range_start": chosen[0].isoformat(),
            "dagster/asset_partition_range_end": chosen[-1].isoformat(),
        }
        return dg.materialize([asset], resources={"platform": self.platform}, tags=tags)

    def labels(self) -> list[tuple[pd.Timestamp, bool, pd.Timestamp]]:
        rows = self.lake.read_table(LABELS, self.use_case).sort_values(["requested_at", "known_at"])
        return list(rows[["requested_at", "label", "known_at"]].itertuples(index=False, name=None))

    def training_labels(self, as_of: pd.Timestamp) -> list[tuple[pd.Timestamp, bool]]:
        """What a training learns from the recorded requests."""
        spine = requests_of(self.use_case, self.events, FIRST.floor("D"), FIRST.floor("D") + DAY)
        found = self.platform.labels_of(self.use_case, spine, FIRST.floor("D").to_pydatetime(), as_of.to_pydatetime())
        return list(found.rows[["requested_at", "label"]].itertuples(index=False, name=None))


def ask(payment: dict[str, Any]) -> dict[str, Any]:
    """The request that a gateway sends of a payment."""
    event = {name: payment[name] for name in ("event_id", "user_id", "transaction_amount", "country", "device")}
    return {"user_id": payment["user_id"], "event": {**event, "event_ts": payment["event_at"].isoformat()}}


def in_production(layout: Layout, n_days: int, chargebacks: dict[int, pd.Timestamp], n_payments: int = 1) -> Production:
    paid = [payments.payment(FIRST + n * DAY / 24, n) for n in range(n_payments)]
    taken_back = [payments.chargeback(paid[n], at) for n, at in chargebacks.items()]
    return Production(layout, FRAUD, payments.tables(paid, taken_back), n_days)


PAYMENT = payments.payment(FIRST)


@pytest.mark.parametrize(
    "lateness", [ANSWERED - FIRST, NO_CLOCK_AHEAD, pd.Timedelta(0)], ids=["late", "ahead", "replay"]
)
def test_a_live_payment_is_labelled_by_its_id_whatever_the_clocks_say(layout: Layout, lateness: pd.Timedelta) -> None:
    known_at = FIRST + 5 * DAY
    home = in_production(layout, 7, {0: known_at})
    home.answer(ask(PAYMENT), FIRST + lateness, 0.01)

    home.label(7)

    assert home.labels() == [(FIRST + lateness, True, known_at)]
    assert home.training_labels(FIRST + 6 * DAY) == [(FIRST, True)]


def test_a_live_payment_without_a_chargeback_is_good_after_45_days_and_one_that_was_blocked_is_nothing(
    layout: Layout,
) -> None:
    home = in_production(layout, 47, {}, n_payments=3)
    second, third = (payments.payment(FIRST + n * DAY / 24, n) for n in (1, 2))
    allowed = ANSWERED + DAY / 24
    home.answer(ask(PAYMENT), ANSWERED, 0.9)
    home.answer(ask(second), allowed, 0.01)
    home.answer(ask(third), ANSWERED + DAY / 12, 0.9, is_explored=True)

    result = home.label(47)

    assert home.labels() == [(at, False, at + 45 * DAY) for at in (allowed, ANSWERED + DAY / 12)]
    counts = result.asset_materializations_for_node("fraud__labels")[0].metadata
    assert counts["censored"].value == 1
    assert home.training_labels(FIRST + 47 * DAY) == [(at, False) for at in (FIRST + DAY / 24, FIRST + DAY / 12)]


def test_a_payment_that_was_asked_about_twice_and_blocked_once_is_nothing_to_learn_from(layout: Layout) -> None:
    home = in_production(layout, 47, {})
    home.answer(ask(PAYMENT), ANSWERED, 0.9, is_explored=True)
    home.answer(ask(PAYMENT), ANSWERED + DAY / 24, 0.9)

    home.label(47)

    assert home.labels() == []
    assert home.training_labels(FIRST + 47 * DAY) == []


def test_a_request_without_a_context_is_labelled_by_its_time_as_before_records_kept_one(layout: Layout) -> None:
    home = in_production(layout, 7, {0: FIRST + 5 * DAY})
    home.answer(ask(PAYMENT), FIRST, 0.01)
    rows = home.lake.read_table(PREDICTIONS, FRAUD).assign(context=None)
    home.lake.write_table(PREDICTIONS, FRAUD, FIRST.date(), rows)

    home.label(7)

    assert home.labels() == [(FIRST, True, FIRST + 5 * DAY)]


APPLICATION = loans.application(FIRST)


def of_credit(layout: Layout, n_days: int, defaulted_at: pd.Timestamp | None, word: str = "approved") -> Production:
    told = [] if defaulted_at is None else [loans.default(defaulted_at)]
    decided = [loans.decision(word, FIRST + DAY / 4)]
    return Production(
        layout, CREDIT, loans.tables(applications=[APPLICATION], decisions=decided, defaults=told), n_days
    )


def apply(application: dict[str, Any]) -> dict[str, Any]:
    """The request that a lender sends of an application."""
    stated = ("applicant_id", "age", "income", "credit_score", "employment_years")
    return {name: application[name] for name in stated}


@pytest.mark.parametrize(
    "lateness", [ANSWERED - FIRST, NO_CLOCK_AHEAD, DAY / 24], ids=["late", "ahead", "an hour late"]
)
def test_a_live_application_gets_the_label_of_its_loan_at_the_default(layout: Layout, lateness: pd.Timedelta) -> None:
    home = of_credit(layout, 5, FIRST + 3 * DAY)
    home.answer(apply(APPLICATION), FIRST + lateness, 0.1)

    home.label(5)

    assert (FIRST + lateness, True, FIRST + 3 * DAY) in home.labels()


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    return next(e for e in result.get_asset_check_evaluations() if e.check_name == LABELLED_CHECK)


def test_answers_that_labels_find_pass_the_check(layout: Layout) -> None:
    home = in_production(layout, 47, {}, n_payments=2)
    home.answer(ask(PAYMENT), ANSWERED, 0.01)
    home.answer(ask(payments.payment(FIRST + DAY / 24, 1)), ANSWERED + DAY / 24, 0.9)

    check = check_of(home.label(47))

    assert (check.passed, check.metadata["matured_answers"].value) == (True, 1)


def test_answers_that_no_label_finds_are_a_warning_that_names_some(layout: Layout) -> None:
    home = in_production(layout, 47, {})
    stranger = payments.payment(FIRST, 7, event_id="01HM5ZC9V7Q8R3N2K1J0G49999")
    home.answer(ask(stranger), ANSWERED, 0.01)

    check = check_of(home.label(47))

    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["without_label"].value == 1
    assert check.metadata["for_example"].value == [f"user-00042 at {ANSWERED.isoformat()}"]
