"""One outside tool per file, behind the ports of ``contracts.ports``. Adapters import contracts and their tool only."""
