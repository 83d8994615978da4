"""The web server: gunicorn's worker and what it consists of. Imports `process`, and from `api` the shape of an error.

Only gunicorn.conf.py names it; no service knows by what it is served.
"""
