"""Parts of a page that refresh until their state is final."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from jobfleet.clock import from_timedelta
from jobfleet.model.option_types import Seconds

SHORTEST = 0.1


def refreshing(draw: Callable[[], bool], *, every: Seconds, is_over: bool) -> None:
    """Draw one part of the page repeatedly, without rerunning the rest of the page.

    Args:
        draw: Draws the part. Returns True if its state is final, so that it will not change any more.
        every: Seconds between two drawings, at least 0.1.
        is_over: Whether the state is final already; the part is then drawn once. When the state becomes final
            later, the page reruns once: this part stops refreshing, and the rest of the page sees the final state.
    """

    def part() -> None:
        if draw() and not is_over:
            st.rerun()

    st.fragment(part, run_every=None if is_over else max(SHORTEST, from_timedelta(every)))()
