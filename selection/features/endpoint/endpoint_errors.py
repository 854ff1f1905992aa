"""What went wrong with a request, in words that say what to do; and which failures concern one row alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from siftune.selection.features.endpoint.endpoint import Endpoint

SAID = 300
"""Characters quoted of what an endpoint said."""

_TOO_LONG_CODES = {"context_length_exceeded", "string_above_max_length", "exceed_context_size_error"}
# OpenAI, vLLM, TEI, llama.cpp and Cohere, each in its own words.
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|(input|prompt|sequence|request) (length|size)|less than [\d,]+ tokens"
    r"|tokens per request|too long|reduce (the|your) (length|prompt|input|message)",
    re.IGNORECASE,
)
_FILTERED = {"content_filter", "content_policy_violation"}


@dataclass(frozen=True)
class Refusal:
    """Why an endpoint does not take this one input; others it may."""

    why: str
    too_long: bool


def refusal_of(error: Exception) -> Refusal | None:
    """What the error says about this one input; None where it says something about the endpoint."""
    status, code = getattr(error, "status_code", None), getattr(error, "code", None)
    if status not in (400, 413, 422):
        return None
    said = _said(error)
    if status == 413 or code in _TOO_LONG_CODES or getattr(error, "type", None) in _TOO_LONG_CODES:
        return Refusal(said, too_long=True)
    if _TOO_LONG.search(said):
        return Refusal(said, too_long=True)
    return Refusal(said, too_long=False) if code in _FILTERED else None


def explained(error: Exception, endpoint: Endpoint) -> str:
    """The endpoint, what happened, and what to do about it."""
    return f"{endpoint.base_url} (model {endpoint.model}) {_what(error, endpoint)}"


def _what(error: Exception, endpoint: Endpoint) -> str:
    import openai

    place = endpoint.place
    if isinstance(error, openai.APITimeoutError):
        return (
            f"did not answer within {endpoint.timeout:g} seconds, {endpoint.max_retries + 1} times: raise "
            f"{place}.timeout, or lower {place}.concurrency"
        )
    if isinstance(error, openai.APIConnectionError):
        return (
            f"cannot be reached ({error.__cause__ or error}): is the server running, and is {place}.base_url right? "
            "It mostly ends in /v1"
        )
    said = _said(error)
    if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
        return f"does not accept the key: {endpoint.key_remedy()}. It says: {said}"
    if isinstance(error, openai.NotFoundError):
        return (
            f"was not found: {place}.model is not one of its models, or {place}.base_url lacks its last part, "
            f"mostly /v1. It says: {said}"
        )
    if isinstance(error, openai.RateLimitError):
        return (
            f"limits the rate, or has no credit left, also after up to {endpoint.max_retries} retries: lower "
            f"{place}.concurrency, or start again later, as what is finished is kept. It says: {said}"
        )
    status = getattr(error, "status_code", None)
    if status is not None and status >= 500:
        return f"fails with status {status}, after {endpoint.max_retries} retries. It says: {said}"
    return f"refuses the request (status {status}): check {place}.model; {endpoint.how_to_leave_out}. It says: {said}"


def _said(error: Exception) -> str:
    """The endpoint's own words: {"message": ...}, {"detail": ...} or the bare text of its answer."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return " ".join(str(body or error).split())[:SAID]
