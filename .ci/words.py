"""Find words and phrases that a native engineer would not write, and say what to write instead.

Command:  python .ci/words.py [FILE ...]   (every text file of the repository without arguments)
Result:   a line for each phrase, and exit code 1 where there is one.

Comments, strings and names of tests are read in Python files, and everything in other files. A name in a program, a
quotation or test data can be left out by a line in `ALLOWED`.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

INSTEAD = {
    r"at hand": "available",
    r"tell(s|ing)?|told": "show, report, give, say, distinguish",
    r"mend(s|ed|ing)?": "fix",
    r"go(es|ing|ne)? on (from|with)|went on (from|with)": "resume, continue with",
    r"(?<!there )is no (?!longer|more|less|better|worse|way|need|matter|reason|such)[a-z]+ ?(file|picture|volume|image|"
    r"series|map|name|number|folder|list|archive)?": "is not a",
    r"in (the )?place of": "instead of",
    r"for want of": "for lack of",
    r"and the like": "and similar",
    r"t(ake|akes|aken|ook) \w+ away": "remove",
    r"announce(s|d)?": "declare",
    r"turned round": "sign flipped",
    r"of (that|those) of": "of the",
    r"whose weights(?= fuse|:)": "which weights",
    r"nobody (has|needs|wants)": "synthetic, unneeded",
    r"likewise": "also, the same way",
    r"renew(s|ed|ing|al)?": "update, regenerate, redraw",
    r"each for itself": "separately",
    r"none else": "no others",
    r"(is|are|was|were) (said|told) (to|of)": "say who does it",
    r"with(out)? a word": "silently, without a warning",
    r"what is ours|is ours": "our own",
    r"shall": "must, will",
    r"whither|whence|thereof|therein|thereby|whereupon|herein|hitherto|henceforth": "a plain clause",
    r"by itself alone|as it were|so to say|in so far as|insofar": "a plain clause",
    r"a riddle|by and by|for good and all": "a plain phrase",
    r"shared? out|by turns": "divide, alternate",
    r"in spite of": "despite",
    r"let go of": "free, release",
    r"speaks? against": "prevents, is a reason against",
    r"next to nothing": "almost nothing, almost empty",
    r"no one|of ours": "nobody, our own",
    r"(is|are) taken for|to be had": "treated as, available",
    r"under way": "running",
    r"belong together": "match",
    r"said (to|of) by": "a plain clause",
    r"anew|once more": "again",
    r"some \d+ (seconds|minutes|hours)": "about",
    r"another \w+ than": "a ... other than, different",
    r"the own \w+": "your own, its own",
    r"(?<!the )most (memory|bytes) (that|for|in|of)": "maximum",
    r"before it was done": "before it finished",
    r"(does|do|did) not count": "is ignored, is left out",
    r"in the mean(?! rank)": "on average",
    r"differences? to the": "difference from the",
    r"doors?": "entry points, ways",
    r"formerly|former (view|layout|general|weights|`)": "previous, earlier",
    r"(in|out of) register": "registered, aligned, not aligned",
    r"br(eaks?|oke|oken) off": "interrupt, stop",
    r"further (ones?|pairs?|cases?|columns?|settings?|sources?|images?)": "other, more, another",
    r"further (arguments|warnings?|grid|metric|loggers|runs?|file)": "other, more, another",
    r"from ((part|ct) \d+|a quarter( of the range)?|\d[\d.]*) on(?!\w)": "X and later, from X upwards",
    r"(an?|with|without a) sound|sound (files?|pairs?|images?|archives?|ones?|rest)": "intact, silently",
    r"all well": "passed, success",
    r"(do|does|did) not go with": "is not compatible with",
    r"some (minutes|seconds|hours)": "a few",
}
ALLOWED = {"monai_s3im/report/page.html.jinja": "none else"}
"""A file's path as git names it, and a pattern of the phrases that may stay there."""

SUFFIXES = {
    ".md",
    ".py",
    ".toml",
    ".json",
    ".html",
    ".jinja",
    ".js",
    ".css",
    ".txt",
    ".cff",
    ".yml",
    ".cmake",
    ".ui",
    "",
}
LEFT_OUT = re.compile(r"niivue/.*\.js$|LICENSE|^(docs|studies)/data/|^\.ci/words\.py$")
PATTERN = re.compile("|".join(rf"(?P<p{i}>\b(?:{pattern})\b)" for i, pattern in enumerate(INSTEAD)), re.IGNORECASE)


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of what a person reads in a file."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), 1)
        return
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.NAME and token.string.startswith("test_"):
            yield token.start[0], token.string.replace("_", " ")
        if token.type in kinds:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def found_in(path: Path, name: str) -> Iterator[str]:
    """A sentence for each phrase of a file."""
    for number, line in texts_of(path):
        for match in PATTERN.finditer(line):
            if name in ALLOWED and re.fullmatch(ALLOWED[name], match.group(), re.IGNORECASE):
                continue
            instead = list(INSTEAD.values())[next(i for i in range(len(INSTEAD)) if match.group(f"p{i}"))]
            yield f"{name}:{number}: {match.group()!r}: write {instead}"


def main() -> int:
    """Look through the named files, or all."""
    names = (
        sys.argv[1:]
        or subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    )
    names = [name for name in names if Path(name).suffix in SUFFIXES and not LEFT_OUT.search(name)]
    found = [line for name in names if Path(name).is_file() for line in found_in(Path(name), name)]
    print("\n".join(found) or f"no phrase of the list in {len(names)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
