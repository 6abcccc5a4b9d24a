"""Score a whole archive: the work behind `tintlab score`, from planning to the summary.

`open_scoring` locks the output folder, so that one scoring at a time writes to it, and finds out what is left to
do. Give its photographs to `chunk.score_chunk` at once, or in chunks to several processes. `finish_scoring` then
merges their parts and compares the photographs with the model's training photographs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tintlab.imaging.encoding import SUFFIXES
from tintlab.scoring import mirror
from tintlab.scoring.chunk import list_remaining, load_colorizer, score_chunk, score_photo
from tintlab.scoring.hint_lists import check_names
from tintlab.scoring.manifest import (
    MANIFEST,
    SETTINGS,
    STATE,
    Record,
    merge_parts,
    open_part,
    parts_folder,
)
from tintlab.scoring.plan import Plan, PlannedPhoto, Skipped, plan, stems_of
from tintlab.scoring.settings import ScoreSettings, describe, list_changes
from tintlab.scoring.store_plan import plan_store, with_source
from tintlab.scoring.targets import files_of, fold, label
from tintlab.system import console, paths
from tintlab.system.console import counted, printable
from tintlab.system.errors import TintlabError
from tintlab.system.files import write_json
from tintlab.system.locks import exclusive
from tintlab.system.params import load_params

_LOCK = "lock"
_PART, _SKIPPED_PART = "photos", "skipped"
_SHOWN = 10
_NAMED = 100  # of the files that can't be used


@dataclass(frozen=True)
class Scoring:
    """A scoring that is under way, or that was only planned.

    Attributes:
        settings: for `chunk.score_chunk`.
        plan: everything that the archive holds.
        left: the photographs that are still to be done.
        words: what the user should know before it starts.
    """

    settings: ScoreSettings
    plan: Plan
    left: tuple[PlannedPhoto, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class ScoringResult:
    """The result of a scoring, including its earlier runs.

    Attributes:
        coloured: how many photographs.
        quarantined: the names of files that can't be used, and the reasons.
        words: what the user should know at the end.
        plan: all that the archive holds; None where single files were named.
        more_pages: pages that were not coloured, for each file that has some.
    """

    coloured: int
    quarantined: dict[str, str]
    words: tuple[str, ...] = ()
    plan: Plan | None = None
    more_pages: tuple[int, ...] = ()

    def line(self) -> str:
        """The sums, in a line: coloured, quarantined and skipped files add up to the files found."""
        found = f"{self.plan.found_text()}: " if self.plan else ""
        noun = "page" if self.plan and self.plan.pages > self.plan.files else "file"
        bad = counted(len(self.quarantined), noun)
        parts = [f"{counted(self.coloured, 'photograph')} coloured", f"{bad} can't be used"]
        if self.plan and (skipped := self.plan.skipped_text()):
            parts.append(skipped)
        if self.more_pages:
            pages, files = counted(sum(self.more_pages), "more page"), counted(len(self.more_pages), "file")
            parts.append(f"{pages} in {files} {'was' if sum(self.more_pages) == 1 else 'were'} not coloured")
        return found + ", ".join(parts)

    @property
    def status(self) -> int:
        """Exit status: 0 all photographs are coloured, 2 some are not or a folder was not entered, 1 none is."""
        if not self.coloured:
            return 1
        complete = self.plan is None or self.plan.is_complete
        return 0 if complete and not self.quarantined else 2


def say_result(result: ScoringResult) -> int:
    """Print the result of a scoring; return the exit status."""
    for name, reason in list(result.quarantined.items())[:_NAMED]:
        console.say(f"{console.printable(name)}: {reason}", error=True)
    if len(result.quarantined) > _NAMED:
        console.say(f"and {len(result.quarantined) - _NAMED} more, see quarantine.csv", error=True)
    for word in result.words:
        console.say(word)
    console.say(result.line())
    return result.status


def score(
    source: str | Path,
    settings: ScoreSettings,
    announce: Callable[[str], None] = print,
    follow_links: bool = False,
    with_page: bool = True,
) -> ScoringResult:
    """Colour an archive in this process; see `open_scoring`.

    Args:
        source: see `plan.plan`.
        settings: see `settings.settings_for`.
        announce: called with what the user should know before it starts.
        follow_links: enter linked folders, see `walk.walk`.
        with_page: see `finish_scoring`.
    """
    with open_scoring(source, settings, follow_links) as work:
        for word in work.words:
            announce(word)
        if work.left:
            score_chunk(work.left, work.settings, _PART, show_progress=True)
        return finish_scoring(work, with_page)


def preview(found: Scoring) -> str:
    """Describe in lines the effect of a scoring; see `plan_scoring`."""
    settings = found.settings
    shown = [
        f"{printable(label(photo.name, photo.page))} -> "
        f"{printable(settings.file(files_of(photo.target, settings.variants)[0]))}"
        + (f" and {settings.variants - 1} more variants" if settings.variants > 1 else "")
        for photo in found.left[:_SHOWN]
    ]
    if len(found.left) > _SHOWN:
        shown.append(f"and {len(found.left) - _SHOWN} more")
    skipped = found.plan.skipped_text()
    summary = (
        f"{found.plan.found_text()}: {counted(len(found.left), 'photograph')} would be coloured "
        f"with {settings.model_folder} (weights {settings.weights_sha256[:16]})"
    )
    return "\n".join([*found.words, *shown, f"{summary}, {skipped}" if skipped else summary])


def colorize(photos: Iterable[Path], settings: ScoreSettings) -> ScoringResult:
    """Colour a few photographs to NAME-coloured.png, without a manifest.

    Raises:
        TintlabError: two photographs would overwrite each other, on this or another file system.
    """
    suffix = SUFFIXES[settings.file_format]
    planned = [
        PlannedPhoto(path, str(path), Path(f"{stem}-coloured{suffix}"), page=page)
        for path in photos
        for page, stem in stems_of(path)
    ]
    taken: dict[str, Path] = {}
    for photo in planned:
        other = taken.setdefault(fold(photo.target), photo.source)
        if other is not photo.source:
            raise TintlabError(
                f"{photo.source} and {other} would both become {photo.target}: colour them to different folders"
            )
    colorizer = load_colorizer(settings)
    shown = console.progress(planned, "photos", "colouring", len(planned))
    records = [score_photo(photo, colorizer, settings) for photo in shown]
    bad = {
        label(record.input, record.page): record.reason
        for record in records
        if record.outcome == "quarantined"
    }
    pages = tuple(record.more_pages for record in records if record.more_pages)
    words = tuple(filter(None, (settings.engine.note, settings.model_line())))
    return ScoringResult(len(records) - len(bad), bad, words, more_pages=pages)


def plan_scoring(source: str | Path, settings: ScoreSettings, follow_links: bool = False) -> Scoring:
    """Plan like `open_scoring`, but write nothing.

    Raises:
        TintlabError: there are no photographs; see also `plan.plan`.
    """
    settings = with_source(settings, source)
    return _compare(_plan(source, settings, follow_links), settings)


@contextmanager
def open_scoring(
    source: str | Path, settings: ScoreSettings, follow_links: bool = False
) -> Iterator[Scoring]:
    """Lock the output folder, and find out what is left to do.

    Another model or another parameter than the last time starts over: the earlier manifest goes, and coloured
    files are replaced one by one.

    Args:
        source: see `plan.plan`.
        settings: see `settings.settings_for`.
        follow_links: enter linked folders, see `walk.walk`.

    Raises:
        HeldError: another scoring of this folder is under way.
        TintlabError: there are no photographs.
    """
    settings = with_source(settings, source)
    planned = _plan(source, settings, follow_links)  # a refused scoring leaves nothing behind
    state = settings.output / STATE
    with exclusive(state / _LOCK, f"another scoring to {settings.place()}"):
        found = _compare(planned, settings)
        changes = list_changes(settings)
        if changes:
            for path in parts_folder(settings.output).glob("*"):
                path.unlink()
        write_json(state / SETTINGS, describe(settings))
        if settings.store:
            mirror.begin(settings.store, bool(changes))
        _record_skipped(settings.output, planned.skipped)
        yield found


def finish_scoring(work: Scoring, with_page: bool = True) -> ScoringResult:
    """Merge the parts; compare the photographs with the training set, and record that in MLflow.

    Args:
        work: as `open_scoring` gives it; all of it is coloured.
        with_page: write OUTPUT/index.html, see `page.write_page`.
    """
    store = work.settings.store
    if store:
        mirror.pull_results(store)
    manifest = merge_parts(work.settings.output)
    planned = pd.MultiIndex.from_tuples([(photo.name, photo.page) for photo in work.plan.photos])
    rows = manifest[pd.MultiIndex.from_frame(manifest[["input", "page"]]).isin(planned)]
    bad = rows[rows["outcome"] == "quarantined"]
    coloured = rows[rows["outcome"] == "coloured"]
    words = _drift_words(work.settings, rows) if len(coloured) else ()
    result = ScoringResult(
        len(coloured),
        dict(zip(map(label, bad["input"], bad["page"]), bad["reason"], strict=True)),
        words,
        work.plan,
        tuple(int(pages) for pages in coloured["more_pages"].fillna(0) if pages),
    )
    if with_page and (word := _write_page(work, rows, result)):
        result = replace(result, words=(*words, word))
    if store:
        mirror.finish(store)
    return result


def _write_page(work: Scoring, rows: pd.DataFrame, result: ScoringResult) -> str:
    from tintlab.scoring import page  # jinja2, which the chunks of an archive do without

    said = page.Summary(result.line(), result.words)
    return page.write_page(work.plan.photos, rows, work.settings, said)


def _plan(source: str | Path, settings: ScoreSettings, follow_links: bool) -> Plan:
    if settings.source_store:
        planned = plan_store(str(source), settings)
    else:
        suffix = SUFFIXES[settings.file_format]
        planned = plan(source, settings.output, suffix, settings.variants, follow_links)
    if not planned.photos:
        beside = f": {planned.skipped_text()}" if planned.skipped else ""
        raise TintlabError(f"there are no photographs in {source}{beside}")
    check_names(settings.hints, planned.photos)
    return planned


def _compare(planned: Plan, settings: ScoreSettings) -> Scoring:
    """Compare the plan with what earlier runs did."""
    changes = list_changes(settings)
    left = planned.photos if changes else tuple(list_remaining(planned.photos, settings))
    words = [settings.engine.note] if settings.engine.note else []
    if changes:
        words.append(f"starting over, because {' and '.join(changes)}")
    done = len(planned.photos) - len(left)
    if not left:
        words.append(f"nothing to do: {done} of {done} photographs are done")
    elif done:
        words.append(f"going on: {done} of {len(planned.photos)} photographs are done")
    return Scoring(settings, planned, left, tuple(words))


def _record_skipped(output: Path, skipped: Iterable[Skipped]) -> None:
    """Replace the rows of what was skipped: another run may enter what an earlier one did not."""
    folder = parts_folder(output)
    for path in [*folder.glob(f"{_SKIPPED_PART}.*.parquet"), *folder.glob(f"{_SKIPPED_PART}.jsonl")]:
        path.unlink()
    with open_part(output, _SKIPPED_PART) as writer:
        for one in skipped:
            writer.add(Record(one.name, "skipped", one.reason))


def _drift_words(settings: ScoreSettings, rows: pd.DataFrame) -> tuple[str, ...]:
    """The verdict, and where it is recorded; a fault is a word too, because the photographs are done."""
    from tintlab.scoring import drift_report  # scipy.stats takes a third of a second to import

    rules = load_params().drift if paths.PARAMS.exists() else None
    try:
        report = drift_report.examine(rows, drift_report.read_reference(settings.model_folder), rules)
        tags = drift_report.manifest_tags(rows)
        return report.line(), drift_report.log_report(report, settings.output / MANIFEST, tags)
    except TintlabError as error:
        return (f"drift: not told: {error}",)
