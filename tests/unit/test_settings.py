"""``switchd.yaml``: every mistake at once with its place; what isn't said is safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from exchange import settings
from exchange.errors import ConfigurationError
from exchange.settings import MEBIBYTE, Installation, Settings

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "switchd.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def problems(path: Path | None) -> Sequence[str]:
    with pytest.raises(ConfigurationError) as raised:
        settings.load(path)
    return raised.value.problems


# -- defaults ----------------------------------------------------------------------------------------------------


def test_without_a_file_every_setting_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    installation = settings.load(None)
    assert (installation.home, installation.settings) == (tmp_path, Settings())


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n", "store: {}\nlimits: {}\n"])
def test_a_file_that_says_nothing_says_the_defaults(write: Write, text: str) -> None:
    assert settings.load(write(text)).settings == Settings()


def test_the_file_here_is_used_where_none_is_named(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("limits: {backlog: 7}\n")
    monkeypatch.chdir(tmp_path)
    assert settings.load(None).settings.limits.backlog == 7


def test_the_defaults_are_safe() -> None:
    default = Settings()
    assert default.monitor.host == "127.0.0.1", "what operators see is nobody else's business"
    assert default.token.allow_software_keys is False
    assert default.token.options == {}
    assert default.store.kind == "sqlite"
    assert default.store.reserve_bytes == 256 * MEBIBYTE, "outcomes can be written when intake can't"
    assert default.limits.payload_bytes == 64 * MEBIBYTE
    assert default.limits.spool_bytes < default.limits.payload_bytes < default.limits.backlog_bytes
    assert default.log.level == "info"
    assert default.store.duplicate_days <= default.store.retention_days


# -- paths -------------------------------------------------------------------------------------------------------


def test_relative_paths_start_at_the_folder_of_the_file_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "switchd.yaml").write_text("routes: tables/routes.yaml\nstore: {folder: ../data}\nspool: /srv/spool\n")
    monkeypatch.chdir(elsewhere)
    for name in (home / "switchd.yaml", Path("../etc/switchd.yaml")):
        installation = settings.load(name)
        assert installation.path(installation.settings.routes) == home / "tables/routes.yaml"
        assert installation.path(installation.settings.store.folder) == tmp_path / "data"
        assert installation.path(installation.settings.spool) == Path("/srv/spool")
        assert installation.path(installation.settings.control) == home / "var/switchctl.sock"


def test_paths_in_the_settings_of_adapters_start_there_too(write: Write, tmp_path: Path) -> None:
    installation = settings.load(write("adapters: {sftp_server: {host_keys: [keys/host]}}\n"))
    assert installation.adapter("sftp_server").host_keys == (tmp_path / "keys/host",)


def test_paths_of_the_signing_api_start_there_too(write: Write, tmp_path: Path) -> None:
    row = "{certificate: tls.crt, client_ca: ca.crt, clients: {near: {certificate: keys/near.crt, party: ENT1}}}"
    api = settings.load(write(f"signing: {{api: {row}}}\n")).settings.signing.api
    assert api is not None
    assert (api.certificate, api.clients["near"].certificate) == (tmp_path / "tls.crt", tmp_path / "keys/near.crt")


# -- mistakes ----------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_its_place(write: Write) -> None:
    text = """\
rotues: routes.yaml
store:
  retension_days: 30
  duplicate_days: 0
  reserve_bytes: -1
monitor: {port: 70000, host: 127}
log: {level: verbose}
limits:
  payload_bytes: much
token: {alow_software_keys: true}
"""
    assert set(problems(write(text))) == {
        "switchd.yaml:3:3: store: unknown key 'retension_days', did you mean 'retention_days'?",
        "switchd.yaml:4:3: store.duplicate_days: should be greater than or equal to 1",
        "switchd.yaml:5:3: store.reserve_bytes: should be greater than or equal to 0",
        "switchd.yaml:10:9: token: unknown key 'alow_software_keys', did you mean 'allow_software_keys'?",
        "switchd.yaml:6:24: monitor.host: 127 is a number here; write it in quotes",
        "switchd.yaml:6:11: monitor.port: should be less than or equal to 65535",
        "switchd.yaml:7:7: log.level: should be 'debug', 'info', 'warning' or 'error'",
        "switchd.yaml:9:3: limits.payload_bytes: should be a valid integer, unable to parse string as an integer",
        "switchd.yaml:1:1: unknown key 'rotues', did you mean 'routes'?",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- store\n", "switchd.yaml:1:1: must hold keys and their values"),
        ("store\n", "switchd.yaml:1:1: must hold keys and their values"),
        ("routes: [routes.yaml]\n", "switchd.yaml:1:1: routes: must be the name of a file or folder"),
        ("store: sqlite\n", "switchd.yaml:1:1: store: must hold keys and their values"),
        ("store:\n  kind: a\n  kind: b\n", "switchd.yaml:3:3: store: 'kind' stands here twice"),
        ("store: {\n", "switchd.yaml:2:1: did not find expected node content"),
        ("limits: {backlog: 1.5}\n", "limits.backlog: should be a valid integer"),
        ("token: {allow_software_keys: perhaps}\n", "token.allow_software_keys: should be a valid boolean"),
        ("store: {kind: sqlit}\n", "switchd.yaml:1:9: store.kind: no store is called 'sqlit', did you mean 'sqlite'?"),
        ("signing: {api: {certificate: a}}\n", "switchd.yaml:1:11: signing.api: 'client_ca' is missing"),
        (
            "signing: {api: {certificate: a, client_ca: b, clients: {x: {certificate: c, party: P, algoritms: []}}}}\n",
            "switchd.yaml:1:87: signing.api.clients.x: unknown key 'algoritms'",
        ),
        (
            "token: {kind: hsm}\n",
            "switchd.yaml:1:9: token.kind: no token is called 'hsm' (known: devices, remote, software)",
        ),
        ("\nadapters:\n  ampq: {}\n", "switchd.yaml:3:3: adapters.ampq: no adapter is called 'ampq', did you mean"),
        ("trust: {a: {certificates: []}}\n", "switchd.yaml:1:13: trust.a.certificates: must not be empty"),
        (
            "trust: {a: {certificates: [x], crl: [{url: 'ldap://x/y'}]}}\n",
            "switchd.yaml:1:39: trust.a.crl[0].url: only http and https are fetched; import lists from elsewhere",
        ),
        (
            "trust: {a: {certificates: [x], crl: [{every_hours: 1}]}}\n",
            "switchd.yaml:1:38: trust.a.crl[0]: name either 'file' or 'url'",
        ),
        ("trust: {a: {certificates: [x], overdue: refuse}}\n", "trust.a.overdue: should be 'warn' or 'hold'"),
        ("adapters: {amqp: [1]}\n", "switchd.yaml:1:12: adapters.amqp: must hold keys and their values"),
    ],
)
def test_each_mistake_is_told_with_what_it_is(write: Write, text: str, problem: str) -> None:
    (told,) = problems(write(text))
    assert problem in told


def test_mistakes_of_adapters_store_and_token_are_told_together(write: Write) -> None:
    text = """\
store: {kind: postgre}
token: {kind: softwear}
adapters:
  sftp_server: {port: 99999, baner: hello}
  http_api:
    port: many
"""
    told = problems(write(text))
    assert [problem.partition(": ")[0] for problem in told] == [
        "switchd.yaml:1:9", "switchd.yaml:2:9", "switchd.yaml:4:17", "switchd.yaml:4:30", "switchd.yaml:6:5",
    ]  # fmt: skip
    assert "adapters.sftp_server: unknown key 'baner', did you mean 'banner'?" in told[3]


def test_a_file_that_cannot_be_read_is_a_mistake_too(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == (f"{tmp_path}/none.yaml:1:1: can't be read: No such file or directory",)
    assert problems(tmp_path) == (f"{tmp_path}:1:1: can't be read: Is a directory",)
    path = tmp_path / "switchd.yaml"
    path.write_bytes("# 设置\n".encode("gb18030"))
    (told,) = problems(path)
    assert told.startswith(f"{path}:1:1: can't be read: 'utf-8' codec")


# -- software keys -----------------------------------------------------------------------------------------------


def token(installation: Installation) -> Sequence[str]:
    with pytest.raises(ConfigurationError) as raised:
        installation.token()
    return raised.value.problems


def test_keys_in_files_must_be_allowed_by_name(write: Write, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    refused = settings.load(write("monitor: {port: 0}\ntoken: {options: {folder: keys}}\n"))
    assert token(refused) == (
        "switchd.yaml:2:1: token: keys in files are for tests: set allow_software_keys: true to use them all the same",
    )
    explicitly = settings.load(write("token: {allow_software_keys: false, options: {folder: keys}}\n"))
    assert "allow_software_keys" in token(explicitly)[0]
    settings.load(write("token: {allow_software_keys: true, options: {folder: keys}}\n")).token()


def test_without_keys_there_is_nothing_to_allow(write: Write) -> None:
    settings.load(write("{}\n")).token()


def test_mistakes_in_the_options_of_the_token_have_their_place(write: Write) -> None:
    installation = settings.load(write("token:\n  allow_software_keys: true\n  options:\n    foldr: keys\n"))
    assert token(installation)[0] == (
        "switchd.yaml:4:5: token.options: unknown key 'foldr', did you mean 'folder'?"
    )  # fmt: skip


def test_settings_never_change_once_read(write: Write) -> None:
    installation = settings.load(write("limits: {backlog: 7}\n"))
    with pytest.raises(ValueError, match="frozen"):
        installation.settings.limits.backlog = 8  # type: ignore[misc]
