# Airflow's official image with this project's own environment: what runs here is what was tested, and nothing else.
# Keep the tag at the version of apache-airflow in requirements.lock (a test compares them).
FROM apache/airflow:3.3.2-python3.11

USER root
RUN install -d -o airflow -g 0 -m 0775 /opt/recjobs /opt/recjobs/work
USER airflow
WORKDIR /opt/recjobs

# The lock first: this layer, the big one, is made again only when the lock changes. Syncing removes what is not in
# the lock, the package that brings uv as well, so its program is put aside before.
COPY --chown=airflow:0 requirements.lock ./
RUN cp "$(command -v uv)" /tmp/uv && /tmp/uv pip sync --no-cache --require-hashes requirements.lock

COPY --chown=airflow:0 pyproject.toml README.md LICENSE ./
COPY --chown=airflow:0 sql sql
COPY --chown=airflow:0 recjobs recjobs
RUN /tmp/uv pip install --no-cache --no-deps .
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 dags dags

ENV RECJOBS_HOME=/opt/recjobs \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/recjobs/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/recjobs/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

# For the api-server, which this image runs by default; compose.yaml has the checks of the other services.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=5 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://localhost:8080/api/v2/monitor/health"]
CMD ["api-server"]
