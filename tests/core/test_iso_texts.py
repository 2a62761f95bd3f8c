"""Days and moments as ISO texts, from tables and one by one."""

from __future__ import annotations

import datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from datarail.iso_texts import dates, moments

#: On both sides of the years that the tables hold.
FIRST, LAST = datetime.date(1850, 1, 1), datetime.date(2350, 12, 31)


@settings(deadline=None)
@given(st.lists(st.none() | st.dates(FIRST, LAST), min_size=1, max_size=5), st.booleans())
def test_dates_are_iso(days: list[datetime.date | None], many: bool) -> None:
    days = days * (100 if many else 1)
    series = pl.Series(days, dtype=pl.Date)
    assert dates(series).to_list() == [None if day is None else day.isoformat() for day in days]


@settings(deadline=None)
@given(
    st.lists(
        st.none()
        | st.datetimes(
            datetime.datetime.combine(FIRST, datetime.time.min),
            datetime.datetime.combine(LAST, datetime.time.max),
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_moments_are_iso_in_utc(times: list[datetime.datetime | None], many: bool) -> None:
    times = times * (100 if many else 1)
    series = pl.Series(times, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    assert moments(series).to_list() == [
        None if time is None else time.isoformat(timespec="microseconds") + "Z" for time in times
    ]


def test_the_last_moments_of_the_tables() -> None:
    edges = [
        datetime.datetime(year, *rest)
        for year in (1899, 1900, 1969, 1970, 2000, 2099, 2100, 2199, 2200, 2299, 2300)
        for rest in ((1, 1), (12, 31, 23, 59, 59, 999_999))
    ]
    for some in [edges, *([edge] for edge in edges)]:
        series = pl.Series(some * 100, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
        assert moments(series).to_list() == [
            edge.isoformat(timespec="microseconds") + "Z" for edge in some * 100
        ]
