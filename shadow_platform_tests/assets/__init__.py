"""Assets, materialized on an ephemeral instance with a real lake below a temporary home."""
