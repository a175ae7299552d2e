"""Commands, called as the command line calls them."""
