"""``switchctl credential``: make what lets a partner in. Only hashes go into routes.yaml."""

from __future__ import annotations

import sys

import click

from exchange.commands._command import Noun, pick
from exchange.commands._output import facts, put


@click.group(
    "credential",
    cls=Noun,
    zh="生成 HTTPS 密钥和 SFTP 密码哈希。",
    examples=("switchctl credential key", "switchctl credential password"),
)
def command() -> None:
    """Make bearer keys and hashes of passwords."""


@command.command(
    "key",
    zh="生成新的 HTTPS 密钥：密钥只显示这一次，哈希写入 routes.yaml 的 keys。",
    examples=("switchctl credential key", "switchctl credential key --json"),
)
def key() -> None:
    """Make a bearer key for HTTPS: the key is shown this once, its hash goes under keys in routes.yaml."""
    import hashlib
    import secrets

    text = "swx_" + secrets.token_urlsafe(32)
    made = {"key": text, "hash": "sha256:" + hashlib.sha256(text.encode()).hexdigest()}
    put(
        made,
        lambda: facts(
            (
                ("key, for the partner, not shown again", "密钥（交给对方，不再显示）", made["key"]),
                ("hash, for routes.yaml", "哈希（写入 routes.yaml）", made["hash"]),
            )
        ),
    )


@command.command(
    "password",
    zh="生成密码的 argon2 哈希，写入 routes.yaml 的 password。密码从终端或标准输入读取。",
    examples=("switchctl credential password", "switchctl credential password --json < password.txt"),
)
def password() -> None:
    """Hash a password with argon2, for password in routes.yaml. It is asked for, or read from standard input."""
    from argon2 import PasswordHasher

    text = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not text:
        raise click.UsageError(pick("the password is empty", "密码为空"))
    made = {"argon2": PasswordHasher().hash(text)}
    put(made, lambda: click.echo(made["argon2"]))


def _asked() -> str:
    typed: str = click.prompt(pick("Password", "密码"), hide_input=True, confirmation_prompt=True, err=True)
    return typed
