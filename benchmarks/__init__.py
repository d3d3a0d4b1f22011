"""What the switch costs on this machine, part by part and as a whole."""
