"""Integrations with other libraries. Each module needs its library; the rest of jobfleet imports none of them."""
