"""recjobs: the nightly batch recommendation job for teams with Airflow and Postgres."""

__version__ = "0.1.0"
