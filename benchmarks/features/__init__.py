"""How fast features are joined, read, materialized and streamed. Upstream: feature store. Downstream: the README."""
