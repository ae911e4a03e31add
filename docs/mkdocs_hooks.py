"""Add files from elsewhere in the repository to the site, with working links.

Pages are written for a reader of the repository, with links relative to the file. On the site a link to a file that is
shown leads there; one to a file that is not shown, such as source code, becomes plain text.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

logger = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).resolve().parents[1]
SHOWN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "bundle/docs/README.md": "background/model_card.md",
    "slicer_extension/README.md": "guides/slicer.md",
    **{
        path.relative_to(ROOT).as_posix(): f"guides/slicer/{path.name}"
        for path in sorted((ROOT / "slicer_extension" / "Screenshots").glob("*.png"))
    },
}
_FETCHED = re.compile(r"""<(?:script|img|iframe|link rel="stylesheet")[^>]*(?:src|href)="(?:https?:)?//[^>]*>""")
_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):<code>([\w.]+)</code>")
_LINK = re.compile(r"(?P<before>!?)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/."""
    for source, shown in SHOWN.items():
        files.append(File.generated(config, shown, abs_src_path=str(ROOT / source)))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:  # noqa: ARG001 (mkdocs)
    """Warn of a page that ``exclude_docs`` keeps from the site; mkdocs only mentions the links to it."""
    for file in files.documentation_pages(inclusion=InclusionLevel.is_excluded):
        logger.warning("%s is excluded from the site", file.src_uri)
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (mkdocs)
    """Point the links of a page to their place on the site."""
    shown_at = page.file.src_uri
    if shown_at == "index.md":
        page.meta["hide"] = ["navigation"]  # the tabs are enough
    source = next((path for path, shown in SHOWN.items() if shown == shown_at), f"docs/{shown_at}")
    return _LINK.sub(lambda link: site_link(link, source, shown_at), markdown)


def site_link(link: re.Match[str], source: str, shown_at: str) -> str:
    """One link of the page `source`, which the site shows at `shown_at`."""
    path, hash_sign, anchor = link["target"].partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return link[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    target = SHOWN.get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
    if not target:
        return link["text"]
    relative = posixpath.relpath(target, posixpath.dirname(shown_at) or ".")
    return f"{link['before']}[{link['text']}]({relative}{hash_sign}{anchor})"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (mkdocs)
    """Make links of the roles in docstrings, such as ``:class:`Fuser```, if the site shows their target."""
    return _ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001 (mkdocs)
    """Warn of a page that would fetch from another host, which fails a strict build."""
    for tag in _FETCHED.findall(output):
        logger.warning("%s fetches from another host: %s", page.file.src_uri, tag)
    return output
