"""Tests of ``shadow drift``: files, configuration, served requests, exit codes and what is printed."""
