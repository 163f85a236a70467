#!/bin/sh
# Runs differential_test.py with the Python that has jinja2: that of build/venv, else any.
here=$(dirname "$0")
python=$here/../../../build/venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -B "$here/differential_test.py" "$@"
