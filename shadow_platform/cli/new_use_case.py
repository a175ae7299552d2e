"""``shadow new-use-case``: writes the package of a use case and says what comes next.

Upstream: scaffold. Downstream: people. Does not belong here: what is written.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

ColumnOption = str | None
SubjectOption = Annotated[ColumnOption, typer.Option(help="Column of what is predicted, e.g. order_id.")]
EntityOption = Annotated[ColumnOption, typer.Option(help="Column of whose history counts, e.g. a customer.")]
AskedAtOption = Annotated[ColumnOption, typer.Option(help="Column of the time at which the prediction is asked for.")]
LabelOption = Annotated[ColumnOption, typer.Option(help="Column of the truth: true or false.")]
LabelAtOption = Annotated[ColumnOption, typer.Option(help="Column of the time at which the truth was known.")]


def new_use_case(
    name: Annotated[str, typer.Argument(help="Name of the use case and of its package: lower case letters, _.")],
    folder: Annotated[Path, typer.Option(help="Where the package's folder is made.")] = Path(),
    title: Annotated[str | None, typer.Option(help="Title in the UI and in documents; default: the name.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Events, a row each; default: orders of an example shop. Parquet and JSON lines too."),
    ] = None,
    subject: SubjectOption = None,
    entity: EntityOption = None,
    asked_at: AskedAtOption = None,
    label: LabelOption = None,
    label_at: LabelAtOption = None,
    horizon_days: Annotated[
        int | None, typer.Option(help="Days after which every label is known; default: as the slowest took.", min=1)
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Column that is not known when the prediction is asked for; repeatable.")
    ] = None,
) -> None:
    """Write an installable package of a new use case that `shadow demo` plays at once."""
    from shadow_platform.contracts.errors import UseCaseError
    from shadow_platform.scaffold import example
    from shadow_platform.scaffold.package import check_name, write_package
    from shadow_platform.scaffold.table import Roles, read_event_table

    check_name(name)
    given = {"subject": subject, "entity": entity, "asked_at": asked_at, "label": label, "label_at": label_at}
    absent = [f"--{role.replace('_', '-')}" for role, column in given.items() if column is None]
    if csv and absent:
        raise UseCaseError(f"{', '.join(absent)} missing: say which column of {csv} it is; see --help")
    idle = [f"--{role.replace('_', '-')}" for role, column in given.items() if column is not None]
    if csv is None and idle:
        raise UseCaseError(f"{', '.join(idle)} names a column of --csv, which is missing; give it, or leave both out")
    with tempfile.TemporaryDirectory() as scratch:
        path, roles = csv, Roles(**{role: column or "" for role, column in given.items()})
        if path is None:
            path, roles = Path(scratch) / "orders.csv", example.ROLES
            example.write(path)
        table = read_event_table(path, roles, frozenset(leave_out or ()), horizon_days)
        target = write_package(name, title or name.replace("_", " ").capitalize(), table, folder)
    print(f"{target}: {table.n_rows} rows, {100 * table.positive_share:.1f} % positive, labels within", end=" ")
    print(f"{table.horizon_days} days, inputs {', '.join(column.name for column in table.inputs) or 'none'}")
    for column, why in table.left_out.items():
        print(f"left out: {column} ({why})")
    print(f"next: cd {target} && pip install -e . && pytest && shadow demo --use-case {name}")
