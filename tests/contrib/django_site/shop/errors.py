"""An error of the application."""


class ShopClosed(Exception):
    """The shop is closed."""
