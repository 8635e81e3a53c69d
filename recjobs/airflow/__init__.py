"""Airflow on this machine: the demo that `make run` plays, and the services behind `make up` and `make down`.

The one part of the package that reads the clock: it turns today into data dates and hands those on.
"""
