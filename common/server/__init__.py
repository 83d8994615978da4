"""The web server: our gunicorn worker, and gunicorn's own with our error responses. Imports `api` and `process`.

Only gunicorn.conf.py names it. No service knows which worker serves it.
"""
