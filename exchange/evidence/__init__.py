"""Evidence (证据包): one file that proves what happened to a message, and that can be checked without any switch."""
