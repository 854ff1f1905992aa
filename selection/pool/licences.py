"""What the rows of a subset say of their licences; nothing is inferred."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

NONE_KNOWN = "none known"

_HUB_NAMES = (
    "apache-2.0 mit bsd-2-clause bsd-3-clause isc unlicense wtfpl cc0-1.0 pddl odc-by odbl "
    "cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 "
    "cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 agpl-3.0 mpl-2.0 "
    "openrail bigscience-openrail-m llama2 llama3 llama3.1 gemma"
)
HUB_LICENCES = frozenset(_HUB_NAMES.split())
"""Identifiers that a card's `license` may have (huggingface.co/docs/hub/repositories-licenses), the usual ones."""
SYNONYMS = {"apache-2": "apache-2.0", "bsd-3": "bsd-3-clause", "bsd-2": "bsd-2-clause", "cc0": "cc0-1.0"}


def licence_of(extra: Mapping[str, Any], column: str) -> str | None:
    """What a row says of its licence, verbatim; None where it says nothing. Dots in `column` lead into nested ones."""
    value: Any = extra.get(column)
    if value is None and "." in column:
        value = extra
        for part in column.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = "" if value is None else str(value).strip()
    return text or None


def by_source(rows: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None, int]]:
    """(source, licence, rows), the sources in alphabetical order, the commonest licence of each first."""
    counts = Counter(rows)
    return sorted(
        ((source, licence, count) for (source, licence), count in counts.items()),
        key=lambda item: (item[0], -item[2], item[1] or ""),
    )


def hub_licence(text: str | None) -> str | None:
    """The hub's identifier of a licence named alone, a remark in brackets after it or not; None for any other text.

    "MIT (repo)" is mit, "CC BY 4.0" is cc-by-4.0; "MIT; texts Apache-2.0" are two, and none of them holds for the row.
    """
    bare = re.sub(r"\s*\([^()]*\)\s*$", "", text or "").strip().lower()
    bare = re.sub(r"[\s_]+", "-", re.sub(r"\b(the|licen[cs]ed?|version)\b|,", " ", bare).strip())
    name = SYNONYMS.get(bare, bare)
    return name if name in HUB_LICENCES else None


def common_licence(licences: Iterable[str | None]) -> str | None:
    """The hub's identifier of the licence of all, where every single one is known and they agree; else None."""
    names = {hub_licence(licence) for licence in licences}
    return names.pop() if len(names) == 1 else None
