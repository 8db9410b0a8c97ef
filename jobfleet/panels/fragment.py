"""Parts of a page that refresh themselves for as long as there is something to wait for."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

SHORTEST = 0.1


def refreshing(draw: Callable[[], bool], *, every: float, is_over: bool) -> None:
    """Draw a part of the page again and again, alone; the rest of the page is left as it is.

    Args:
        draw: Draws it, and answers whether it is over: nothing more will change.
        every: Seconds between two drawings.
        is_over: Whether it is over already: then it is drawn once. When it comes to be over, the page is run once
            more, so that this part stops and whatever waits for the job on the page sees its end.
    """

    def part() -> None:
        if draw() and not is_over:
            st.rerun()

    st.fragment(part, run_every=None if is_over else max(SHORTEST, every))()
