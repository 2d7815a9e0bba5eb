"""Where settings come from, and that the page about them is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowml import SettingsError, settings
from flowml.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"


def test_the_environment_is_over_pyproject_over_the_defaults(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FLOWML_ variable wins over [tool.flowml], which wins over the default, also from a folder below."""
    (project / "pyproject.toml").write_text('[tool.flowml]\nexperiment = "from file"\ntimeout = 3\n')
    (project / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "down")
    monkeypatch.setenv("FLOWML_TIMEOUT", "7.5")
    found = settings.reload()
    assert (found.experiment, found.timeout, found.on_error) == ("from file", 7.5, "warn")


@pytest.mark.usefixtures("project")
def test_a_value_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the setting, where it is set, its value and what is allowed."""
    monkeypatch.setenv("FLOWML_ON_ERROR", "ignore")
    with pytest.raises(SettingsError, match=r"on_error \(FLOWML_ON_ERROR.*'ignore'.*'warn' or 'raise'") as caught:
        settings.reload()
    assert (caught.value.setting, caught.value.value) == ("on_error", "ignore")


def test_a_setting_that_does_not_exist_is_named(project: Path) -> None:
    """A misspelt key in pyproject.toml is refused, with those that exist."""
    (project / "pyproject.toml").write_text('[tool.flowml]\nexperimnt = "churn"\n')
    with pytest.raises(SettingsError, match=r"no setting 'experimnt'.* has enabled, tracking_uri, registry_uri, exp"):
        settings.reload()


def test_the_page_lists_every_setting() -> None:
    """docs/reference/settings.md has a row for each setting, with its variable, default and description."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(.*?)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [
        (name, f"FLOWML_{name.upper()}", str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]
