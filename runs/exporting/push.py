"""Uploading an export to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from siftune.runs.build import ConfigError

RepoType = Literal["dataset", "model"]


def require_token(repo: str) -> None:
    """Refuse to begin what could not be uploaded."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise ConfigError(
            f"push={repo} needs an access token of the hub: `hf auth login`, or set HF_TOKEN to one that may write "
            "there; without push the folder is written, and nothing leaves this machine"
        )


def push_folder(folder: Path, repo: str, kind: RepoType, private: bool) -> str:
    """Upload a folder; returns its address. ConfigError where it would be public against what was asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        # A repository that was there keeps its visibility.
        if private and not api.repo_info(repo, repo_type=kind).private:
            raise ConfigError(
                f"push={repo}: there is a public {kind} of this name; private=false uploads to it, another name makes "
                "a private one"
            )
        info = api.upload_folder(repo_id=repo, repo_type=kind, folder_path=folder, commit_message="Exported by siftune")
    except HfHubHTTPError as error:
        raise ConfigError(
            f"push={repo}: the hub refused ({error}); {folder} is written: mend the cause and upload it with "
            f"`hf upload {repo} {folder} --repo-type {kind}`"
        ) from error
    return str(getattr(info, "commit_url", info))
