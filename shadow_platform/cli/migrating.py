"""``shadow migrate``: creates or upgrades the storages of Dagster and MLflow before their processes start together.

Belongs here: the command. Does not belong here: how a storage is made (``runs``, ``adapters.registry``). Upstream:
settings. Downstream: people, and what starts the platform's processes on a cluster.
"""

import typer


def migrate() -> None:
    """Create or upgrade the storage of Dagster, and of MLflow where it is a database; done already, it does nothing.

    Run it once before webserver, daemon and code server start, and after every upgrade.
    """
    from shadow_platform.cli.runs import prepare_dagster_storage
    from shadow_platform.resources import PlatformResource

    platform = PlatformResource()
    prepare_dagster_storage(platform.settings)
    where = "Postgres" if platform.settings.dagster_postgres else "SQLite"
    typer.echo(f"Dagster's storage ({where}) is ready; DAGSTER_HOME is {platform.layout.dagster}")
    if platform.registry().prepare():
        typer.echo("MLflow's storage is ready")
    else:
        typer.echo("MLflow is a server, which keeps its own storage; nothing to do")
