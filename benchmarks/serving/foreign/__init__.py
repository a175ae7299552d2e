"""Serving frameworks that are not the platform's: the same ONNX model, each in an environment of its own.

``environments`` installs and starts them; ``mlserver_runtime`` and ``ray_application`` are run by their interpreters,
with nothing of the platform installed. All three are given rows that are encoded already, and neither log nor compare:
whatever the platform does besides scoring counts against the platform alone.
"""
