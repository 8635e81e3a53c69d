"""`python -m recjobs.airflow run|prepare|up|environment|down`: what the Makefile and compose.yaml call."""

from __future__ import annotations

import json
import shlex
import sys

import typer

from recjobs.airflow import demo, services
from recjobs.airflow.home import airflow_home
from recjobs.cli.printing import output, progress
from recjobs.errors import RecjobsError
from recjobs.publish import embedded
from recjobs.settings import load_settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="The demo and Airflow on this machine.")


@app.command()
def run() -> None:
    """Make the demo's last two nights through Airflow and show the lists."""
    raise typer.Exit(demo.run())


@app.command()
def prepare() -> None:
    """Make the marketplace reach to yesterday, and the database answer."""
    demo.prepare()


@app.command()
def up() -> None:
    """Start Airflow's UI with the DAGs, on the same data."""
    home = airflow_home()
    demo.prepare()
    progress.print("starting Airflow …")
    services.start(home)
    password = json.loads(home.password_file.read_text())["admin"]
    output.print(f"\nAirflow is at {home.url} (user admin, password {password})", highlight=False)
    output.print("Unpause nightly_recommendations and marketplace_traffic there to let the demo live on.")
    output.print("make down stops it.")


@app.command()
def environment() -> None:
    """Print the environment of this Airflow, for a shell: eval "$(python -m recjobs.airflow environment)"."""
    for name, value in airflow_home().environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def down() -> None:
    """Stop Airflow and the embedded Postgres."""
    stopped = services.stop(airflow_home())
    if embedded.stop(load_settings(demo.CONFIG).database):
        stopped.append("Postgres")
    output.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def main() -> int:
    """Runs a command; an error of ours is one clear message and its family's exit code."""
    try:
        app()
    except RecjobsError as error:
        progress.print(f"{type(error).__name__}: {error}", style="red", markup=False, highlight=False)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
