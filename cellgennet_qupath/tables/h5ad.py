"""AnnData files for scanpy and squidpy."""

from __future__ import annotations

from pathlib import Path

from .anndata_store import Blocks, facts_for_uns, write_anndata
from .spool import Export, spooled


def write_h5ad(file: Path, export: Export) -> int:
    """Measurements as ``X``, texts and flags as ``obs``, centroids as ``obsm`` in µm and in pixels.

    One table of the spool is in memory at a time. Needs the extra ``h5ad``.
    """
    import h5py

    with spooled(file, export) as spool, h5py.File(file, "w") as store:
        for _ in write_anndata(store, "/", Blocks(spool), facts_for_uns(export)):
            pass
        return spool.rows
