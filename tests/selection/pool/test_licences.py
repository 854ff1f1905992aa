"""Licences as rows name them: told apart, never guessed."""

from __future__ import annotations

import pytest

from siftune.selection.pool.licences import by_source, common_licence, hub_licence, licence_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MIT", "mit"),
        ("MIT (data/bash/LICENSE)", "mit"),
        ("The MIT License", "mit"),
        ("Apache-2.0 (repo)", "apache-2.0"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("BSD-3", "bsd-3-clause"),
        ("CC BY 4.0 (MBPP upstream)", "cc-by-4.0"),
        ("cc_by_sa 4.0", "cc-by-sa-4.0"),
        ("MIT (repo); OASST text is Apache-2.0", None),
        ("Apache-2.0 / MIT", None),
        ("research only", None),
        ("", None),
        (None, None),
    ],
)
def test_a_licence_named_alone_has_the_hubs_name(text: str | None, name: str | None) -> None:
    assert hub_licence(text) == name


def test_all_rows_must_agree_on_a_known_licence() -> None:
    assert common_licence(["MIT", "MIT (repo)"]) == "mit"
    assert common_licence(["MIT", "Apache-2.0"]) is None
    assert common_licence(["MIT", None]) is None
    assert common_licence(["house rules", "house rules"]) is None
    assert common_licence([]) is None


def test_a_licence_is_read_verbatim_from_its_column_or_from_inside_one() -> None:
    assert licence_of({"license": " MIT "}, "license") == "MIT"
    assert licence_of({"license": ["MIT", "Apache-2.0"]}, "license") == "MIT, Apache-2.0"
    assert licence_of({"license": ""}, "license") is None
    assert licence_of({"metadata": {"license": "ODC-BY"}}, "metadata.license") == "ODC-BY"
    assert licence_of({"metadata": "ODC-BY"}, "metadata.license") is None
    assert licence_of({"metadata.license": "ODC-BY"}, "metadata.license") == "ODC-BY"


def test_rows_are_counted_by_source_and_licence() -> None:
    rows = [("b", "MIT"), ("a", None), ("b", "Apache-2.0"), ("b", "Apache-2.0")]
    assert by_source(rows) == [("a", None, 1), ("b", "Apache-2.0", 2), ("b", "MIT", 1)]
