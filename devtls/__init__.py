"""devtls: your production topology on your own machine, over real HTTPS, proved to work."""

__version__ = "0.1.0"
