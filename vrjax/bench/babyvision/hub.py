"""The hub's copies of BabyVision: parquet files whose rows are those of `meta_data.jsonl`, pictures inside.

UnipatAI/BabyVision and UnipatAI/BabyVision-Gen on the Hugging Face hub, as they lie in a folder once downloaded; a
picture is a struct of `bytes` and `path`, as the hub's own library writes it.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

INSTALL = "reading parquet needs pyarrow: pip install 'vrjax[babyvision]'"
PICTURES = ("image", "answerImage")
LOT = 64
"""Rows that are unpacked at a time."""


def files(path: pathlib.Path) -> list[pathlib.Path]:
    """The parquet files that are `path`, or lie in it or in its folder `data`, in the order of their names."""
    if path.suffix == ".parquet" and path.is_file():
        return [path]
    return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))


def rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands, and the row, without the fields that are empty in it; pictures are bytes.

    Raises:
        ImportError: pyarrow is not installed. ValueError: a file that is not parquet, or torn.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ImportError(f"{INSTALL} ({error})") from None
    try:
        at = 0
        with parquet.ParquetFile(path) as file:
            for lot in file.iter_batches(LOT):
                for row in lot.to_pylist():
                    at += 1
                    yield (
                        f"{path}, row {at}",
                        {name: _plain(name, value) for name, value in row.items() if value is not None},
                    )
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as parquet ({error}); an unfinished download?") from None


def _plain(name: str, value: Any) -> Any:
    return value.get("bytes") if name in PICTURES and isinstance(value, dict) else value
