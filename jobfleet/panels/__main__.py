"""``python -m jobfleet.panels``: serve the page with all panels. Arguments go to ``streamlit run``."""

from __future__ import annotations

import sys
from pathlib import Path

from streamlit.web import cli


def main() -> None:
    """Serve `jobfleet.panels.demo`."""
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("demo.py")), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
