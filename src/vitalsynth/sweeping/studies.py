"""Optuna: where a study is, what chooses values, and what finds trials bad."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..processes import hold
from ..sequences import one_line
from .plan import Plan, Search

if TYPE_CHECKING:
    import optuna


def storage(address: str, journal: Path) -> optuna.storages.BaseStorage:
    """Open the database of that address, or a journal where there is none."""
    from optuna import storages
    from optuna.storages.journal import JournalFileBackend

    if address:
        return storages.RDBStorage(address)
    return storages.JournalStorage(JournalFileBackend(str(journal), _JournalLock(journal)))  # type: ignore[arg-type]


def sampler(search: Search, number: int, at_random: int = 10) -> optuna.samplers.BaseSampler:
    """Return what chooses the values of a trial; its number is the seed, so that no two workers choose the same.

    The first trials, 10 as is Optuna's default, are `at_random`.
    """
    samplers = library().samplers
    if search == "tpe":
        about = {"multivariate": True, "constant_liar": True, "n_startup_trials": at_random}
        return samplers.TPESampler(seed=number, **about)
    return samplers.RandomSampler(seed=number)


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """Return what finds trials bad."""
    pruners = library().pruners
    if plan.prune == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=plan.look_every)
    return pruners.MedianPruner(n_warmup_steps=plan.look_every) if plan.prune else pruners.NopPruner()


class _JournalLock:
    """Optuna's lock on its journal, as one that goes with its process; a last line that a full disk tore goes, too."""

    def __init__(self, journal: Path) -> None:
        self.journal, self.lock = journal, journal.with_suffix(".lock")

    def acquire(self) -> bool:
        self.held = hold(self.lock, wait=True)
        with self.journal.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            if file.read() not in (b"", b"\n"):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        assert self.held is not None
        self.held.close()


def database(url: str) -> str:
    """Check the address of a database; return it as Optuna takes it.

    Raises:
        ValueError: if it is none, or has a password in it, which would be written down.
    """
    with in_one_line():
        from sqlalchemy.engine import make_url

        address = make_url(url)
    if address.password is not None or "password" in address.query:
        raise ValueError(
            "--storage is written to sweep.json, so leave the password out of it: PostgreSQL takes it from PGPASSWORD "
            "or ~/.pgpass"
        )
    plain = address.drivername in ("postgres", "postgresql")
    return (address.set(drivername="postgresql+psycopg") if plain else address).render_as_string()


@contextmanager
def in_one_line() -> Iterator[None]:
    """Make what goes wrong with a study a user's mistake, in one line.

    Raises:
        ValueError: if its database is not there, or what it takes is not installed.
    """
    library()
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise ValueError(f"the study's database: {one_line(error.__cause__ or error)}") from None
    except ModuleNotFoundError as error:
        raise ValueError(f"the study's database needs {error.name}: pip install 'vitalsynth[sweep]'") from None


def library() -> Any:
    """Import Optuna.

    Raises:
        ValueError: if it is not installed; with what to do.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise ValueError("sweeps need Optuna: pip install 'vitalsynth[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
