"""An Airflow of the tests' own: set up before anything imports Airflow, which reads its settings then."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from recjobs.airflow.home import AirflowHome

CHECKOUT = Path(__file__).resolve().parent.parent
HOME = AirflowHome(Path(tempfile.mkdtemp(prefix="recjobs-test-airflow-")), CHECKOUT, port=8080)

atexit.register(shutil.rmtree, HOME.folder, ignore_errors=True)
os.environ.update(HOME.environment())
sys.path.append(str(CHECKOUT / "plugins"))
