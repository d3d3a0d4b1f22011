"""What the pages say is so: their commands do what they say, their links lead somewhere, and both languages agree."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from docs import run

ROOT = Path(__file__).parent.parent
READER_HAS = ("bash", "curl", "openssl", "sftp", "ssh-keygen")
AT_ONCE = 2  # pages that run beside each other, and beside other tests
PAGES = [page for kind in ("tutorials", "how-to") for page in sorted((ROOT / "docs" / kind).glob("*.md"))]
CHINESE = [page for page in PAGES if page.name.endswith(".zh.md")]
RUN = [page for page in PAGES if page not in CHINESE]
NEEDY = [page for page in RUN if "<!-- needs: " in page.read_text("utf-8")]
TEXTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


# -- commands ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
) -> Iterator[Mapping[Path, Future[None]]]:
    """Start every page that a test of this run asks for."""
    if absent := [name for name in READER_HAS if not shutil.which(name)]:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"pages can't be run without {', '.join(absent)}")
    home = Path(tempfile.mkdtemp(prefix="docs-"))  # short: the path of a socket in it mustn't be long
    specs = [getattr(item, "callspec", None) for item in request.session.items if "runs" in item.fixturenames]  # type: ignore[attr-defined]
    pages = sorted((spec.params["page"] for spec in specs if spec), key=_size, reverse=True)  # the longest first
    run.make_office(home / "office")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {page: _start(pool, page, home) for page in pages}
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(home)


def _size(page: Path) -> int:
    return page.stat().st_size


def _start(pool: ThreadPoolExecutor, page: Path, home: Path) -> Future[None]:
    try:
        ports = run.ports_for(page)  # here, as a broker ends with the thread that started it
    except (pytest.skip.Exception, pytest.fail.Exception) as why:  # this page's only
        without: Future[None] = Future()
        without.set_exception(why)
        return without
    return pool.submit(run.run_page, page, home / "office", ports, home / page.stem)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=named)
def test_the_commands_of_a_page_do_what_it_says(page: Path, runs: Mapping[Path, Future[None]]) -> None:
    runs[page].result(timeout=110)


@pytest.mark.parametrize("page", NEEDY, ids=named)
def test_every_program_that_a_page_needs_is_here(page: Path) -> None:
    if absent := run.missing(page.read_text("utf-8")):
        pytest.skip(f"{', '.join(absent)} not found: commands of this page weren't run")


@pytest.mark.parametrize("page", RUN, ids=named)
def test_whatever_is_not_run_says_why(page: Path) -> None:
    excused = [block.comment for block in run.blocks(page.read_text("utf-8")) if block.comment.startswith("not run")]
    assert all(re.fullmatch(r"not run: \S.{9,}", comment, re.DOTALL) for comment in excused)
    assert run.steps(page.read_text("utf-8"))


def test_a_block_that_nobody_runs_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="neither run nor written nor excused"):
        run.steps("```sh\nrm -rf everything\n```\n")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("$ echo b\na\n", "printed:\nb\n\ninstead of:\na"),
        ("$ false\n", "status 1"),
        ("$ true\n$ echo $?\n1\n", "status 0"),
    ],
    ids=["other words", "failed", "should have failed"],
)
def test_a_command_that_does_something_else_fails(body: str, wrong: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```console\n{body}```\n", "utf-8")
    with pytest.raises(AssertionError, match=re.escape(wrong)):
        run.run_page(page, tmp_path, {}, tmp_path / "run")


def test_the_runners_own_examples_are_right() -> None:
    assert doctest.testmod(run) == (0, 1)


# -- two languages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", CHINESE, ids=named)
def test_both_languages_have_the_same_blocks(page: Path) -> None:
    english = page.with_name(page.name.replace(".zh.md", ".md"))
    assert _bodies(page) == _bodies(english)


def _bodies(page: Path) -> list[tuple[str, str]]:
    return [(block.language, block.body) for block in run.blocks(page.read_text("utf-8"))]


# -- links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS, ids=named)
def test_every_link_leads_somewhere(text: Path) -> None:
    assert [link for link in _links(text) if not _leads_somewhere(text, link)] == []


def test_every_page_is_reached_from_the_index() -> None:
    reached, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [
                path for link in _links(page) if (path := _target(page, link)).suffix == ".md" and path.exists()
            ]
    assert sorted(named(page) for page in {*ROOT.glob("docs/**/*.md")} - reached) == []


def _links(page: Path) -> list[str]:
    """Return where the links of a page point, other sites left out."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^()\s]+)\)", prose) + re.findall(r"^\[[^\]]+\]: (\S+)$", prose, re.MULTILINE)
    return [link for link in found if not re.match(r"https?://|mailto:", link)]


def _target(page: Path, link: str) -> Path:
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


def _leads_somewhere(page: Path, link: str) -> bool:
    target, anchor = _target(page, link), link.partition("#")[2]
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", prose, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        numbered = (f"{slug}-{number}" for number in range(1, 100))
        anchors.add(slug if slug not in anchors else next(each for each in numbered if each not in anchors))
    return anchors
