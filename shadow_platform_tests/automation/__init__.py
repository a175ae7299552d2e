"""What starts runs without a person: ticks on an ephemeral instance, and a daemon that is killed."""
