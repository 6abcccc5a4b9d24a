"""Run rules with Great Expectations, in memory."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tintlab.stages.validate_rules import Rule
from tintlab.system.errors import TintlabError


def create_context(data_docs: Path | None) -> Any:
    """Create a Great Expectations context in memory, without progress bars and telemetry.

    Args:
        data_docs: folder for its own pages; None for no pages.
    """
    import great_expectations as gx
    from great_expectations.data_context.types import base

    context = gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            analytics_enabled=False,
            progress_bars=base.ProgressBarsConfig(globally=False),
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
        ),
    )
    if data_docs is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(data_docs.absolute())}
        site = {
            "class_name": "SiteBuilder",
            "store_backend": store,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site("data_docs", site)
    return context


def build_data_docs(context: Any) -> None:
    """Write Great Expectations' own pages.

    Raises:
        Exception: a page can't be written, for example on a full disk. Great Expectations itself only logs the
            traceback and continues with the other pages.
    """
    log = logging.getLogger("great_expectations")
    faults = _Faults()
    log.addHandler(faults)
    log.propagate = False
    try:
        context.build_data_docs()
    finally:
        log.removeHandler(faults)
        log.propagate = True
    if faults.found:
        raise faults.found[0]


class _Faults(logging.Handler):
    """Collects exceptions that Great Expectations catches and logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception that is being handled, if any."""
        if (error := sys.exc_info()[1]) is not None:
            self.found.append(error)


class Suite:
    """Rules as one suite of Great Expectations, for one table or for its parts, one after the other.

    Args:
        context: see `create_context`.
        name: of the suite.
        rules: what to check.
    """

    def __init__(self, context: Any, name: str, rules: Sequence[Rule]) -> None:
        import great_expectations as gx

        self.rules = rules
        suite = gx.ExpectationSuite(name)
        for rule in rules:
            rule.expectation.meta = {"rule": rule.name}
            rule.expectation.description = rule.says
            suite.add_expectation(rule.expectation)
        asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
        definition = gx.ValidationDefinition(
            name=name, data=asset.add_batch_definition_whole_dataframe(name), suite=context.suites.add(suite)
        )
        self._definition = context.validation_definitions.add(definition)

    def check(self, table: pd.DataFrame) -> list[Any]:
        """Great Expectations' result for each rule, in their order.

        Raises:
            TintlabError: a rule could not be computed. Great Expectations itself would count it as failed.
        """
        run = self._definition.run(
            batch_parameters={"dataframe": table},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
        )
        results = {result.expectation_config.meta["rule"]: result for result in run.results}
        for rule in self.rules:
            if not results[rule.name].result:
                raise TintlabError(
                    f"the rule {rule.name!r} can't be checked: {_exception(results[rule.name])}"
                )
        return [results[rule.name] for rule in self.rules]


@dataclass
class Tally:
    """A rule's results for the parts of a table, added up.

    Attributes:
        rule: the rule.
        passed: whether it passed for all parts.
        counts: see `counts_of`. Those of a rule that needs the whole table do not add up.
    """

    rule: Rule
    passed: bool = True
    counts: dict[str, int | float | None] = field(default_factory=dict)

    def add(self, result: Any) -> None:
        """Add the result for another part."""
        self.passed = self.passed and bool(result.success)
        for name, value in counts_of(result).items():
            before = self.counts.get(name)
            self.counts[name] = value if before is None or value is None else before + value


def _exception(result: Any) -> str:
    messages = [
        info["exception_message"] for info in result.exception_info.values() if isinstance(info, dict)
    ]
    return messages[0] if messages else "no reason given"


def counts_of(result: Any) -> dict[str, int | float | None]:
    """The counts or the observed value of a result, as plain numbers."""
    figures = result.result
    if "unexpected_count" in figures:
        examined = figures["element_count"] - figures["missing_count"]
        return {"examined": int(examined), "unexpected": int(figures["unexpected_count"])}
    observed = figures["observed_value"]
    if observed is None or isinstance(observed, int):
        return {"observed": observed}
    return {"observed": round(float(observed), 2)}
