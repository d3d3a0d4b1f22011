"""What switchctl does that needs a room of its own: verbs of the control socket, by subject."""
