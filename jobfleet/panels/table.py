"""Jobs as a table, with a bar in each row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from jobfleet.model import JobResult
from jobfleet.panels.words import row_of

COLUMNS = ("job", "status", "progress", "message", "queue", "user", "started", "took", "id")


def job_table(jobs: Iterable[JobResult[Any]], *, key: str, without: str = "") -> None:
    """Show jobs in a table.

    Args:
        jobs: The jobs, one per row.
        key: Unique key of the table within the page.
        without: Name of a column to leave out, for example because all rows have the same value.
    """
    st.dataframe(
        [row_of(job) for job in jobs],
        hide_index=True,
        key=key,
        column_order=[name for name in COLUMNS if name != without],
        column_config={
            "progress": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent"),
            "message": st.column_config.TextColumn(width="medium"),
            "id": st.column_config.TextColumn(width="small"),
        },
    )
