"""Every clip of the matrix through a network that changes nothing: each difference is announced, nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.clients import exact, matrix, pictures
from tests.clients.judge import Verdict
from tests.clients.making import missing
from tests.clients.running import judge_row, running

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {' '.join(missing())}"),
]
Futures = dict[object, "Future[Verdict]"]


def _chosen(request: pytest.FixtureRequest, kind: type) -> list[object]:
    """The rows that this run of pytest asks for."""
    calls = [item.callspec.params["row"] for item in request.session.items if hasattr(item, "callspec")]
    return [row for row in calls if isinstance(row, kind)]


@pytest.fixture(scope="module")
def videos(request: pytest.FixtureRequest) -> Iterator[Futures]:
    with running(judge_row, _chosen(request, matrix.Row)) as futures:
        yield futures


@pytest.fixture(scope="module")
def exact_videos(request: pytest.FixtureRequest) -> Iterator[Futures]:
    with running(exact.judge_exact, _chosen(request, exact.Exact)) as futures:
        yield futures


@pytest.fixture(scope="module")
def photos(request: pytest.FixtureRequest) -> Iterator[Futures]:
    with running(pictures.judge_photo, _chosen(request, pictures.Photo)) as futures:
        yield futures


def _check(verdict: Verdict) -> None:
    if verdict.unmakeable:
        pytest.skip(f"this ffmpeg makes no such clip: {verdict.unmakeable}")
    said = verdict.outcome.differences if verdict.outcome else []
    assert verdict.right, "\n".join([*verdict.lines(), *(f"announced: {line}" for line in said)])


def test_the_matrix_is_large_enough() -> None:
    assert len(matrix.rows()) >= 400


@pytest.mark.parametrize("row", matrix.rows(), ids=lambda row: row.name)
def test_every_difference_is_announced(row: matrix.Row, videos: Futures) -> None:
    _check(videos[row].result())


@pytest.mark.parametrize("row", exact.rows(), ids=lambda row: row.name)
def test_lossless_stays_bit_exact(row: exact.Exact, exact_videos: Futures) -> None:
    _check(exact_videos[row].result())


@pytest.mark.parametrize("row", pictures.rows(), ids=lambda row: row.name)
def test_pictures_keep_what_they_say(row: pictures.Photo, photos: Futures) -> None:
    _check(photos[row].result())
