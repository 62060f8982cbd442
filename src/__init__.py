"""difyoff: make Dify plugins installable without a network, and prove it before they cross the air gap."""

__version__ = "0.1.0"
