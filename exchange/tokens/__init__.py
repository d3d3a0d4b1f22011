"""Tokens hold keys and sign with them (密码设备); one file per kind, each implements ``ports.Token``."""
