"""The instruction that some embedding models are told in front of a text."""

from __future__ import annotations


def check_instruction(instruction: str | None) -> None:
    r"""ValueError for a \n that a shell handed over as two characters: the model would read a backslash and an n."""
    if instruction is not None and "\\n" in instruction:
        raise ValueError(
            f"encoder.instruction={instruction!r} has a backslash and an n where a line break is meant: "
            "write it in a YAML file, or in bash as encoder.instruction=$'\"Instruct: ...\\nQuery: \"'"
        )
