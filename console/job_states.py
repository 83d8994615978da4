"""What a job may do and be, without the tables, which no running process loads."""

ACTIONS = ("retry", "cancel")
FILLING, RUNNING, DONE, STOPPED = STATES = ("filling", "running", "done", "stopped")
STOP_REASONS = ("operator", "key", "failed")
RESULT_DONE, RESULT_REFUSED = RESULTS = ("done", "refused")
MAX_RATE = 50
